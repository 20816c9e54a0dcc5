//! Bindings, names and durations as they are typed. Every refusal says what would have been right.

use dialtone_resolver::keyfile::from_hex;
use dialtone_shared::limits::{ALPN_MAX, LIFETIME_SECS_MAX, SALT_BYTES_MAX, TTL_SECS_MAX};
use dialtone_shared::record::{Address, Binding, Delegate, Opaque, Service, Step, Target, Transport, binding};
use dialtone_shared::{Name, NameError, Ttl};
use std::net::IpAddr;
use std::path::PathBuf;

/// `IP[,priority=N][,weight=N][,region=NAME]`.
///
/// # Errors
/// What is wrong with it, for the person who typed it.
pub fn address(typed: &str) -> Result<Address, String> {
    let (ip, options) = split(typed);
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| format!("`{ip}` is not an IP address: write 192.0.2.7 or 2001:db8::7"))?;
    let mut address = Address::of(ip);
    for (key, value) in options {
        let (key, value) = pair(key, value)?;
        match key {
            "priority" => address.priority = number(key, value)?,
            "weight" => address.weight = number(key, value)?,
            "region" => address.region = Some(value.to_owned()),
            _ => return Err(unknown(key, "priority, weight, region")),
        }
    }
    checked(Binding::Address(address.clone())).map(|()| address)
}

/// `LABEL:tcp|udp:PORT[,target=NAME][,alpn=A+B][,priority=N][,weight=N][,pin=HEX]…`.
///
/// # Errors
/// As [`address`].
pub fn service(typed: &str) -> Result<Service, String> {
    let (head, options) = split(typed);
    let shape = || format!("`{head}` is not LABEL:tcp|udp:PORT, such as https:tcp:443");
    let mut parts = head.split(':');
    let (Some(label), Some(transport), Some(port), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(shape());
    };
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        _ => return Err(shape()),
    };
    let port = port.parse().map_err(|_| format!("`{port}` is not a port: 1 to 65535"))?;
    let mut service = Service::of(label, transport, port);
    for (key, value) in options {
        let (key, value) = pair(key, value)?;
        match key {
            "target" => service.target = Target::Name(flat_name(value)?),
            "alpn" => service.alpn = value.split('+').map(str::to_owned).collect(),
            "priority" => service.priority = number(key, value)?,
            "weight" => service.weight = number(key, value)?,
            "pin" => service.pins.push(pin(value)?),
            _ => return Err(unknown(key, "target, alpn, priority, weight, pin")),
        }
    }
    if service.alpn.len() > ALPN_MAX {
        return Err(format!("at most {ALPN_MAX} ALPN ids"));
    }
    checked(Binding::Service(service.clone())).map(|()| service)
}

/// `STEP[,STEP]…`, each a flat name or a DNS name, in the order in which traffic takes them.
///
/// # Errors
/// As [`address`].
pub fn delegate(typed: &str) -> Result<Delegate, String> {
    let path = typed.split(',').map(|typed| step(typed.trim())).collect::<Result<_, _>>()?;
    let delegate = Delegate { path };
    checked(Binding::Delegate(delegate.clone())).map(|()| delegate)
}

/// An `opaque` binding whose bytes may still be in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpaqueArg {
    media_type: String,
    from: OpaqueFrom,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum OpaqueFrom {
    Text(String),
    File(PathBuf),
}

/// `TYPE/SUBTYPE:TEXT` or `TYPE/SUBTYPE:@FILE`.
///
/// # Errors
/// As [`address`].
pub fn opaque(typed: &str) -> Result<OpaqueArg, String> {
    let (media_type, rest) = typed
        .split_once(':')
        .ok_or("write TYPE/SUBTYPE:TEXT or TYPE/SUBTYPE:@FILE, such as text/plain:hello")?;
    let empty = Opaque {
        media_type: media_type.to_owned(),
        bytes: Vec::new(),
    };
    checked(Binding::Opaque(empty))?;
    let from = match rest.strip_prefix('@') {
        Some(path) => OpaqueFrom::File(path.into()),
        None => OpaqueFrom::Text(rest.to_owned()),
    };
    Ok(OpaqueArg {
        media_type: media_type.to_owned(),
        from,
    })
}

impl OpaqueArg {
    /// Reads the file, if it is one.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn load(self) -> Result<Opaque, (PathBuf, std::io::Error)> {
        let bytes = match self.from {
            OpaqueFrom::Text(text) => text.into_bytes(),
            OpaqueFrom::File(path) => std::fs::read(&path).map_err(|error| (path, error))?,
        };
        Ok(Opaque {
            media_type: self.media_type,
            bytes,
        })
    }
}

