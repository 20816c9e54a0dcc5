//! The options of EDNS, cookies among them: read whole or not at all; nobody proves an address with a cookie that was made up; and an answer
//! dressed as they ask stays within its limit and can be read.
#![no_main]

use dialtone_resolver::dns::Carrier;
use dialtone_resolver::dns::cookie::{Cookie, Cookies};
use dialtone_resolver::dns::edns::{Wants, add_option, dress};
use dialtone_resolver::dns::wire::Reader;
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[how, time], options)) = bytes.split_first_chunk() else {
        return;
    };
    let (client, now) = (IpAddr::from([192, 0, 2, how]), u32::from_be_bytes([time; 4]));
    let cookies = Cookies::new(*b"a secret, sixtee");
    let Some(wants) = Wants::read(options) else { return };
    let mut answer = BARE.to_vec();
    let limit = BARE.len() + 4 * usize::from(time);
    if let Some(cookie) = wants.cookie {
        let shown = cookies.show(&cookie, client, now);
        assert!(!shown.is_proof, "a guess of 64 bits");
        let echoed = Cookie::read(&shown.option[4..]).expect("what is sent is a cookie");
        assert_eq!(echoed.client, cookie.client);
        assert!(cookies.show(&echoed, client, now).is_proof);
        assert!(!cookies.show(&echoed, IpAddr::from([198, 51, 100, how]), now).is_proof);
        add_option(&mut answer, &shown.option, limit);
    }
    let carrier = Carrier::ALL[usize::from(how) % Carrier::ALL.len()];
    dress(&mut answer, wants, carrier, (how & 0x80 != 0).then_some(b"here"), limit);
    assert!(answer.len() <= limit, "{} of {limit}", answer.len());
    let opt = Reader::at(&answer, BARE.len() - 11).record().expect("still an OPT");
    assert_eq!(opt.rdata, &answer[BARE.len()..]);
    assert!(Wants::read(opt.rdata).is_some());
});

/// An answer without options.
const BARE: &[u8] = b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\x01\x07example\x03alt\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
