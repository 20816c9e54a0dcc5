//! A session as a conversation: two ends in memory, every step answered at once, every arrow written down.

use dialtone_provider::io::peering as io;
use dialtone_provider::peering::agreement::{Agreement, Agreements, Filter};
use dialtone_provider::peering::feed::Position;
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::intake::{self, Checked, Verdict};
use dialtone_provider::peering::limits::{GREETING_PATIENCE, HOLD_PATIENCE};
use dialtone_provider::peering::quota::Quotas;
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::{End, Event, Moment, Opening, Step};
use dialtone_provider::store::{Class, Condition, Held, MemoryStore, Put, RecordStore};
use dialtone_shared::message::{Ack, Batch, CloseCode, Counts, Hello, Message, Mode, Path, Relationship, Terms, Value, mark};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixSecs, VerifiedRecord};
use proptest::prelude::*;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const NOW: UnixSecs = UnixSecs(1_800_000_000);

fn moment(elapsed: Duration) -> Moment {
    Moment { wall: NOW, elapsed }
}

fn signer(seed: u8) -> Signer {
    Signer::of(SecretKey::from_seed(&[seed; 32]))
}

/// One end, with its store.
struct Side {
    session: Session,
    store: Arc<MemoryStore>,
    end: Option<End>,
}

fn opening(own: u8, peer: u8, dials: bool) -> Opening {
    let (own_signer, peer_name) = (signer(own), signer(peer).name());
    let record = greeting::own_record(&own_signer, NOW.micros(), 1, &[], vec![[own; 32]]).unwrap();
    Opening {
        own: own_signer.name(),
        record,
        store: [own; 16],
        boot: [own; 16],
        agreements: Arc::new(Agreements::from([(peer_name, Agreement::mutual(peer_name, Vec::new()))])),
        dialled: dials.then_some(peer_name),
        pin: [peer; 32],
        heads: [0; 3],
        quotas: Quotas::of_nothing(),
        paths: Arc::default(),
        inbound: Arc::default(),
        branches: Arc::default(),
    }
}

fn side(own: u8, peer: u8, dials: bool) -> Side {
    Side {
        session: Session::new(opening(own, peer, dials), moment(Duration::ZERO)),
        store: MemoryStore::with_id([own; 16]),
        end: None,
    }
}

