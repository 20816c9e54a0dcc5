//! Drives one link: does what the session says and tells it what happened. One task for each link, and one that reads.

use crate::io::peering::checks::Checks;
use crate::io::peering::comparing::Comparing;
use crate::io::peering::node::{Guest, Node};
use crate::io::peering::pace::Pace;
use crate::io::peering::place::{Permit, StoreId, Wanted};
use crate::io::peering::requests;
use crate::io::quic;
use crate::peering::deferred::{self, Note};
use crate::peering::dial::Which;
use crate::peering::greeting;
use crate::peering::intake::Commit;
use crate::peering::limits::{DEFERRED_MAX, GREETING_PATIENCE};
use crate::peering::position::{self, Position};
use crate::peering::reconcile::Seen;
use crate::peering::session::Session;
use crate::peering::step::{End, Event, Moment, Opening, Step};
use crate::store::{Cursors, RecordStore, StoreError};
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::limits::FRAME_BYTES_MAX;
use dialtone_shared::message::{CloseCode, HELLO_BYTES_MAX, body_length};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

/// Runs a link to its end. `guest`: the place among the strangers who are greeting, given back when that is over; `began`: since when it
/// lasts.
pub(super) async fn run(node: &Arc<Node>, connection: Connection, dialled: Option<Name>, guest: Option<Guest>, began: Instant) {
    let address = connection.remote_address();
    let streams = tokio::select! {
        biased;
        streams = streams(&connection, dialled.is_some(), began) => streams,
        () = node.stopped() => Err(ours(CloseCode::Stopping, "this provider stops".to_owned())),
    };
    let (end, proved) = match streams {
        Ok((send, recv)) => drive(node, &connection, dialled, guest, began, (send, recv)).await,
        Err(end) => {
            if let Some(place) = dialled.and_then(|peer| node.peer(&peer)) {
                place.ended(node.now().elapsed, &end, address, quic::presented_pin(&connection), None);
            }
            (end, None)
        }
    };
    let code = end.code.map_or(0, |code| code as u32);
    if end.by_us {
        connection.close(VarInt::from_u32(code), end.reason.as_bytes());
    }
    let planned = matches!(end.code, Some(CloseCode::Stopping | CloseCode::Duplicate));
    match proved.or(dialled) {
        Some(peer) if planned => info!(%peer, %address, by_us = end.by_us, code, reason = end.reason, "a link ended"),
        Some(peer) => warn!(%peer, %address, by_us = end.by_us, code, reason = end.reason, "a link ended"),
        None if planned => debug!(%address, by_us = end.by_us, code, reason = end.reason, "a greeting broke off"),
        None if node.tells_of_stranger() => warn!(%address, by_us = end.by_us, code, reason = end.reason, "a greeting was turned away"),
        None => {}
    }
}

/// The one stream of a link: who dialled opens it.
async fn streams(connection: &Connection, dialled: bool, began: Instant) -> Result<(SendStream, RecvStream), End> {
    let opened = timeout_at(began + GREETING_PATIENCE, async {
        if dialled {
            connection.open_bi().await
        } else {
            connection.accept_bi().await
        }
    });
    match opened.await {
        Ok(Ok(streams)) => Ok(streams),
        Ok(Err(error)) => Err(broken(&error)),
        Err(_) => Err(ours(
            CloseCode::Hold,
            format!("no greeting within {} s", GREETING_PATIENCE.as_secs()),
        )),
    }
}

