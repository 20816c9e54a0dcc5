//! Two providers that peer in one process, with simulated time and a simulated wire: the very code that runs over QUIC,
//! which decides everything and touches nothing. A run is a conversation, and the same seed is the same run.
//!
//! `cargo run --example two_peers_simulated`

use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::intake::{self, Checked, Verdict};
use dialtone_provider::peering::session::{Event, Moment, Opening, Session, Step};
use dialtone_provider::store::{Class, Condition, MemoryStore, Put, RecordStore};
use dialtone_resolver::publish;
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Binding};
use dialtone_shared::{Body, SecretKey, Ttl, UnixSecs};
use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// When this world begins: seconds since 1970.
const BEGIN: UnixSecs = UnixSecs(1_800_000_000);
/// How long a frame is under way.
const WIRE: Duration = Duration::from_millis(20);

/// One end: its decisions, its store, and the frames that are on their way to it with their time of arrival.
struct Peer {
    session: Session,
    store: Arc<MemoryStore>,
    arriving: VecDeque<(Duration, Vec<u8>)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let signers = [1, 2].map(|seed| Signer::of(SecretKey::from_seed(&[seed; 32])));
    let mut peers = Vec::new();
    for own in 0..2 {
        let other = signers[1 - own].name();
        let opening = Opening {
            own: signers[own].name(),
            record: greeting::own_record(&signers[own], BEGIN.micros(), 1, &[], vec![[own as u8; 32]])?,
            store: [own as u8; 16],
            boot: [own as u8; 16],
            agreements: Arc::new(Agreements::from([(other, Agreement::mutual(other, Vec::new()))])),
            dialled: (own == 0).then_some(other),
            pin: [1 - own as u8; 32],
        };
        peers.push(Peer {
            session: Session::new(opening, moment(Duration::ZERO)),
            store: MemoryStore::with_id([own as u8; 16]),
            arriving: VecDeque::new(),
        });
    }

    // A publisher puts a record at the first.
    let publisher = Signer::of(SecretKey::from_seed(&[3; 32]));
    let body = Body::Live {
        expiry: BEGIN.plus(86_400),
        ttl: Ttl(60),
        bindings: vec![Binding::Address(Address::of("192.0.2.7".parse()?))],
    };
    let record = publish::sign(&publisher, BEGIN.micros(), Vec::new(), body)?;
    let put = Put {
        record: record.clone(),
        class: Class::Customer,
        keep_until: BEGIN.plus(86_400),
        from: None,
        account: None,
        condition: Condition::None,
    };
    peers[0].store.put(vec![put]).await?;

    // Time is a number that only we move: to whatever happens next.
    let mut now = Duration::ZERO;
    while peers[1].store.get(record.name()).await?.is_none() {
        for own in 0..2 {
            let frames = settle(&mut peers[own], now).await?;
            peers[1 - own].arriving.extend(frames.into_iter().map(|frame| (now + WIRE, frame)));
        }
        let next = peers.iter().filter_map(|peer| peer.arriving.front()).map(|(at, _)| *at).min();
        now = next.ok_or("nothing is on its way, and the record has not arrived")?;
    }
    println!(
        "{} put at the first, held by the second after {} ms of simulated time",
        record.name(),
        now.as_millis()
    );
    Ok(())
}

/// Lets a peer do what it wants until it waits; returns the frames that it sends.
async fn settle(peer: &mut Peer, now: Duration) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let (mut frames, store) = (Vec::new(), peer.store.clone());
    loop {
        let event = match peer.session.poll(moment(now)) {
            Step::Send(frame) => {
                // Four bytes of length come first; a wire that keeps frames apart needs none.
                frames.push(frame[4..].to_vec());
                Event::Sent
            }
            Step::Recall(name) => Event::Recalled(store.get(&name).await?.map(|held| *held.record.rank())),
            Step::Admit { .. } => {
                let heads = *store.watch().borrow();
                Event::Admitted { position: None, heads }
            }
            Step::Read { lane, after, limit } => Event::Read(lane, store.changes(lane, after, limit).await?),
            Step::Check { id, terms, entries } => {
                let mut checked = Checked::default();
                for entry in entries {
                    let signed = intake::open(&terms, &entry)?;
                    let held = store.get(signed.name()).await?;
                    // Here a stranger's record passes the door of verification.
                    if let Verdict::Verify(candidate) = intake::triage(&terms, signed, entry.keep_until, held.as_ref(), moment(now).wall) {
                        checked.believed(&terms, intake::believe(*candidate)?);
                    }
                }
                Event::Checked(id, checked)
            }
            Step::Commit { puts, .. } => Event::Committed(store.put(puts).await?),
            Step::Save { .. } => Event::Saved,
            Step::Wait(_) => match peer.arriving.front() {
                Some((at, _)) if *at <= now => Event::Frame(peer.arriving.pop_front().map(|(_, frame)| frame).unwrap_or_default()),
                Some(_) | None => return Ok(frames),
            },
            Step::End(end) => return Err(end.reason.into()),
        };
        peer.session.handle(moment(now), event);
    }
}

fn moment(now: Duration) -> Moment {
    Moment {
        wall: BEGIN.plus(now.as_secs()),
        elapsed: now,
    }
}
