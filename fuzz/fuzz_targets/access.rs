//! Lines of access lists: refused, or a network that has the addresses whose first bits are its own, and no other. Compared with the bits
//! counted one by one.
#![no_main]

use dialtone_resolver::dns::AccessSettings;
use dialtone_resolver::dns::access::{Access, Denied, Network};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|bytes: &[u8]| {
    let Some((client, lines)) = bytes.split_first_chunk::<17>() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(lines) else { return };
    let (mut written, mut networks) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Ok(network) = line.parse::<Network>() {
            networks.push(network);
            written.push(line);
        }
    }
    let (how, client) = client.split_first().expect("17 bytes");
    let client: [u8; 16] = client.try_into().expect("16 bytes");
    let mut clients = vec![IpAddr::from(client), IpAddr::from([client[0], client[1], client[2], client[3]])];
    // Those about which a mistake by one would be made: at the ends of what is written.
    clients.extend(written.iter().flat_map(|line| ends(line)));
    let cut = usize::from(*how) % (networks.len() + 1);
    let access = Access::new(AccessSettings {
        allow: networks[..cut].to_vec(),
        deny: networks[cut..].to_vec(),
        denied: Denied::Drop,
    });
    for client in clients {
        let has = |lines: &[&str]| lines.iter().any(|line| is_in(line, client));
        let may = (cut == 0 || has(&written[..cut])) && !has(&written[cut..]);
        assert_eq!(
            access.denies(client),
            (!may).then_some(Denied::Drop),
            "{client} of {written:?}, allowed {cut}"
        );
    }
});

/// The address as 128 bits, IPv4 as IPv6 maps it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The network's address, and how many of 128 bits are its own. Of networks that hold all of IPv4 and more only those of IPv6 are meant.
fn network(line: &str) -> (u128, u32, bool) {
    let (address, length) = line.split_once('/').unwrap_or((line, ""));
    let address: IpAddr = address.parse().expect("it was read");
    let before = if address.is_ipv4() { 96 } else { 0 };
    let length = before + length.parse().unwrap_or(128 - before);
    let is_v4 = bits(address) >> 32 == 0xffff && length >= 96;
    (bits(address), length, is_v4)
}

fn is_in(line: &str, client: IpAddr) -> bool {
    let ((base, length, is_v4), client) = (network(line), bits(client));
    let is_client_v4 = client >> 32 == 0xffff;
    is_v4 == is_client_v4 && (0..length).all(|bit| (base ^ client) >> (127 - bit) & 1 == 0)
}

fn ends(line: &str) -> [IpAddr; 4] {
    let (base, length, _) = network(line);
    let last = base | u128::MAX.checked_shr(length).unwrap_or(0);
    [base, base.wrapping_sub(1), last, last.wrapping_add(1)].map(|bits| IpAddr::from(bits.to_be_bytes()))
}
