//! What a site keeps of its own names: which records, and which other names belong to them.
//!
//! ```text
//! the names listed ─ and whatever their records lead to, services and delegates, and theirs ─▶ the highest record of each
//! ```

use crate::settings::SITE_NAMES_MAX;
use dialtone_shared::hip::Hit;
use dialtone_shared::record::{Step, Target, Timeliness};
use dialtone_shared::{Binding, Name, UnixSecs, VerifiedRecord};
use std::collections::{BTreeMap, BTreeSet};

/// The records of a site's names. Time is an argument.
#[derive(Debug, Default)]
pub struct Shelf {
    listed: BTreeSet<Name>,
    /// The listed names, and those that they lead to.
    names: BTreeSet<Name>,
    records: BTreeMap<Name, VerifiedRecord>,
}

impl Shelf {
    /// From now on these are the site's names. Of more than [`SITE_NAMES_MAX`] the first ones.
    pub fn list(&mut self, names: impl IntoIterator<Item = Name>) {
        self.listed = names.into_iter().take(SITE_NAMES_MAX).collect();
        self.reach();
    }

    /// The names listed.
    pub fn listed(&self) -> &BTreeSet<Name> {
        &self.listed
    }

    /// The names listed and those that they lead to.
    pub fn names(&self) -> &BTreeSet<Name> {
        &self.names
    }

    /// Takes in a record of one of the names, unless a higher one is there. Returns whether it is kept now and was not before.
    pub fn take(&mut self, record: &VerifiedRecord) -> bool {
        let name = record.name();
        let before = self.records.get(name);
        if !self.names.contains(name) || before.is_some_and(|before| !record.outranks(before)) {
            return false;
        }
        let led: Vec<Name> = before.map(leads_to).unwrap_or_default();
        self.records.insert(*name, record.clone());
        let leads = leads_to(record);
        if led.iter().all(|name| leads.contains(name)) {
            self.extend(leads);
        } else {
            self.reach();
        }
        true
    }

    /// The highest record known of `name`, whatever time it is.
    pub fn record(&self, name: &Name) -> Option<&VerifiedRecord> {
        self.records.get(name)
    }

    /// The record of `name` that may be given at `now`: revocations, too.
    pub fn current(&self, name: &Name, now: UnixSecs) -> Option<&VerifiedRecord> {
        let record = self.records.get(name).filter(|_| self.names.contains(name));
        record.filter(|record| is_current(record, now))
    }

    /// The highest record that may be given at `now` of a name whose key has this tag.
    pub fn by_hit(&self, hit: &Hit, now: UnixSecs) -> Option<&VerifiedRecord> {
        let has_tag = |record: &&VerifiedRecord| record.record().key().is_some_and(|key| Hit::of(&key) == *hit);
        let mine = self.names.iter().filter_map(|name| self.records.get(name));
        mine.filter(|record| is_current(record, now))
            .filter(has_tag)
            .max_by(|one, other| one.rank_cmp(other))
    }

    fn reach(&mut self) {
        self.names.clone_from(&self.listed);
        let held = self.listed.iter().filter_map(|name| self.records.get(name));
        let leads: Vec<Name> = held.flat_map(leads_to).collect();
        self.extend(leads);
    }

    fn extend(&mut self, mut next: Vec<Name>) {
        while let Some(name) = next.pop() {
            if self.names.len() < SITE_NAMES_MAX && self.names.insert(name) {
                next.extend(self.records.get(&name).into_iter().flat_map(leads_to));
            }
        }
        // What nobody leads to any more is not looked for again.
        self.records.retain(|name, _| self.names.contains(name));
    }
}

fn is_current(record: &VerifiedRecord, now: UnixSecs) -> bool {
    record.record().from_peer(now) == Timeliness::Current
}

