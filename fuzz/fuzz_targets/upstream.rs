//! Replies of upstream resolvers: passed over, or believed and then passed on as a message that can be read, within the limit, to just the
//! question that was asked. The first byte says what is asked, the rest is the reply, from its flags or from its first record on.
#![no_main]

use dialtone_resolver::dns::forward::{Asked, Sent, Verdict};
use dialtone_resolver::dns::links;
use dialtone_resolver::dns::question::Query;
use dialtone_resolver::dns::wire::{HEADER_BYTES, Reader, flags};
use dialtone_resolver::dns::{Domain, https};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let asked = Asked {
        name: Domain::from_text("www.example.com").expect("a name"),
        kind: [1, 5, 6, 16, 28, 65, 255, 43][usize::from(how & 7)],
        dnssec_ok: how & 8 != 0,
        checking_disabled: how & 16 != 0,
    };
    let sent = asked.query(0x1234, &[0x55; 32]);
    let query = Query::read(&sent.bytes).expect("what is sent is a query");
    // Most of what is made up is no reply to this question, and not looked at for long: half of it gets the right beginning.
    let question = &sent.bytes[HEADER_BYTES..HEADER_BYTES + query.question.name.as_wire().len() + 4];
    let reply = match rest.split_at_checked(8) {
        Some((head, records)) if how & 32 != 0 => {
            [&sent.bytes[..2], &[head[0] | 0x80, head[1], 0, 1], &head[2..], question, records].concat()
        }
        _ => rest.to_vec(),
    };
    believed(&sent, &query, &reply, sent.judge(&reply));
    believed(&sent, &query, &reply, sent.judge_any_case(&reply));
    https::fresh_secs(&reply);
});

fn believed(sent: &Sent, query: &Query, reply: &[u8], verdict: Verdict) {
    let answered = match verdict {
        Verdict::Answer(answered) => answered,
        Verdict::PassOver => return,
        Verdict::Guess => {
            assert_ne!(reply[..2], sent.bytes[..2], "it was right");
            return;
        }
        Verdict::Truncated | Verdict::OtherCase | Verdict::Failed => {
            assert_eq!(reply[..2], sent.bytes[..2], "of another question");
            return;
        }
    };
    assert!(reply[..2] == sent.bytes[..2] && reply[2] & 0x80 != 0);
    assert!(answered.bytes() <= reply.len() + answered.targets().len() * 255);
    for (age, limit) in [(0, 512), (30, 1_232), (u64::MAX, 65_535)] {
        let age = Duration::from_secs(age);
        for relayed in [answered.relay(query, age, limit), answered.relay_stale(query, limit)] {
            assert!(relayed.len() <= limit.max(reply.len() + 11));
            is_answer_to(query, &relayed);
        }
        let (answers, _) = answered.records(age);
        links::read(&answers);
    }
    answered.is_soon_over(Duration::from_secs(1));
    answered.records_stale();
    assert!(answered.clone().older_by(Duration::from_secs(10)).ttl <= answered.ttl);
}

fn is_answer_to(query: &Query, relayed: &[u8]) {
    let mut r = Reader::new(relayed);
    let header = r.header().expect("a header");
    assert!(header.id == query.id && header.flags & flags::QR != 0 && header.counts[0] == 1);
    assert_eq!(r.plain_name().expect("a name").as_wire(), query.question.name.as_wire());
    assert_eq!((r.u16(), r.u16()), (Some(query.question.kind), Some(query.question.class)));
    for _ in 0..header.counts[1..].iter().map(|&count| u32::from(count)).sum() {
        r.record().expect("as many records as it says");
    }
    assert!(r.is_at_end());
}
