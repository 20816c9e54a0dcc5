//! Cookies (RFC 7873, RFC 9018): who shows one that was sent to its address has that address. Pure: time is an argument.
//!
//! `[client 8][version 1][reserved 3][time u32][SipHash-2-4 of all before and the address, u64]`
//!
//! Nothing is kept of any client. The secret of a cookie is made from its time, so that secrets change without anybody doing it, and the one
//! before is known for as long as its cookies hold.

use siphasher::sip::SipHasher24;
use siphasher::sip128;
use std::net::IpAddr;

/// What a question brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// What its sender knows it by.
    pub client: [u8; CLIENT_BYTES],
    /// What it says that it was sent from here; `None` where it is nothing that is made here.
    pub server: Option<[u8; SERVER_BYTES]>,
}

impl Cookie {
    /// Reads the data of a cookie option; `None` if it has a length that no cookie has (RFC 7873 §5.2.2).
    pub fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk()?;
        match server.len() {
            0 | 8..=32 => Some(Self {
                client: *client,
                server: server.try_into().ok(),
            }),
            _ => None,
        }
    }
}

/// What makes and knows the cookies of this process.
#[derive(Clone)]
pub struct Cookies {
    secret: [u8; 16],
}

/// What is said about a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Whether it was sent to that address, not long ago.
    pub is_proof: bool,
    /// The option that goes back: the same again, or a new one.
    pub option: [u8; OPTION_BYTES],
}

impl Cookies {
    /// `secret`: by chance, and nobody else's.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// What `cookie` proves of `client`, and what goes back. `now`: in seconds, of a clock that may run over.
    pub fn show(&self, cookie: &Cookie, client: IpAddr, now: u32) -> Shown {
        let proved = cookie.server.filter(|server| self.made(&cookie.client, server, client, now));
        let server = match proved {
            Some(server) if now.wrapping_sub(time_of(&server)) <= RENEWED_AFTER => server,
            Some(_) | None => make(&cookie.client, now, client, &self.secret_of(now)),
        };
        let mut option = [0; OPTION_BYTES];
        option[..4].copy_from_slice(&[0, COOKIE as u8, 0, (OPTION_BYTES - 4) as u8]);
        option[4..4 + CLIENT_BYTES].copy_from_slice(&cookie.client);
        option[4 + CLIENT_BYTES..].copy_from_slice(&server);
        Shown {
            is_proof: proved.is_some(),
            option,
        }
    }

    fn made(&self, for_whom: &[u8; CLIENT_BYTES], server: &[u8; SERVER_BYTES], client: IpAddr, now: u32) -> bool {
        let age = now.wrapping_sub(time_of(server));
        let is_of_now = age <= OLDEST || age.wrapping_neg() <= AHEAD;
        is_of_now && is_made_with(for_whom, server, client, &self.secret_of(time_of(server)))
    }

    /// The secret of the cookies of a time.
    fn secret_of(&self, time: u32) -> [u8; 16] {
        sip128::SipHasher24::new_with_key(&self.secret)
            .hash(&(time >> SECRET_LASTS_BITS).to_be_bytes())
            .as_bytes()
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies(..)")
    }
}

fn time_of(server: &[u8; SERVER_BYTES]) -> u32 {
    u32::from_be_bytes([server[4], server[5], server[6], server[7]])
}

/// The part of a cookie that is made here.
fn make(for_whom: &[u8; CLIENT_BYTES], time: u32, client: IpAddr, secret: &[u8; 16]) -> [u8; SERVER_BYTES] {
    let mut server = [0; SERVER_BYTES];
    server[0] = VERSION;
    server[4..8].copy_from_slice(&time.to_be_bytes());
    let hash = hash(for_whom, &server, client, secret);
    server[8..].copy_from_slice(&hash);
    server
}

fn is_made_with(for_whom: &[u8; CLIENT_BYTES], server: &[u8; SERVER_BYTES], client: IpAddr, secret: &[u8; 16]) -> bool {
    // As numbers: how far two hashes are alike is not to be told from the time that it takes.
    server[0] == VERSION && u64::from_be_bytes(hash(for_whom, server, client, secret)) == u64::from_be_bytes(server_hash(server))
}

fn server_hash(server: &[u8; SERVER_BYTES]) -> [u8; 8] {
    let mut hash = [0; 8];
    hash.copy_from_slice(&server[8..]);
    hash
}

/// The hash over what stands before it, the reserved bytes as they came, and the address.
fn hash(for_whom: &[u8; CLIENT_BYTES], server: &[u8; SERVER_BYTES], client: IpAddr, secret: &[u8; 16]) -> [u8; 8] {
    let mut all = [0; CLIENT_BYTES + 8 + 16];
    all[..CLIENT_BYTES].copy_from_slice(for_whom);
    all[CLIENT_BYTES..CLIENT_BYTES + 8].copy_from_slice(&server[..8]);
    let address = CLIENT_BYTES + 8;
    let end = match client.to_canonical() {
        IpAddr::V4(ip) => {
            all[address..address + 4].copy_from_slice(&ip.octets());
            address + 4
        }
        IpAddr::V6(ip) => {
            all[address..].copy_from_slice(&ip.octets());
            address + 16
        }
    };
    // As the RFC's examples have it: least significant byte first.
    SipHasher24::new_with_key(secret).hash(&all[..end]).to_le_bytes()
}

