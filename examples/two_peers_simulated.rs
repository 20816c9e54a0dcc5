//! Two providers that peer in one process, with simulated time and a simulated wire: the very code that runs over QUIC,
//! which decides everything and touches nothing. The same seeds are the same run, to the millisecond.
//!
//! `cargo run --example two_peers_simulated`

use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::intake::{self, Checked, Verdict};
use dialtone_provider::peering::quota::Quotas;
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::{Event, Moment, Opening, Step};
use dialtone_provider::store::{Class, Condition, MemoryStore, Put, RecordStore};
use dialtone_resolver::publish;
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, SecretKey, Ttl, UnixSecs};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

const BEGIN: UnixSecs = UnixSecs(1_800_000_000);
/// How long a frame is under way.
const WIRE: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let signers = [1, 2].map(|seed| Signer::of(SecretKey::from_seed(&[seed; 32])));
    let stores = [1, 2].map(|id| MemoryStore::with_id([id; 16]));
    let mut sessions = Vec::new();
    for own in 0..2 {
        let other = signers[1 - own].name();
        let opening = Opening {
            own: signers[own].name(),
            record: greeting::own_record(&signers[own], BEGIN.micros(), 1, &[], vec![[own as u8; 32]])?,
            store: stores[own].id(),
            boot: [own as u8; 16],
            agreements: Arc::new(Agreements::from([(other, Agreement::mutual(other, Vec::new()))])),
            dialled: (own == 0).then_some(other),
            pin: [1 - own as u8; 32],
            heads: [0; 3],
            quotas: Quotas::of_nothing(),
            paths: Arc::default(),
            inbound: Arc::default(),
            branches: Arc::default(),
        };
        sessions.push(Session::new(opening, at(Duration::ZERO)));
    }

    // A publisher puts a record at the first provider.
    let (expiry, publisher) = (BEGIN.plus(86_400), Signer::of(SecretKey::from_seed(&[3; 32])));
    let body = Body::Live {
        expiry,
        ttl: Ttl(60),
        bindings: Vec::new(),
    };
    let record = publish::sign(&publisher, BEGIN.micros(), Vec::new(), body)?;
    let (class, condition) = (Class::Customer, Condition::None);
    let put = Put {
        record: record.clone(),
        class,
        keep_until: expiry,
        from: None,
        account: None,
        condition,
    };
    stores[0].put(vec![put]).await?;

    // Time is a number that only we move. What one side sends arrives at the other one wire's length later.
    let mut now = Duration::ZERO;
    let mut arriving = [Vec::new(), Vec::new()];
    while stores[1].get(record.name()).await?.is_none() {
        let mut sent = [Vec::new(), Vec::new()];
        for own in 0..2 {
            for frame in arriving[own].drain(..) {
                sessions[own].handle(at(now), Event::Frame(frame));
                sent[1 - own].extend(settle(&mut sessions[own], &stores[own], now).await?);
            }
            sent[1 - own].extend(settle(&mut sessions[own], &stores[own], now).await?);
        }
        if sent.iter().all(Vec::is_empty) {
            return Err("nothing is on its way, and the record has not arrived".into());
        }
        (arriving, now) = (sent, now + WIRE);
    }
    println!(
        "{} put at the first, held by the second after {} ms of simulated time",
        record.name(),
        (now - WIRE).as_millis()
    );
    Ok(())
}

/// Does what a session wants until it waits; returns the frames that it sends.
async fn settle(session: &mut Session, store: &MemoryStore, now: Duration) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut frames = Vec::new();
    loop {
        let event = match session.poll(at(now)) {
            Step::Send(frame) => {
                // Four bytes of length come first; a wire that keeps frames apart needs none.
                frames.push(frame[4..].to_vec());
                Event::Sent
            }
            Step::Recall(_) => Event::Recalled(None),
            Step::Admit { .. } => Event::Admitted {
                position: None,
                heads: *store.watch().borrow(),
            },
            Step::Read { lane, after, limit } => Event::Read(lane, store.changes(lane, after, limit).await?),
            Step::Check { id, terms, entries, .. } => {
                let mut checked = Checked::default();
                for entry in entries {
                    let signed = intake::open(&terms, &entry)?;
                    // Nothing is held yet; a stranger's record passes the door of verification.
                    if let Verdict::Verify(candidate) = intake::triage(&terms, signed, &entry, None, at(now).wall) {
                        checked.believed(&terms, intake::believe(*candidate)?);
                    }
                }
                Event::Checked(id, Box::new(checked))
            }
            Step::Commit { commit, .. } => Event::Committed(store.put(commit.puts).await?, Vec::new()),
            // Only where less than values is agreed.
            Step::ReadPointers { .. } | Step::Build(_) | Step::Forget { .. } => return Err("values are agreed".into()),
            // Only after two stores were compared.
            Step::Fetch(_) => return Err("nobody compares".into()),
            Step::Save { .. } => Event::Saved,
            Step::Wait(_) => return Ok(frames),
            Step::End(end) => return Err(end.reason.into()),
        };
        session.handle(at(now), event);
    }
}

fn at(now: Duration) -> Moment {
    Moment {
        wall: BEGIN.plus(now.as_secs()),
        elapsed: now,
    }
}
