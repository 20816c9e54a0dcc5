//! What arrives on a link, and what becomes of it.

use super::{Session, State};
use crate::peering::intake::{Checked, Terms};
use crate::peering::limits::{DIGEST_BYTES_MAX, INVALID_RECORDS_MAX};
use crate::peering::step::{Moment, Step};
use crate::peering::{digest, health};
use crate::store::{Lane, Outcome, PointerOutcome};
use dialtone_shared::message::{Batch, CloseCode, Digest, Entry, Message, MessageError, Mode};

impl Session {
    pub(super) fn frame(&mut self, now: Moment, body: &[u8]) {
        if matches!(self.state, State::Ended(_)) || self.condemned.is_some() {
            return;
        }
        self.progress.bytes_received += body.len() as u64 + 4;
        let message = match Message::decode(body) {
            Ok(message) => message,
            Err(error @ MessageError::Version { .. }) => return self.end(CloseCode::Version, error.to_string()),
            Err(error) => return self.end(CloseCode::Protocol, error.to_string()),
        };
        match message {
            Message::Hello(hello) => self.hello(hello),
            Message::Batch(batch) => self.batch(now, batch, body.len()),
            Message::Branch(branch) => self.told_branch(branch),
            Message::Terms(terms) => self.told_terms(terms),
            Message::Digest(chunk) => self.digest_chunk(&chunk),
            Message::Ack(ack) => {
                self.acked = now.elapsed;
                let acked = match &mut self.state {
                    State::Running(running) => Some(running.feed.acked(&ack, now.elapsed)),
                    State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Ended(_) => None,
                };
                match acked {
                    None => self.end(CloseCode::Protocol, "acknowledged what was never sent".to_owned()),
                    Some(Err(error)) => self.end(CloseCode::Protocol, error.to_string()),
                    Some(Ok(())) => self.progress.acknowledged.add(&ack.counts),
                }
            }
        }
    }

    fn batch(&mut self, now: Moment, batch: Batch, bytes: usize) {
        let State::Running(running) = &mut self.state else {
            return self.end(CloseCode::Protocol, "sent a batch before the greeting".to_owned());
        };
        // What may come of an offer comes in another batch.
        let offered = batch.lane == Lane::Ordinary as u8 && running.terms.accepts == Mode::Values;
        let changes = batch
            .entries
            .iter()
            .filter(|entry| !(offered && matches!(entry, Entry::Pointer(_))));
        let ready_at = running.share.arrived(changes.count(), bytes, now.elapsed);
        let ready_at = ready_at.max(running.share.repeats_paid_at());
        let id = match running.intake.arrived(&batch, ready_at) {
            Ok(id) => id,
            Err(error) => return self.end(CloseCode::Protocol, error.to_string()),
        };
        let [records, pointers, mentions] = health::forms(&batch.entries);
        self.progress.records_received += records;
        self.progress.pointers_received += pointers;
        self.progress.mentions_received += mentions;
        let (mut entries, mut pointers) = (Vec::new(), Vec::new());
        for entry in batch.entries {
            match entry {
                Entry::Value(value) => {
                    running.feed.heard(&value);
                    entries.push(value);
                }
                Entry::Pointer(pointer) => pointers.push(pointer),
                Entry::Mention(mention) => running.heard.mention(mention),
            }
        }
        let terms = Terms {
            takes_new: running.share.takes_new(now.elapsed),
            offered,
            ..running.terms.clone()
        };
        self.todo.push_back(Step::Check {
            id,
            terms,
            entries,
            pointers,
        });
    }

    fn digest_chunk(&mut self, chunk: &Digest) {
        let State::Running(running) = &mut self.state else {
            return self.end(CloseCode::Protocol, "sent a digest before the greeting".to_owned());
        };
        // One that was on its way when what is agreed changed is of no use.
        if running.terms.accepts != Mode::Digest {
            return;
        }
        let names = self
            .opening
            .agreements
            .get(&running.peer)
            .map_or(0, |agreement| agreement.limits.names);
        let max = if names == 0 { DIGEST_BYTES_MAX } else { digest::bytes_for(names) };
        if let Err(error) = running.heard.chunk(chunk, max) {
            self.end(CloseCode::Protocol, error.to_string());
        }
    }

    pub(super) fn checked(&mut self, now: Moment, id: u64, mut checked: Checked) {
        let State::Running(running) = &mut self.state else { return };
        let intake = &mut running.intake;
        self.progress.verified += checked.verified;
        self.progress.verify_time += checked.verify_time;
        if let Some((count, refusal)) = checked.invalid.take() {
            self.progress.invalid += count;
            // Over all links of late: whoever breaks off before it is cut begins no better anew.
            let invalid = running.share.invalid(count, now.elapsed);
            if invalid >= INVALID_RECORDS_MAX && self.condemned.is_none() {
                self.condemned = Some(format!("sent {invalid} invalid records, the first of the last batch: {refusal}"));
            }
        }
        self.opening.paths.note(&std::mem::take(&mut checked.paths));
        running.share.repeated(checked.counts.same + checked.counts.older, now.elapsed);
        running.feed.peer_holds(std::mem::take(&mut checked.alike));
        let room = running.share.take(checked.new.len(), now.elapsed);
        checked.admit(room);
        if checked.counts.limited > 0 {
            running.share.refused();
        }
        // What was not looked at is not acknowledged: it goes with the link.
        if !checked.abandoned {
            intake.checked(id, checked);
        }
        if self.condemned.is_some() {
            intake.abandon_unchecked();
        }
    }

    pub(super) fn committed(&mut self, outcomes: &[Outcome], pointers: &[PointerOutcome]) {
        let State::Running(running) = &mut self.state else { return };
        let intake = &mut running.intake;
        for ack in intake.committed(outcomes, pointers) {
            self.progress.received.add(&ack.counts);
            self.acks.push_back(ack);
        }
        let settled = intake.take_settled();
        running.share.settled(settled.taken, settled.stored);
    }
}