/// The names that a record leads to.
fn leads_to(record: &VerifiedRecord) -> Vec<Name> {
    let own = *record.name();
    let led_to = record.record().bindings().iter().flat_map(|binding| match binding {
        Binding::Service(service) => match service.target {
            Target::Name(name) => vec![name],
            Target::Own => Vec::new(),
        },
        Binding::Delegate(delegate) => delegate
            .path
            .iter()
            .filter_map(|step| match step {
                Step::Name(name) => Some(*name),
                Step::Legacy(_) => None,
            })
            .collect(),
        Binding::Address(_) | Binding::Dns(_) | Binding::Opaque(_) => Vec::new(),
    });
    led_to.filter(|name| *name != own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, record, record_with};
    use dialtone_shared::record::{Delegate, Service, Transport};

    fn to(key: u8, micros: u64, targets: &[u8]) -> VerifiedRecord {
        record_with(key, micros, |body| {
            body.bindings = targets
                .iter()
                .map(|target| Binding::Service(service(*record(*target, 1).name())))
                .collect();
        })
    }

    fn service(target: Name) -> Service {
        Service {
            label: "https".to_owned(),
            transport: Transport::Tcp,
            port: 443,
            target: Target::Name(target),
            alpn: Vec::new(),
            priority: 0,
            weight: 0,
            pins: Vec::new(),
        }
    }

    fn name(key: u8) -> Name {
        *record(key, 1).name()
    }

    fn has(shelf: &Shelf, keys: &[u8]) -> bool {
        *shelf.names() == keys.iter().map(|key| name(*key)).collect()
    }

    #[test]
    fn what_the_listed_names_lead_to_belongs_to_them_for_as_long_as_they_do() {
        let mut shelf = Shelf::default();
        shelf.list([name(1)]);
        assert!(!shelf.take(&record(2, 10)), "nobody leads there yet");
        assert!(shelf.take(&to(1, 10, &[2, 3])) && has(&shelf, &[1, 2, 3]));
        assert!(shelf.take(&to(2, 10, &[4, 1])) && has(&shelf, &[1, 2, 3, 4]), "in a circle, too");
        assert!(shelf.take(&to(1, 11, &[3])) && has(&shelf, &[1, 3]));
        assert_eq!(shelf.record(&name(2)), None);
        let path = Delegate {
            path: vec![Step::Legacy("x.example".to_owned()), Step::Name(name(5))],
        };
        assert!(shelf.take(&record_with(3, 10, |body| body.bindings = vec![Binding::Delegate(path)])));
        assert!(has(&shelf, &[1, 3, 5]));
        shelf.list([name(5)]);
        assert!(has(&shelf, &[5]));
    }

    #[test]
    fn the_highest_record_is_kept_and_given_until_it_expires() {
        let mut shelf = Shelf::default();
        shelf.list([name(1)]);
        let short = record_with(1, 11, |body| body.expiry = NOW.plus(60));
        assert!(shelf.take(&short));
        assert!(!shelf.take(&record(1, 10)) && !shelf.take(&short), "no news");
        assert_eq!(shelf.current(&name(1), NOW), Some(&short));
        let hit = Hit::of(&short.record().key().expect("a key"));
        assert_eq!(shelf.by_hit(&hit, NOW), Some(&short));
        assert_eq!(
            (shelf.current(&name(1), NOW.plus(60)), shelf.by_hit(&hit, NOW.plus(60))),
            (None, None)
        );
        assert_eq!(shelf.record(&name(1)), Some(&short), "it is still what was seen last");
    }

    #[test]
    fn it_holds_so_many_names_and_no_more() {
        let mut shelf = Shelf::default();
        let listed = (0..SITE_NAMES_MAX as u32 + 9).map(|number| Name::of_content(&number.to_be_bytes()));
        shelf.list(std::iter::once(name(1)).chain(listed));
        assert_eq!(shelf.names().len(), SITE_NAMES_MAX);
        assert!(shelf.take(&to(1, 10, &[2, 3])));
        assert_eq!(shelf.names().len(), SITE_NAMES_MAX);
    }
}