impl Side {
    /// Does everything that it wants, and returns the frames that it sends.
    fn settle(&mut self, arrows: &mut Vec<String>, who: &str) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let event = match self.session.poll(moment(Duration::ZERO)) {
                Step::Wait(_) => return frames,
                Step::End(end) => {
                    if self.end.is_none() {
                        arrows.push(format!("{who} end {:?}", end.code));
                        self.end = Some(end);
                    }
                    return frames;
                }
                Step::Send(frame) => {
                    arrows.push(format!("{who} says {}", words(&frame[4..])));
                    frames.push(frame[4..].to_vec());
                    Event::Sent
                }
                step => {
                    arrows.push(format!(
                        "{who} {}",
                        format!("{step:?}").split([' ', '(']).next().unwrap().to_lowercase()
                    ));
                    self.answer(step)
                }
            };
            self.session.handle(moment(Duration::ZERO), event);
        }
    }

    fn answer(&self, step: Step) -> Event {
        let store = &self.store;
        match step {
            Step::Recall(peer) => Event::Recalled(ready(store.get(&peer)).unwrap().map(|held| *held.record.rank())),
            Step::Admit { peer, store: id, .. } => {
                let note = ready(store.note(&Position::key(&peer, &id, &store.id()))).unwrap();
                let (position, heads) = (note.map(|note| Position::decode(&note).unwrap()), *store.watch().borrow());
                Event::Admitted { position, heads }
            }
            Step::Read { lane, after, limit } => Event::Read(lane, ready(store.changes(lane, after, limit)).unwrap()),
            Step::Fetch(names) => Event::Fetched(names.iter().filter_map(|name| ready(store.get(name)).unwrap()).collect()),
            Step::ReadPointers { after, limit } => Event::PointersRead(ready(store.pointer_changes(after, limit)).unwrap()),
            Step::Build(way) => {
                let (digest, covers) = ready(io::hearsay::digest(&**store, &way, NOW, 5)).unwrap();
                Event::Built(Box::new(digest), covers)
            }
            Step::Forget { peer } => {
                ready(io::hearsay::forget(&**store, &peer)).unwrap();
                Event::Forgotten
            }
            Step::Check {
                id,
                terms,
                entries,
                pointers,
            } => {
                let mut checked = Checked::default();
                for entry in entries {
                    let signed = match intake::open(&terms, &entry) {
                        Ok(signed) => signed,
                        Err(refusal) => {
                            checked.refuse(refusal);
                            continue;
                        }
                    };
                    let held = ready(store.get(signed.name())).unwrap();
                    if let Some(candidate) = checked.judged(intake::triage(&terms, signed, &entry, held.as_ref(), NOW)) {
                        checked.believed(&terms, intake::believe(candidate).unwrap());
                    }
                }
                for pointer in pointers {
                    let held = ready(store.get(&pointer.name)).unwrap();
                    let known = ready(store.pointer(&pointer.name)).unwrap().is_some();
                    checked.point(&terms, &pointer, held.as_ref(), known, NOW);
                }
                Event::Checked(id, Box::new(checked))
            }
            Step::Commit { commit, .. } => {
                let kept = ready(store.put(commit.puts)).unwrap();
                Event::Committed(kept, ready(store.put_pointers(commit.pointers)).unwrap())
            }
            Step::Save { key, position } => {
                ready(store.set_notes(vec![(key, Some(position.encode()))])).unwrap();
                Event::Saved
            }
            Step::Send(_) | Step::Wait(_) | Step::End(_) => unreachable!("answered by whoever polls"),
        }
    }
}

/// Lets both talk until neither has anything to say; `a` dialled.
fn talk(a: &mut Side, b: &mut Side) -> Vec<String> {
    let mut arrows = Vec::new();
    loop {
        let (from_a, from_b) = (a.settle(&mut arrows, "a"), b.settle(&mut arrows, "b"));
        if from_a.is_empty() && from_b.is_empty() {
            return arrows;
        }
        for frame in from_a {
            b.session.handle(moment(Duration::ZERO), Event::Frame(frame));
            b_settles(b, a, &mut arrows);
        }
        for frame in from_b {
            a.session.handle(moment(Duration::ZERO), Event::Frame(frame));
            a_settles(a, b, &mut arrows);
        }
    }
}

fn b_settles(b: &mut Side, a: &mut Side, arrows: &mut Vec<String>) {
    for frame in b.settle(arrows, "b") {
        a.session.handle(moment(Duration::ZERO), Event::Frame(frame));
        a_settles(a, b, arrows);
    }
}

fn a_settles(a: &mut Side, b: &mut Side, arrows: &mut Vec<String>) {
    for frame in a.settle(arrows, "a") {
        b.session.handle(moment(Duration::ZERO), Event::Frame(frame));
        b_settles(b, a, arrows);
    }
}

fn words(body: &[u8]) -> String {
    match Message::decode(body).unwrap() {
        Message::Hello(_) => "hello".to_owned(),
        Message::Batch(batch) => format!("batch {}/{} of {} +{}", batch.lane, batch.cursor, batch.entries.len(), batch.behind),
        Message::Ack(ack) => format!("ack {}/{}", ack.lane, ack.cursor),
        Message::Terms(_) => "terms".to_owned(),
        Message::Digest(digest) => format!("digest {}/{}", digest.offset, digest.total),
        Message::Branch(_) => "branch".to_owned(),
    }
}

fn record(seed: u8, revoked: bool) -> VerifiedRecord {
    let secret = SecretKey::from_seed(&[seed; 32]);
    let live = Body::Live {
        expiry: NOW.plus(86_400),
        ttl: Ttl(60),
        bindings: Vec::new(),
    };
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence: NOW.micros(),
        scope: Vec::new(),
        body: if revoked { Body::Revoked } else { live },
    };
    SignedRecord::sign(record, &secret).unwrap().verify().unwrap()
}