/// The code of the option.
pub(crate) const COOKIE: u16 = 10;

/// A whole option with its head.
pub const OPTION_BYTES: usize = 4 + CLIENT_BYTES + SERVER_BYTES;

const CLIENT_BYTES: usize = 8;
const SERVER_BYTES: usize = 16;
const VERSION: u8 = 1;

/// How old a cookie may be, how far ahead of the clock, and from what age a new one is sent, in seconds (RFC 9018 §4.3).
const OLDEST: u32 = 3_600;
const AHEAD: u32 = 300;
const RENEWED_AFTER: u32 = 1_800;

/// For how long one secret makes cookies, in bits of a second: eighteen hours, half of the day and a half that RFC 7873 §7.1 asks for.
const SECRET_LASTS_BITS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 100));
    const NOW: u32 = 1_000_000;

    fn cookies() -> Cookies {
        Cookies::new([7; 16])
    }

    /// A client that has not been here, and what it comes back with.
    fn first(now: u32) -> (Cookie, Cookie) {
        let bare = Cookie {
            client: *b"customer",
            server: None,
        };
        let shown = cookies().show(&bare, SOMEBODY, now);
        assert!(!shown.is_proof);
        (bare, Cookie::read(&shown.option[4..]).expect("a cookie"))
    }

    #[test]
    fn the_examples_of_rfc_9018_are_made_and_known() {
        let rows = [
            (
                "198.51.100.100",
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            (
                "198.51.100.100",
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            ),
            (
                "203.0.113.203",
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            ),
            (
                "203.0.113.203",
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            ),
            (
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                "dd3bdf9344b678b185a6f5cb60fca715",
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            ),
            (
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                "445536bcd2513298075a5d379663c962",
                "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            ),
        ];
        for (client, secret, whole) in rows {
            let client: IpAddr = client.parse().expect(client);
            let secret: [u8; 16] = hex::decode(secret).expect("hex").try_into().expect("16 bytes");
            let bytes = hex::decode(whole).expect("hex");
            let cookie = Cookie::read(&bytes).expect("a cookie");
            let server = cookie.server.expect("a server's part");
            assert!(is_made_with(&cookie.client, &server, client, &secret), "{whole}");
            assert!(!is_made_with(&cookie.client, &server, client, &[0; 16]), "{whole}");
            if server[1..4] == [0; 3] {
                assert_eq!(make(&cookie.client, time_of(&server), client, &secret), server, "{whole}");
            }
        }
    }

    #[test]
    fn who_shows_what_it_was_sent_has_its_address_and_nobody_else_does() {
        let (_, cookie) = first(NOW);
        let shown = cookies().show(&cookie, SOMEBODY, NOW + 60);
        assert!(shown.is_proof);
        assert_eq!(Cookie::read(&shown.option[4..]), Some(cookie), "the same for half an hour");
        assert!(!cookies().show(&cookie, "198.51.100.101".parse().expect("address"), NOW).is_proof);
        assert!(!Cookies::new([8; 16]).show(&cookie, SOMEBODY, NOW).is_proof);
        let other = Cookie {
            client: *b"somebody",
            ..cookie
        };
        assert!(!cookies().show(&other, SOMEBODY, NOW).is_proof);
        for bit in 0..8 * SERVER_BYTES {
            let mut server = cookie.server.expect("a server's part");
            server[bit / 8] ^= 1 << (bit % 8);
            let bent = Cookie {
                server: Some(server),
                ..cookie
            };
            assert!(!cookies().show(&bent, SOMEBODY, NOW).is_proof, "bit {bit}");
        }
    }

    #[test]
    fn a_cookie_is_renewed_after_half_an_hour_and_ends_after_one() {
        for now in [NOW, u32::MAX - 100, (5 << SECRET_LASTS_BITS) - 100] {
            let (_, cookie) = first(now);
            for (later, is_proof, is_same) in [
                (0, true, true),
                (1_800, true, true),
                (1_801, true, false),
                (3_600, true, false),
                (3_601, false, false),
                (0_u32.wrapping_sub(300), true, false),
                (0_u32.wrapping_sub(301), false, false),
            ] {
                let then = now.wrapping_add(later);
                let shown = cookies().show(&cookie, SOMEBODY, then);
                assert_eq!(shown.is_proof, is_proof, "{later} after {now}");
                let sent = Cookie::read(&shown.option[4..]).expect("a cookie");
                assert_eq!(sent == cookie, is_same, "{later} after {now}");
                assert!(cookies().show(&sent, SOMEBODY, then).is_proof);
            }
        }
    }

    #[test]
    fn secrets_change_by_themselves() {
        let cookies = cookies();
        assert_eq!(cookies.secret_of(NOW), cookies.secret_of(NOW + 1));
        assert_ne!(cookies.secret_of(NOW), cookies.secret_of(NOW + (1 << SECRET_LASTS_BITS)));
    }

    #[test]
    fn only_the_lengths_of_cookies_are_read() {
        for length in 0..=50 {
            let read = Cookie::read(&vec![1; length]);
            assert_eq!(read.is_some(), matches!(length, 8 | 16..=40), "{length}");
            let ours = read.is_some_and(|cookie| cookie.server.is_some());
            assert_eq!(ours, length == 24, "{length}");
        }
    }
}