/// A flat name in any of its forms: text, URI, or DNS under whatever origin.
///
/// # Errors
/// As [`address`].
pub fn flat_name(typed: &str) -> Result<Name, String> {
    parse_name(typed).map_err(|error| format!("`{typed}` is not a name: {error}"))
}

/// As [`flat_name`], for callers who want to look at the error.
///
/// # Errors
/// [`NameError`].
pub fn parse_name(typed: &str) -> Result<Name, NameError> {
    match typed.split_once('.') {
        Some((label, _origin)) if !typed.contains(':') => Name::from_label(label),
        _ => typed.parse(),
    }
}

/// A whole number of seconds: `90`, `90s`, `15m`, `12h`, `30d`, `4w`.
///
/// # Errors
/// As [`address`].
pub fn seconds(typed: &str) -> Result<u64, String> {
    let wrong = || format!("`{typed}` is not a duration: write 90s, 15m, 12h, 30d or 4w");
    let digits = typed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &typed[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(factor).ok_or_else(wrong)
}

/// A lifetime: a duration of at least a second and at most 400 days.
///
/// # Errors
/// As [`address`].
pub fn lifetime(typed: &str) -> Result<u64, String> {
    match seconds(typed)? {
        0 => Err("a record lives for at least a second; to withdraw a name use `dialtone unpublish`".to_owned()),
        secs if secs > LIFETIME_SECS_MAX => Err("a record lives for at most 400 days: publish again before it ends".to_owned()),
        secs => Ok(secs),
    }
}

/// How long caches may keep something: at most the 7 days that are honoured.
///
/// # Errors
/// As [`address`].
pub fn ttl(typed: &str) -> Result<Ttl, String> {
    match seconds(typed)? {
        secs if secs > u64::from(TTL_SECS_MAX) => Err("a TTL is at most 7d: caches honour no more".to_owned()),
        secs => Ok(Ttl(secs as u32)),
    }
}

/// A salt: hexadecimal digits after `0x`, otherwise the text's bytes.
///
/// # Errors
/// As [`address`].
pub fn salt(typed: &str) -> Result<Salt, String> {
    let bytes = match typed.strip_prefix("0x") {
        Some(digits) => from_hex(digits).ok_or_else(|| format!("`{digits}` is not an even number of hexadecimal digits"))?,
        None => typed.as_bytes().to_vec(),
    };
    if bytes.is_empty() || bytes.len() > SALT_BYTES_MAX {
        return Err(format!("a salt has 1 to {SALT_BYTES_MAX} bytes, this has {}", bytes.len()));
    }
    Ok(Salt(bytes))
}

/// What tells apart the names of one key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Salt(pub Vec<u8>);

/// A label of 56 characters can only be meant as a name: a mistyped one must not become a DNS name.
fn step(typed: &str) -> Result<Step, String> {
    let first = typed.split('.').next().unwrap_or(typed);
    if typed.contains(':') || !typed.contains('.') || first.len() == Name::TEXT_CHARS {
        return flat_name(typed).map(Step::Name);
    }
    let dns = typed.strip_suffix('.').unwrap_or(typed).to_ascii_lowercase();
    if binding::is_dns_name(&dns) {
        Ok(Step::Legacy(dns))
    } else {
        Err(format!("`{typed}` is neither a flat name nor a DNS name"))
    }
}

fn split(typed: &str) -> (&str, impl Iterator<Item = (&str, Option<&str>)>) {
    let mut parts = typed.split(',').map(str::trim);
    let head = parts.next().unwrap_or_default();
    let options = parts.map(|part| match part.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (part, None),
    });
    (head, options)
}

fn pair<'a>(key: &'a str, value: Option<&'a str>) -> Result<(&'a str, &'a str), String> {
    value
        .map(|value| (key, value))
        .ok_or_else(|| format!("`{key}` has no value: write {key}=…"))
}

fn number(key: &str, value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| format!("{key}: `{value}` is not a number from 0 to 65535"))
}

fn pin(value: &str) -> Result<[u8; 32], String> {
    from_hex(value)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("pin: `{value}` is not 64 hexadecimal digits (SHA-256 of a SubjectPublicKeyInfo)"))
}

fn unknown(key: &str, known: &str) -> String {
    format!("`{key}` is not known here; known are {known}")
}