fn put(side: &Side, record: VerifiedRecord) {
    let put = Put {
        record,
        class: Class::Customer,
        keep_until: NOW.plus(86_400),
        from: None,
        account: None,
        condition: Condition::None,
    };
    ready(side.store.put(vec![put])).unwrap();
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a memory store does not wait"),
    }
}

/// Two ends that have greeted and are caught up.
fn linked() -> (Side, Side) {
    let (mut a, mut b) = (side(1, 2, true), side(2, 1, false));
    talk(&mut a, &mut b);
    (a, b)
}

#[test]
fn a_first_link_goes_like_this() {
    let (mut a, mut b) = (side(1, 2, true), side(2, 1, false));
    put(&a, record(10, false));
    put(&a, record(11, true));
    let arrows = talk(&mut a, &mut b);
    let expected = [
        // Who is dialled says nothing before the other has proved who it is.
        "a says hello",
        "b recall",
        "b admit",
        "b says hello",
        // Where it stands in the tree, as far as it knows.
        "b says branch",
        // It has nothing, and says so in every lane.
        "b says batch 0/0 of 0 +0",
        "b says batch 1/0 of 0 +0",
        "b says batch 2/0 of 0 +0",
        "a recall",
        "a admit",
        "a says branch",
        // Nothing was told to it that it could pass on.
        "a says batch 2/0 of 0 +0",
        // The revocation first.
        "a read",
        "a says batch 0/1 of 1 +0",
        "a read",
        "a says batch 1/1 of 1 +0",
        // Where our log ended when we first met that store: up to there it gets everything, whatever happens.
        "a save",
        "b check",
        "b commit",
        "b says ack 2/0",
        "b check",
        "b commit",
        "b says ack 0/1",
        "b check",
        "b commit",
        "b says ack 1/1",
        "a check",
        "a commit",
        "a says ack 0/0",
        "a check",
        "a commit",
        "a says ack 1/0",
        "a check",
        "a commit",
        "a says ack 2/0",
    ];
    assert_eq!(arrows, expected);
    for side in [&a, &b] {
        let progress = side.session.progress();
        assert!(progress.sent_all && progress.received_all, "{progress:?}");
        assert_eq!(ready(side.store.scan(None, 9)).unwrap().len(), 2);
    }
}

#[test]
fn who_is_dialled_says_nothing_until_it_is_greeted_and_waits_no_longer_than_it_should() {
    let mut b = side(2, 1, false);
    assert_eq!(b.session.poll(moment(Duration::ZERO)), Step::Wait(Some(GREETING_PATIENCE)));
    b.session.handle(moment(GREETING_PATIENCE), Event::Tick);
    let Step::End(end) = b.session.poll(moment(GREETING_PATIENCE)) else {
        panic!("it waits on")
    };
    assert_eq!((end.code, end.by_us), (Some(CloseCode::Hold), true));
}

#[test]
fn a_link_that_stops_saves_how_far_the_peer_is_first() {
    let (mut a, mut b) = linked();
    for seed in [10, 11] {
        put(&a, record(seed, false));
        let heads = *a.store.watch().borrow();
        a.session.handle(moment(Duration::ZERO), Event::Heads(heads));
        talk(&mut a, &mut b);
    }
    a.session
        .handle(moment(Duration::ZERO), Event::Stop(CloseCode::Stopping, "it stops".to_owned()));
    let mut arrows = Vec::new();
    a.settle(&mut arrows, "a");
    assert_eq!(arrows, ["a save", "a end Some(Stopping)"]);
    let note = ready(a.store.note(&Position::key(&signer(2).name(), &[2; 16], &a.store.id())))
        .unwrap()
        .unwrap();
    assert_eq!(Position::decode(&note).unwrap().acked, [0, 2, 0]);
}