async fn drive(
    node: &Arc<Node>,
    connection: &Connection,
    dialled: Option<Name>,
    mut guest: Option<Guest>,
    began: Instant,
    (send, recv): (SendStream, RecvStream),
) -> (End, Option<Name>) {
    let opening = match opening(node, connection, dialled) {
        Ok(opening) => opening,
        Err(end) => return (end, None),
    };
    let (address, pin) = (connection.remote_address(), opening.pin);
    let send = Arc::new(Mutex::new(send));
    let (frames_in, mut frames) = mpsc::channel(FRAMES_AHEAD);
    let mut reader = JoinSet::new();
    reader.spawn(read(connection.clone(), recv, frames_in));
    let (stop, mut stopped) = mpsc::channel(1);
    let mut all_stop = node.stopping.subscribe();
    let (mut heads, mut urgent) = (node.store.watch(), node.urgent.subscribe());
    let mut pace = Pace::of(node.agreements().len(), *heads.borrow());
    let elapsed = began.saturating_duration_since(node.began);
    let mut session = Session::new(opening, Moment { elapsed, ..node.now() });
    let mut jobs: JoinSet<Event> = JoinSet::new();
    let checks = node.turns.of_a_link();
    let mut permit: Option<Permit> = None;
    let mut requests = JoinSet::new();
    let mut comparing: Option<Comparing> = None;
    let mut agreements = node.agreements.subscribe();
    let mut inbound = node.inbound.subscribe();
    let mut branches = node.branches.subscribe();

    let end = loop {
        let due = loop {
            match session.poll(node.now()) {
                Step::Wait(due) => break Ok(due),
                Step::End(end) => break Err(end),
                Step::Admit { peer, boot, store } => {
                    let event = match node.peer(&peer) {
                        None => Event::NotAdmitted(CloseCode::NoAgreement, "there is no agreement any more".to_owned()),
                        Some(place) => {
                            let (dialled, stop) = (dialled.is_some(), stop.clone());
                            let which = Which { dialled, boot };
                            let wanted = Wanted {
                                store,
                                which,
                                pin,
                                connection,
                                stop,
                            };
                            match timeout(GREETING_PATIENCE, place.admit(node, &peer, &wanted)).await {
                                Ok(Ok(granted)) => {
                                    info!(%peer, %address, dialled, "a link stands");
                                    permit = Some(granted);
                                    guest = None;
                                    node.knows(address.ip());
                                    quic::open_wide(connection);
                                    requests.spawn(requests::serve(node.clone(), peer, store, connection.clone()));
                                    let heads = *heads.borrow_and_update();
                                    comparing = Some(Comparing::new(node, &place, peer, store, dialled));
                                    admitted(&*node.store, &peer, &store, &place.linked(), heads, session.their_heads()).await
                                }
                                Ok(Err((code, reason))) => Event::NotAdmitted(code, reason),
                                Err(_) => Event::NotAdmitted(CloseCode::Busy, "the link before does not end".to_owned()),
                            }
                        }
                    };
                    session.handle(node.now(), event);
                }
                step => begin(node, step, &send, connection, &checks, &mut jobs),
            }
        };
        if let (Some(permit), Some(place)) = (&permit, session.proved().and_then(|peer| node.peer(&peer))) {
            place.progress(&permit.store(), session.progress(), session.theirs(), session.digest());
            node.stands(permit.store(), session.branch());
            pace.only_offers(session.only_offers());
        }
        if let Some(comparing) = &mut comparing {
            comparing.look(&session);
        }
        let due = match due {
            Ok(due) => due,
            Err(end) => break end,
        };
        let wait = due.map_or(LONG, |due| due.saturating_sub(node.began.elapsed()));
        // In this order, so that the same happens twice in a simulation: to stop first, and last what a peer can make much of.
        let event = tokio::select! {
            biased;
            Ok(_) = all_stop.wait_for(|stopping| *stopping), if !session.is_stopping() => {
                Event::Stop(CloseCode::Stopping, "this provider stops".to_owned())
            }
            Some((code, reason)) = stopped.recv() => Event::Stop(code, reason),
            Some(done) = jobs.join_next() => done.unwrap_or_else(|error| {
                Event::Failed(CloseCode::Store, format!("a task failed: {error} (this is a bug, please tell us)"))
            }),
            Some(heads) = pace.next(&mut heads, &mut urgent) => Event::Heads(heads),
            Ok(()) = agreements.changed() => Event::Agreed(agreements.borrow_and_update().clone()),
            Ok(()) = inbound.changed() => Event::Inbound(inbound.borrow_and_update().clone()),
            Ok(()) = branches.changed() => Event::Branches(branches.borrow_and_update().clone()),
            Some(event) = frames.recv(), if session.reads() => event,
            event = next_of(&mut comparing, session.progress().received.total()) => event,
            () = sleep(wait) => Event::Tick,
        };
        session.handle(node.now(), event);
    };
    drop(guest);
    // What is being put is put before another link with this node may begin: see `Feed`, which relies on it.
    if end.by_us {
        let code = VarInt::from_u32(end.code.map_or(0, |code| code as u32));
        connection.close(code, end.reason.as_bytes());
    }
    while jobs.join_next().await.is_some() {}
    if let Some(comparing) = comparing {
        comparing.ended().await;
    }
    let proved = session.proved();
    if permit.is_some() {
        node.ended_with(address.ip(), &end);
    }
    if let Some(place) = proved.or(dialled).and_then(|peer| node.peer(&peer)) {
        place.ended(node.now().elapsed, &end, address, Some(pin), permit.as_ref());
    }
    if let Some(permit) = permit {
        node.stands(permit.store(), None);
    }
    (end, proved)
}

