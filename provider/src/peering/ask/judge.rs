//! What a peer's answer is worth: what it gives is taken apart, compared with what is known, and verified, once.

use super::question::{Ask, Found, Said};
use crate::peering::agreement::Way;
use crate::peering::policy;
use dialtone_shared::message::Answer;
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Name, Rank, SignedRecord, Ttl, UnixSecs};
use std::cmp::Ordering;

/// Judges what the peer at the end of this way answered to `ask`. The signature is checked only of what would be new: about 50 µs.
pub fn judge(own: &Name, ask: &Ask, way: &Way, answer: Answer, now: UnixSecs) -> Said {
    let peer = &way.peer;
    let wrong = |what: &dyn std::fmt::Display| Said::Wrong(format!("the peer {peer} answered {what}"));
    let (value, fresh) = match answer {
        Answer::Found { value, fresh } => (value, fresh),
        Answer::NotNewer { fresh } => return Said::NotNewer { fresh },
        Answer::Absent { certain } => return Said::Absent { certain },
    };
    let signed = match SignedRecord::decode(value.record) {
        Ok(signed) => signed,
        Err(error) => return wrong(&format_args!("what is no record: {error}")),
    };
    let record = signed.record();
    let asked_for = match &ask.tag {
        Some(tag) => tag.is_of(record),
        None => *signed.name() == ask.name,
    };
    if !asked_for {
        return wrong(&format_args!("with a record of {}", signed.name()));
    }
    if !record.in_scope(own) {
        return wrong(&"with a record that is not for this provider by its scope");
    }
    if !way.filter.passes(signed.name(), !record.scope.is_empty()) {
        return Said::Nothing(format!("the agreement with the peer {peer} does not let pass what it holds"));
    }
    let keep_until = record.bounded(value.keep_until, now);
    if record.forget_at().is_some_and(|at| at <= now) {
        return wrong(&"with a record that nobody may keep any longer");
    }
    if let Timeliness::Future(secs) = record.from_peer(now) {
        // One of the two clocks is wrong, and it need not be theirs.
        return Said::Nothing(format!("the peer {peer} answered with a record from {secs} s in the future"));
    }
    let rank = signed.rank();
    let below = |bound: &Option<Rank>, equal: bool| {
        let order = bound.as_ref().and_then(|bound| rank.compare(bound));
        order == Some(Ordering::Less) || (equal && order == Some(Ordering::Equal))
    };
    if below(&ask.known, true) || below(&ask.floor, false) {
        return wrong(&"with a record that is not newer than what is known");
    }
    match signed.verify() {
        Ok(record) => {
            let ttl = record.record().ttl_at(now);
            Said::Found(Box::new(Found {
                class: policy::class_of(way.relationship, value.class),
                keep_until,
                fresh: Ttl(ttl.0.min(fresh.0)),
                record,
            }))
        }
        Err(error) => wrong(&format_args!("with a record that is not believed: {error}")),
    }
}