#[test]
fn a_peer_that_acknowledges_nothing_is_closed_after_the_hold_and_not_before() {
    let (mut a, _) = linked();
    put(&a, record(10, false));
    let heads = *a.store.watch().borrow();
    a.session.handle(moment(Duration::ZERO), Event::Heads(heads));
    assert_eq!(a.settle(&mut Vec::new(), "a").len(), 1, "a batch");
    let before = HOLD_PATIENCE - Duration::from_millis(1);
    a.session.handle(moment(before), Event::Tick);
    while let Step::Save { .. } = a.session.poll(moment(before)) {
        a.session.handle(moment(before), Event::Saved);
    }
    assert_eq!(a.session.poll(moment(before)), Step::Wait(Some(HOLD_PATIENCE)));
    let Step::End(end) = a.session.poll(moment(HOLD_PATIENCE)) else {
        panic!("it waits on")
    };
    assert_eq!(end.code, Some(CloseCode::Hold));
}

#[test]
fn what_the_protocol_does_not_allow_ends_the_link() {
    let stray = Message::Ack(Ack {
        lane: 1,
        cursor: 77,
        counts: Counts::default(),
        wants: Vec::new(),
    });
    let hello = |of: u8| {
        Message::Hello(Hello {
            versions: vec![1],
            record: opening(of, 1, false).record.bytes().clone(),
            store: [of; 16],
            boot: [of; 16],
            heads: [0; 3],
            terms: Terms::mutual(),
        })
    };
    for (what, body) in [
        ("a stray acknowledgement", stray.to_frame().split_off(4)),
        ("a second greeting", hello(2).to_frame().split_off(4)),
        ("no message at all", vec![0xff; 40]),
        ("an empty frame", Vec::new()),
    ] {
        let (mut a, _) = linked();
        a.session.handle(moment(Duration::ZERO), Event::Frame(body));
        a.settle(&mut Vec::new(), "a");
        assert_eq!(a.end.and_then(|end| end.code), Some(CloseCode::Protocol), "{what}");
    }
}

#[test]
fn a_peer_that_sends_more_than_the_window_is_cut() {
    for (lane, window) in [(0, 2), (1, 6), (2, 2)] {
        let (mut a, _) = linked();
        for cursor in 1..=window + 1 {
            // Nothing is checked meanwhile, so nothing is acknowledged.
            let (behind, entries) = (0, Vec::new());
            let batch = Message::Batch(Batch {
                lane,
                cursor,
                behind,
                entries,
                heard: 0,
            });
            assert!(
                !matches!(a.session.poll(moment(Duration::ZERO)), Step::End(_)),
                "{cursor} batches fit lane {lane}"
            );
            a.session
                .handle(moment(Duration::ZERO), Event::Frame(batch.to_frame().split_off(4)));
        }
        let Step::End(end) = a.session.poll(moment(Duration::ZERO)) else {
            panic!("it takes more than the window")
        };
        assert_eq!(end.code, Some(CloseCode::Protocol));
    }
}

#[test]
fn a_side_that_accepts_nothing_is_sent_nothing() {
    let (mut a, mut b) = (opening(1, 2, true), side(2, 1, false));
    let peer = signer(2).name();
    let mut refusing = Agreement::mutual(peer, Vec::new());
    refusing.accept = Mode::None;
    a.agreements = Arc::new(Agreements::from([(peer, refusing)]));
    let mut a = Side {
        session: Session::new(a, moment(Duration::ZERO)),
        ..side(1, 2, true)
    };
    put(&b, record(10, false));
    put(&a, record(11, false));
    talk(&mut a, &mut b);
    let names = |side: &Side| -> Vec<Name> {
        ready(side.store.scan(None, 9))
            .unwrap()
            .iter()
            .map(|held| *held.record.name())
            .collect()
    };
    assert_eq!(names(&a), [*record(11, false).name()]);
    assert_eq!(names(&b).len(), 2);
}

