//! The parameters of HTTPS and SVCB records as people write them (RFC 9460 §2.1, appendix A).

use crate::dns::zone_lex::{Word, unescape_all};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The wire form of all the words that are left, `key` or `key=value` each: `([key u16][length u16][value])*`, the keys ascending.
pub(crate) fn params(words: &mut std::slice::Iter<'_, Word>) -> Result<Vec<u8>, String> {
    let mut params = BTreeMap::new();
    for word in words {
        let cut = word.raw.iter().position(|&byte| byte == b'=');
        let (name, value) = match cut {
            Some(cut) => (&word.raw[..cut], Some(&word.raw[cut + 1..])),
            None => (&word.raw[..], None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let key = key_from_text(&name).ok_or_else(|| format!("{name:?} is not a parameter: write key and its number"))?;
        let value = unescape_all(value.unwrap_or_default()).ok_or_else(|| format!("{name}: a `\\` without what must follow it"))?;
        let value = value_of(key, &value).ok_or_else(|| format!("{name}: not a value of this parameter"))?;
        if params.insert(key, value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    let mut wire = Vec::new();
    for (key, value) in params {
        let length = u16::try_from(value.len()).map_err(|_| "a value is too long".to_owned())?;
        wire.extend_from_slice(&key.to_be_bytes());
        wire.extend_from_slice(&length.to_be_bytes());
        wire.extend_from_slice(&value);
    }
    Ok(wire)
}

fn value_of(key: u16, value: &[u8]) -> Option<Vec<u8>> {
    let list = || list(value);
    let text = |item: Vec<u8>| String::from_utf8(item).ok();
    match KEYS.get(usize::from(key)).copied().unwrap_or_default() {
        "mandatory" => {
            let mut keys = list()?
                .into_iter()
                .map(|item| key_from_text(&text(item)?))
                .collect::<Option<Vec<u16>>>()?;
            keys.sort_unstable();
            Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        "alpn" => {
            let mut wire = Vec::new();
            for id in list()? {
                wire.push(u8::try_from(id.len()).ok()?);
                wire.extend_from_slice(&id);
            }
            Some(wire)
        }
        "no-default-alpn" => value.is_empty().then(Vec::new),
        "port" => Some(text(value.to_vec())?.parse::<u16>().ok()?.to_be_bytes().to_vec()),
        "ipv4hint" => {
            let ips = list()?
                .into_iter()
                .map(|item| text(item)?.parse::<Ipv4Addr>().ok())
                .collect::<Option<Vec<_>>>()?;
            Some(ips.into_iter().flat_map(|ip| ip.octets()).collect())
        }
        "ech" => STANDARD.decode(value).ok(),
        "ipv6hint" => {
            let ips = list()?
                .into_iter()
                .map(|item| text(item)?.parse::<Ipv6Addr>().ok())
                .collect::<Option<Vec<_>>>()?;
            Some(ips.into_iter().flat_map(|ip| ip.octets()).collect())
        }
        _ => Some(value.to_vec()),
    }
}

/// Items between commas; a backslash takes the next character as it is (appendix A.1). No item is empty.
fn list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        let item = items.last_mut()?;
        match byte {
            b'\\' => item.push(*bytes.next()?),
            b',' => items.push(Vec::new()),
            _ => item.push(byte),
        }
    }
    items.iter().all(|item| !item.is_empty()).then_some(items)
}

fn key_from_text(text: &str) -> Option<u16> {
    let known = KEYS.iter().position(|key| *key == text).and_then(|key| u16::try_from(key).ok());
    let number = || {
        let digits = text.strip_prefix("key")?;
        let key: u16 = digits.parse().ok()?;
        (key.to_string() == digits).then_some(key)
    };
    known.or_else(number)
}

/// SvcParamKeys by number (RFC 9460 §14.3.2, RFC 9461 §5).
const KEYS: [&str; 8] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
];