/// What this end knows when the link comes up.
fn opening(node: &Node, connection: &Connection, dialled: Option<Name>) -> Result<Opening, End> {
    let pin = quic::presented_pin(connection).ok_or_else(|| ours(CloseCode::BadProof, "no certificate was presented".to_owned()))?;
    let record = greeting::own_record(&node.signer, node.clock.now(), node.port, &node.addresses, vec![node.pin])
        .map_err(|error| ours(CloseCode::Store, format!("our own record cannot be signed: {error}")))?;
    Ok(Opening {
        own: node.own,
        record,
        store: node.store.id(),
        boot: node.boot,
        agreements: node.agreements(),
        dialled,
        pin,
        heads: *node.store.watch().borrow(),
        quotas: node.quotas.clone(),
        paths: node.paths.clone(),
        inbound: node.inbound.read(),
        branches: node.branches.read(),
    })
}

/// Begins what a step asks for; the event that answers it comes from the job.
fn begin(node: &Arc<Node>, step: Step, send: &Arc<Mutex<SendStream>>, connection: &Connection, checks: &Checks, jobs: &mut JoinSet<Event>) {
    let store = node.store.clone();
    match step {
        Step::Send(frame) => {
            let (send, connection) = (send.clone(), connection.clone());
            jobs.spawn(async move {
                match send.lock().await.write_chunk(Bytes::from(frame)).await {
                    Ok(()) => Event::Sent,
                    Err(error) => closed(&connection, error.to_string()),
                }
            });
        }
        Step::Recall(peer) => {
            jobs.spawn(async move {
                match store.get(&peer).await {
                    Ok(held) => Event::Recalled(held.map(|held| *held.record.rank())),
                    Err(error) => failed(&error),
                }
            });
        }
        Step::Read { lane, after, limit } => {
            jobs.spawn(async move {
                match store.changes(lane, after, limit).await {
                    Ok(changes) => Event::Read(lane, changes),
                    Err(error) => failed(&error),
                }
            });
        }
        Step::Fetch(names) => {
            jobs.spawn(async move {
                let mut all = Vec::with_capacity(names.len());
                for name in &names {
                    match store.get(name).await {
                        Ok(held) => all.extend(held),
                        Err(error) => return failed(&error),
                    }
                }
                Event::Fetched(all)
            });
        }
        Step::ReadPointers { after, limit } => {
            jobs.spawn(async move {
                match store.pointer_changes(after, limit).await {
                    Ok(changes) => Event::PointersRead(changes),
                    Err(error) => failed(&error),
                }
            });
        }
        Step::Build(way) => {
            let node = node.clone();
            jobs.spawn(async move {
                let turn = node.builders.acquire().await;
                let made = tokio::select! {
                    biased;
                    made = super::hearsay::digest(&*store, &way, node.now().wall, node.draw()) => made,
                    () = node.stopped() => Err(StoreError::Closed),
                };
                drop(turn);
                match made {
                    Ok((digest, covers)) => Event::Built(Box::new(digest), covers),
                    Err(error) => failed(&error),
                }
            });
        }
        Step::Forget { peer } => {
            jobs.spawn(async move {
                match super::hearsay::forget(&*store, &peer).await {
                    Ok(_) => Event::Forgotten,
                    Err(error) => failed(&error),
                }
            });
        }
        Step::Check {
            id,
            terms,
            entries,
            pointers,
        } => {
            let (checks, now) = (checks.clone(), node.now().wall);
            jobs.spawn(async move {
                let checked = async {
                    let mut checked = checks.check(&store, &terms, entries, now).await?;
                    for pointer in pointers {
                        let held = store.get(&pointer.name).await?;
                        // Only where there is no room for new names it matters whether one stands.
                        let known = !terms.takes_new && held.is_none() && store.pointer(&pointer.name).await?.is_some();
                        checked.point(&terms, &pointer, held.as_ref(), known, now);
                    }
                    Ok(checked)
                };
                match checked.await {
                    Ok(checked) => Event::Checked(id, Box::new(checked)),
                    Err(error) => failed(&error),
                }
            });
        }
        Step::Commit { peer, commit } => {
            jobs.spawn(async move { self::commit(&*store, &peer, commit).await });
        }
        Step::Save { key, position } => {
            jobs.spawn(async move {
                match store.set_notes(vec![(key, Some(position.encode()))]).await {
                    Ok(()) => Event::Saved,
                    Err(error) => failed(&error),
                }
            });
        }
        // These three are the loop's own.
        Step::Admit { .. } | Step::Wait(_) | Step::End(_) => debug!("a step came to the wrong place"),
    }
}

