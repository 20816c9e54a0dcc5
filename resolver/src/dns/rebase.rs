//! What a record says about names under its own is said under the domain that was asked for: a zone that is published under a flat name has its aliases and
//! mail servers in the legacy zone that is mapped onto it, and under whatever origin a frontend has.

use crate::dns::domain::{DOMAIN_BYTES_MAX, Domain};
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::record::rdata;

/// `rdata` with `apex` in the place of `own`, whatever its origin is there. A name that would grow beyond 255 bytes stays as it is.
pub fn rebased(kind: u16, bytes: &[u8], own: &Name, apex: &Domain) -> Bytes {
    let mut names = rdata::names(kind, bytes).peekable();
    if names.peek().is_none() {
        return Bytes::copy_from_slice(bytes);
    }
    let own = own.to_string();
    let mut said = Vec::with_capacity(bytes.len() + apex.as_wire().len());
    let mut done = 0;
    for range in names {
        let name = &bytes[range.clone()];
        if let Some(left) = left_of(name, own.as_bytes())
            && left.len() + apex.as_wire().len() <= DOMAIN_BYTES_MAX
        {
            said.extend_from_slice(&bytes[done..range.start]);
            said.extend_from_slice(left);
            said.extend_from_slice(apex.as_wire());
            done = range.end;
        }
    }
    said.extend_from_slice(&bytes[done..]);
    said.into()
}

/// What stands left of the label `own` in a name's wire form; `None` if it has no such label.
fn left_of<'a>(name: &'a [u8], own: &[u8]) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some(&length @ 1..) = name.get(at) {
        let next = at + 1 + usize::from(length);
        if name.get(at + 1..next)?.eq_ignore_ascii_case(own) {
            return Some(&name[..at]);
        }
        at = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::record::rdata::types;

    fn own() -> Name {
        Name::of_content(b"anything")
    }

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect("a domain")
    }

    #[test]
    fn names_under_the_records_own_are_said_under_the_domain_asked_for_whatever_their_origin_and_no_others_are() {
        let own = own();
        for (said, becomes) in [
            (format!("{own}.dialtone.alt"), "example.com"),
            (format!("www.{own}.dialtone.alt"), "www.example.com"),
            (format!("a.b.{own}.names.example"), "a.b.example.com"),
            (format!("www.{}.dialtone.alt", own.to_string().to_uppercase()), "www.example.com"),
            ("www.example.net".to_owned(), "www.example.net"),
            (".".to_owned(), "."),
        ] {
            let bytes = rebased(types::CNAME, domain(&said).as_wire(), &own, &domain("example.com"));
            assert_eq!(Domain::from_wire(&bytes), Some(domain(becomes)), "{said}");
        }
    }

    #[test]
    fn what_stands_around_the_names_stays() {
        let own = own();
        let (inside, apex) = (domain(&format!("m.{own}.dialtone.alt")), domain("example.com"));
        let of = |parts: &[&[u8]]| parts.concat();
        let moved = domain("m.example.com");
        for (kind, before, after) in [
            (types::MX, of(&[&[0, 10], inside.as_wire()]), of(&[&[0, 10], moved.as_wire()])),
            (
                types::RP,
                of(&[inside.as_wire(), inside.as_wire()]),
                of(&[moved.as_wire(), moved.as_wire()]),
            ),
            (
                types::HTTPS,
                of(&[&[0, 1], inside.as_wire(), &[0, 3, 0, 2, 1, 187]]),
                of(&[&[0, 1], moved.as_wire(), &[0, 3, 0, 2, 1, 187]]),
            ),
            (types::TXT, of(&[&[57], &[b'x'; 57]]), of(&[&[57], &[b'x'; 57]])),
        ] {
            assert_eq!(rdata::check(kind, &before), Ok(()));
            assert_eq!(rebased(kind, &before, &own, &apex), after, "type {kind}");
        }
    }

    #[test]
    fn a_name_that_would_not_fit_stays() {
        let own = own();
        let long = domain(&format!("{0}.{0}.{own}.x", "l".repeat(60)));
        let apex = domain(&format!("{0}.{0}.{0}", "a".repeat(50)));
        assert_eq!(rebased(types::PTR, long.as_wire(), &own, &apex), long.as_wire());
    }
}