#[test]
fn what_came_through_us_comes_back_in_no_higher_class_and_no_forged_path_keeps_a_renewal_from_us() {
    let terms = intake::Terms {
        own: signer(1).name(),
        peer: signer(2).name(),
        relationship: Relationship::Mutual,
        takes_new: true,
        accepts: Mode::Values,
        filter: Filter::default(),
        alone: true,
        offered: false,
    };
    let one = record(10, false);
    let held = Held {
        record: one.clone(),
        class: Class::Upstream,
        keep_until: NOW.plus(3_600),
        from: None,
        account: None,
    };
    let (own, other) = (mark(&signer(1).name()), mark(&signer(3).name()));
    let kept_for = |secs: u64, path: Path, held: Option<&Held>| {
        let entry = Value {
            class: 3,
            keep_until: NOW.plus(secs),
            record: one.bytes().clone(),
            path,
        };
        intake::triage(&terms, SignedRecord::decode(one.bytes().clone()).unwrap(), &entry, held, NOW)
    };
    let circle = Path::default().through(other).through(own).through(other);
    let judged = |path, held| kept_for(86_400, path, held);
    assert!(matches!(kept_for(3_600, circle, Some(&held)), Verdict::Same));
    assert!(matches!(judged(circle, Some(&held)), Verdict::Renew(put, _) if put.class == Class::Upstream));
    let straight = Path::default().through(other);
    assert!(matches!(judged(straight, Some(&held)), Verdict::Renew(put, path) if path == straight && put.class > Class::Upstream));
    assert!(matches!(judged(circle, None), Verdict::Verify(_)), "what was lost here comes back");
}

#[test]
fn a_record_promised_longer_than_it_lives_is_kept_until_its_expiry() {
    let (terms, one) = (
        intake::Terms {
            own: signer(1).name(),
            peer: signer(2).name(),
            relationship: Relationship::Mutual,
            takes_new: true,
            accepts: Mode::Values,
            filter: Filter::default(),
            alone: true,
            offered: false,
        },
        record(10, false),
    );
    let signed = SignedRecord::decode(one.bytes().clone()).unwrap();
    let entry = Value {
        class: 3,
        keep_until: UnixSecs(u64::MAX),
        record: one.bytes().clone(),
        path: Path::default(),
    };
    let Verdict::Verify(candidate) = intake::triage(&terms, signed, &entry, None, NOW) else {
        panic!("it is new")
    };
    let mut checked = Checked::default();
    checked.believed(&terms, intake::believe(*candidate).unwrap());
    checked.admit(1);
    assert_eq!(checked.puts[0].keep_until, NOW.plus(86_400));
    assert_eq!((checked.puts[0].class, checked.puts[0].from), (Class::Peer, Some(terms.peer)));
}

proptest! {
    #[test]
    fn no_bytes_make_a_session_panic(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5), greeted: bool) {
        let mut side = if greeted { linked().0 } else { side(2, 1, false) };
        for body in bodies {
            side.session.handle(moment(Duration::ZERO), Event::Frame(body));
            side.settle(&mut Vec::new(), "a");
        }
        prop_assert!(side.end.is_some());
    }

    #[test]
    fn no_changed_byte_of_a_greeting_gets_in(at in 0usize..300, bit in 0u8..8) {
        let mut a = side(1, 2, true);
        let mut hello = a.settle(&mut Vec::new(), "a").remove(0);
        let at = at % hello.len();
        hello[at] ^= 1 << bit;
        let mut b = side(2, 1, false);
        b.session.handle(moment(Duration::ZERO), Event::Frame(hello.clone()));
        let mut arrows = Vec::new();
        b.settle(&mut arrows, "b");
        // What it says of its store, its process and what it pushes is its own to choose; everything else is signed or must fit.
        let free = Message::decode(&hello).is_ok_and(|message| matches!(message, Message::Hello(hello) if hello.record == opening(1, 2, true).record.bytes()));
        prop_assert!(free || !arrows.contains(&"b admit".to_owned()), "{arrows:?}");
    }
}