/// What comparing brings next, once the link stands.
async fn next_of(comparing: &mut Option<Comparing>, received: u64) -> Event {
    match comparing {
        Some(comparing) => comparing.next(received).await,
        None => pending().await,
    }
}

/// What was saved of the peer's store; what was saved for a store that we had before is forgotten, and of those of the peer's that are not
/// `linked` what is more than is remembered. Of a store that went back in time, nothing that was saved counts.
async fn admitted(
    store: &dyn RecordStore,
    peer: &Name,
    peers_store: &StoreId,
    linked: &[StoreId],
    heads: Cursors,
    their_heads: Option<[u64; 3]>,
) -> Event {
    let key = Position::key(peer, peers_store, &store.id());
    let notes = match store.notes(&Position::keys(peer), STORES_LOOKED_AT_AT_ONCE).await {
        Ok(notes) => notes,
        Err(error) => return failed(&error),
    };
    let position = match store.note(&key).await {
        // A note that does not read back is as good as none: everything is sent again.
        Ok(note) => note.and_then(|note| Position::decode(&note).ok()),
        Err(error) => return failed(&error),
    };
    let seen = match store.note(&Seen::key(peer, peers_store)).await {
        Ok(note) => note.and_then(|note| Seen::decode(&note).ok()),
        Err(error) => return failed(&error),
    };
    let went_back = seen.zip(their_heads).is_some_and(|(seen, now)| seen.went_back(&now));
    let position = position.filter(|_| !went_back);
    let left: Vec<Note> = position::outdated(peer, &store.id(), linked, &notes)
        .into_iter()
        .map(|other| (other, None))
        .collect();
    if !left.is_empty()
        && let Err(error) = store.set_notes(left).await
    {
        return failed(&error);
    }
    Event::Admitted { position, heads }
}