fn checked(binding: Binding) -> Result<(), String> {
    binding.check().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: [u8; 32] = [7; 32];

    #[test]
    fn addresses_are_read_with_their_preferences() {
        let read = address("2001:db8::7,priority=2,weight=10,region=eu-central-1").unwrap();
        assert_eq!(read.ip, "2001:db8::7".parse::<IpAddr>().unwrap());
        assert_eq!((read.priority, read.weight, read.region.as_deref()), (2, 10, Some("eu-central-1")));
    }

    #[test]
    fn services_are_read_with_every_option() {
        let name = Name::key_set(NAME);
        let typed = format!(
            "https:tcp:443,target={name},alpn=h2+http/1.1,priority=1,weight=5,pin={}",
            "ab".repeat(32)
        );
        let read = service(&typed).unwrap();
        assert_eq!((read.label.as_str(), read.transport, read.port), ("https", Transport::Tcp, 443));
        assert_eq!(read.target, Target::Name(name));
        assert_eq!(read.alpn, ["h2", "http/1.1"]);
        assert_eq!((read.priority, read.weight, read.pins), (1, 5, vec![[0xab; 32]]));
    }

    #[test]
    fn a_delegate_mixes_flat_and_legacy_steps_in_order() {
        let name = Name::key_set(NAME);
        let read = delegate(&format!("{}, Example.ORG.", name.to_dns("dialtone.alt"))).unwrap();
        assert_eq!(read.path, [Step::Name(name), Step::Legacy("example.org".into())]);
    }

    #[test]
    fn every_wrong_binding_is_refused_with_what_would_be_right() {
        let mistyped = format!("{}.example.org", "y".repeat(56));
        let too_many = format!("https:tcp:443,alpn={}", ["a"; 9].join("+"));
        for (refusal, says) in [
            (address("localhost").unwrap_err(), "192.0.2.7"),
            (address("192.0.2.7,priority=70000").unwrap_err(), "0 to 65535"),
            (address("192.0.2.7,colour=red").unwrap_err(), "priority, weight, region"),
            (address("192.0.2.7,region").unwrap_err(), "region=…"),
            (address("192.0.2.7,region=Europe").unwrap_err(), "lower-case"),
            (service("https").unwrap_err(), "https:tcp:443"),
            (service("https:sctp:443").unwrap_err(), "tcp|udp"),
            (service("https:tcp:99999").unwrap_err(), "1 to 65535"),
            (service("https:tcp:0").unwrap_err(), "1 to 65535"),
            (service("HTTPS:tcp:443").unwrap_err(), "lower-case"),
            (service("https:tcp:443,pin=abc").unwrap_err(), "64 hexadecimal digits"),
            (service("https:tcp:443,target=home").unwrap_err(), "56 characters"),
            (service(&too_many).unwrap_err(), "at most 8"),
            (delegate("").unwrap_err(), "is not a name"),
            (delegate("exa mple.org").unwrap_err(), "neither"),
            (delegate(&mistyped).unwrap_err(), "checksum"),
            (opaque("hello").unwrap_err(), "TYPE/SUBTYPE"),
            (opaque("hello:there").unwrap_err(), "type/subtype"),
            (lifetime("0s").unwrap_err(), "unpublish"),
            (lifetime("401d").unwrap_err(), "400 days"),
            (ttl("8d").unwrap_err(), "7d"),
            (seconds("soon").unwrap_err(), "30d"),
            (seconds("99999999999999999999d").unwrap_err(), "30d"),
            (salt("").unwrap_err(), "1 to 32"),
            (salt("0xabc").unwrap_err(), "even number"),
        ] {
            assert!(refusal.contains(says), "{refusal:?} should say {says:?}");
        }
    }

    #[test]
    fn names_are_read_in_all_three_forms() {
        let name = Name::key_set(NAME);
        for form in [
            name.to_string(),
            name.to_uri(),
            name.to_dns("dialtone.alt"),
            name.to_string().to_uppercase(),
        ] {
            assert_eq!(flat_name(&form).unwrap(), name);
        }
    }

    #[test]
    fn durations_have_units() {
        for (typed, secs) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("4w", 2_419_200),
        ] {
            assert_eq!(seconds(typed).unwrap(), secs);
        }
    }

    #[test]
    fn a_salt_is_text_or_marked_hexadecimal() {
        assert_eq!(salt("home").unwrap().0, b"home");
        assert_eq!(salt("0x00ff").unwrap().0, [0, 255]);
    }
}