/// Keeps what was checked: all of it is durable when this is answered.
async fn commit(store: &dyn RecordStore, peer: &Name, commit: Commit) -> Event {
    let Commit { puts, deferred, pointers } = commit;
    let notes: Vec<Note> = deferred.iter().map(|deferred| deferred.note(peer)).collect();
    let put = async { if puts.is_empty() { Ok(Vec::new()) } else { store.put(puts).await } };
    let point = async {
        if pointers.is_empty() {
            Ok(Vec::new())
        } else {
            store.put_pointers(pointers).await
        }
    };
    // Together, so that they share a commit.
    match (tokio::try_join!(put, point), keep_aside(store, peer, notes).await) {
        (Ok((outcomes, told)), Ok(Ok(()))) => Event::Committed(outcomes, told),
        (Ok(_), Ok(Err(error))) => Event::Failed(CloseCode::Clock, error.to_string()),
        (Err(error), _) | (_, Err(error)) => failed(&error),
    }
}

/// Keeps records from the future aside, if there is room.
async fn keep_aside(store: &dyn RecordStore, peer: &Name, notes: Vec<Note>) -> Result<Result<(), deferred::TooMany>, StoreError> {
    if notes.is_empty() {
        return Ok(Ok(()));
    }
    let kept = store.notes(&deferred::keys(peer), DEFERRED_MAX + 1).await?;
    if let Err(error) = deferred::fits(&kept, &notes) {
        return Ok(Err(error));
    }
    store.set_notes(notes).await.map(Ok)
}

/// Reads frames until the link ends.
async fn read(connection: Connection, mut recv: RecvStream, frames: mpsc::Sender<Event>) {
    let mut max = HELLO_BYTES_MAX;
    loop {
        let event = match read_frame(&mut recv, max).await {
            Ok(Ok(body)) => Event::Frame(body),
            Ok(Err(reason)) => Event::Failed(CloseCode::Protocol, reason),
            Err(reason) => closed(&connection, reason),
        };
        let over = !matches!(event, Event::Frame(_));
        if frames.send(event).await.is_err() || over {
            return;
        }
        max = FRAME_BYTES_MAX;
    }
}

async fn read_frame(recv: &mut RecvStream, max: usize) -> Result<Result<Vec<u8>, String>, String> {
    let mut head = [0; 4];
    recv.read_exact(&mut head).await.map_err(|error| error.to_string())?;
    let length = match body_length(head, max) {
        Ok(length) => length,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut body = vec![0; length];
    recv.read_exact(&mut body).await.map_err(|error| error.to_string())?;
    Ok(Ok(body))
}

/// Why a connection is no more, in the peer's words where it gave any.
fn closed(connection: &Connection, otherwise: String) -> Event {
    let end = connection.close_reason().map(|error| broken(&error));
    end.map_or(Event::Closed(None, otherwise), |end| Event::Closed(end.code, end.reason))
}

/// What a connection error means.
pub(super) fn broken(error: &ConnectionError) -> End {
    let (code, reason) = match error {
        ConnectionError::ApplicationClosed(close) => {
            let words: String = String::from_utf8_lossy(&close.reason)
                .chars()
                .filter(|c| !c.is_control())
                .take(REASON_CHARS)
                .collect();
            (CloseCode::from_number(close.error_code.into_inner()), words)
        }
        ConnectionError::TimedOut => (None, "nothing was heard any more".to_owned()),
        other => (None, other.to_string()),
    };
    let by_us = false;
    End { code, by_us, reason }
}

fn ours(code: CloseCode, reason: String) -> End {
    End {
        code: Some(code),
        by_us: true,
        reason,
    }
}

fn failed(error: &StoreError) -> Event {
    Event::Failed(CloseCode::Store, error.to_string())
}

/// Frames read ahead of the session: one being handled and one to follow.
const FRAMES_AHEAD: usize = 2;

/// Of a peer few stores are remembered; what stores left behind that we had before is cleared away in portions.
const STORES_LOOKED_AT_AT_ONCE: usize = 64;

/// Longest reason that is repeated, in characters: a sentence or two.
const REASON_CHARS: usize = 400;

/// When nothing is due at all.
const LONG: Duration = Duration::from_secs(3_600);
