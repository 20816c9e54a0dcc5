//! The hot path's sockets: a thread for each core with a socket and answers of its own, many datagrams in one system call.
//!
//! ```text
//! receive many ─ kept? ─ yes ──────────────────────────► send many
//!                  └ no: the long way, tried at once ─ ready ─┘ (and kept here)
//!                        └ has to wait: a task of the runtime sends it, and what may be kept comes back here
//! ```

use crate::dns::access::View;
use crate::dns::edns::add_to_bare;
use crate::dns::frontend::{Carrier, Frontend, Given, Reply, Via};
use crate::dns::glance::Key;
use crate::dns::hot::{Answers, Fill, Near};
use crate::dns::latency::Found;
use crate::dns::rate::{Limiter, Way};
use crate::dns::settings::ListenerSettings;
use crate::io::batch::{BATCH, Incoming, Outgoing, Sender};
use crate::io::listeners::{Datagrams, ERROR_PAUSE, SHUTDOWN_GRACE, all_back, told};
use crate::io::query_log::{QueryLog, Sampler};
use crate::io::sockets::bind_udp_shared;
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, SockaddrIn, SockaddrIn6, shutdown};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

/// Answers on `socket` by as many threads as there are cores, until it is time to stop. Each has a socket of its own on the same port; one that was lent
/// they share.
pub(super) async fn serve(
    frontend: Arc<Frontend>,
    socket: Datagrams,
    settings: ListenerSettings,
    limiter: Arc<Limiter>,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(settings.udp_in_flight));
    let (running, mut ended) = mpsc::channel::<()>(1);
    match start(&frontend, socket, &settings, &limiter, &slots, running) {
        Ok(cores) => {
            tokio::select! {
                () = told(&mut stopped) => {}
                _none = ended.recv() => tracing::error!("a thread that answers by UDP failed, please tell us"),
            }
            drop(cores);
            if timeout(SHUTDOWN_GRACE, ended.recv()).await.is_err() {
                tracing::warn!("a thread that answers by UDP did not end");
            }
            all_back(&slots, settings.udp_in_flight).await;
        }
        Err(error) => tracing::error!(%error, "cannot answer by UDP"),
    }
}

fn start(
    frontend: &Arc<Frontend>,
    Datagrams { socket, is_lent }: Datagrams,
    settings: &ListenerSettings,
    limiter: &Arc<Limiter>,
    slots: &Arc<Semaphore>,
    running: mpsc::Sender<()>,
) -> io::Result<Cores> {
    let first = socket.into_std()?;
    first.set_nonblocking(false)?;
    let address = first.local_addr()?;
    let view = frontend.view_at(Some(address));
    let count = thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
    let mut sockets = vec![first];
    for _ in 1..count {
        // The port of a lent one may be another user's, or not to be shared.
        let more = if is_lent {
            sockets[0].try_clone()
        } else {
            bind_udp_shared(address)
        };
        match more {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                tracing::warn!(%error, %address, "answering by UDP on {} cores of {count}", sockets.len());
                break;
            }
        }
    }
    let mut cores = Cores {
        sockets: Vec::with_capacity(count),
        stop: Arc::default(),
    };
    for socket in sockets {
        let socket = Arc::new(socket);
        // Only in case the end of reading should not wake it; where nothing else may.
        socket.set_read_timeout(Some(LOOK_UP_EVERY))?;
        if !is_lent {
            cores.sockets.push(Arc::clone(&socket));
        }
        let (stop, running, runtime) = (Arc::clone(&cores.stop), running.clone(), Handle::current());
        let (frontend, limiter, slots) = (Arc::clone(frontend), Arc::clone(limiter), Arc::clone(slots));
        let bytes_max = settings.udp_cache_bytes / count;
        let core = move || Core {
            frontend: Arc::clone(&frontend),
            runtime: runtime.clone(),
            socket: Arc::clone(&socket),
            is_lent,
            limiter: Arc::clone(&limiter),
            slots: Arc::clone(&slots),
            back: Arc::default(),
            answers: Answers::new(bytes_max, rand::random()),
            view,
            keys: vec![(false, Key::none()); BATCH],
            near: Vec::with_capacity(BATCH),
            told: (0, 0),
            by_rcode: [0; 16],
            begun: Instant::now(),
            sampler: frontend.query_log().map(QueryLog::sampler),
            shown: None,
        };
        thread::Builder::new().name("dns".to_owned()).spawn(move || {
            // A question that nobody thought of costs its batch and what is kept, not the port: nobody else would answer on it.
            let run = || match address {
                SocketAddr::V4(_) => core().run::<SockaddrIn>(&stop),
                SocketAddr::V6(_) => core().run::<SockaddrIn6>(&stop),
            };
            while catch_unwind(AssertUnwindSafe(run)).is_err() {
                tracing::error!("a thread that answers by UDP failed and starts again: please tell us");
                thread::sleep(ERROR_PAUSE);
            }
            drop(running);
        })?;
    }
    Ok(cores)
}

/// All threads of an address. They end when this is dropped.
struct Cores {
    /// Our own. A lent one would stay shut for whoever gets it next: there each thread ends after its next batch, or when it looks up.
    sockets: Vec<Arc<UdpSocket>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for socket in &self.sockets {
            // Says that it is not connected, and wakes who reads all the same.
            let _not_connected = shutdown(socket.as_raw_fd(), Shutdown::Read);
        }
    }
}

/// One thread.
struct Core {
    frontend: Arc<Frontend>,
    runtime: Handle,
    socket: Arc<UdpSocket>,
    /// Whether what comes when it is time to stop is a question all the same.
    is_lent: bool,
    limiter: Arc<Limiter>,
    slots: Arc<Semaphore>,
    back: Arc<Mutex<Vec<(Key, Fill, u64)>>>,
    answers: Answers,
    view: View,
    /// The keys of the batch, of those messages that have one, and where their answers seem to be.
    keys: Vec<(bool, Key)>,
    near: Vec<Near>,
    /// How many answers and bytes of them it has last said that it keeps.
    told: (usize, usize),
    by_rcode: [u64; 16],
    /// Since when the batch is worked on.
    begun: Instant,
    sampler: Option<Sampler>,
    /// While somebody looks at what is asked most: every so manyth of a batch is shown, from this one on.
    shown: Option<(usize, usize)>,
}

impl Core {
    fn run<A: Sender>(mut self, stop: &AtomicBool) {
        let runtime = self.runtime.clone();
        let _entered = runtime.enter();
        let (mut incoming, mut outgoing) = (Incoming::<A>::new(), Outgoing::<A>::new());
        while !stop.load(Ordering::Relaxed) {
            let is_shut = || !self.is_lent && stop.load(Ordering::SeqCst);
            if let Err(error) = incoming.receive(&self.socket, is_shut) {
                if !matches!(error, Errno::EAGAIN | Errno::EINTR | Errno::ESHUTDOWN) {
                    tracing::debug!(%error, "receiving by UDP");
                    thread::sleep(ERROR_PAUSE);
                }
                continue;
            }
            self.begun = Instant::now();
            let now_millis = self.frontend.now_millis();
            self.take_back();
            self.shown = self.frontend.is_looked_at().then(|| {
                let every = incoming.len().div_ceil(SHOWN_OF_A_BATCH).max(1);
                (every, self.shown.map_or(0, |(_, from)| from + 1) % every)
            });
            self.seek(&incoming);
            for (nth, message) in incoming.messages().enumerate() {
                let Some((message, client)) = message else { continue };
                let Some(room) = outgoing.room() else { break };
                if let Some(length) = self.answer(nth, message, client.address(), now_millis, room) {
                    outgoing.push(length, client);
                }
            }
            // Before anybody has an answer: who has one can ask how many there were.
            if self.by_rcode != [0; 16] {
                self.frontend
                    .counters()
                    .answered_again(std::mem::take(&mut self.by_rcode), self.begun.elapsed());
            }
            if let Some(errors) = self.answers.take_errors() {
                self.frontend.counters().extended_errors(errors);
            }
            self.tell();
            outgoing.send(&self.socket);
        }
    }

    /// Says how much is kept, if that is not what was said last.
    fn tell(&mut self) {
        let now = (self.answers.len(), self.answers.bytes());
        if now != self.told {
            self.frontend.counters().keeps(std::mem::replace(&mut self.told, now), now);
        }
    }

    /// Looks for the answers to a batch together: each has to come from memory, and while one comes so can the others.
    fn seek<A: Sender>(&mut self, incoming: &Incoming<A>) {
        for ((is_key, key), message) in self.keys.iter_mut().zip(incoming.messages()) {
            *is_key = message.is_some_and(|(message, client)| {
                let client = client.address().ip();
                // Who is not answered goes the long way, where it is said how.
                self.frontend.answers(self.view, client) && key.read(message, self.frontend.recursion_for(client))
            });
        }
        let keys = self.keys.iter().take(incoming.len()).map(|(is_key, key)| is_key.then_some(key));
        self.answers.seek(keys, &mut self.near, self.frontend.generations());
    }

    /// Writes the answer to the `nth` message of the batch into `room` and says its length; `None` if there is none to be sent from here.
    fn answer(&mut self, nth: usize, message: &[u8], client: SocketAddr, now_millis: u64, room: &mut [u8]) -> Option<usize> {
        let key = self.keys.get(nth).and_then(|(is_key, key)| is_key.then_some(key));
        if let Some(key) = key
            && let Some(&near) = self.near.get(nth)
            && let Some(length) = self
                .answers
                .answer_near(near, key, message, self.frontend.generations(), now_millis, room)
            && let Some((length, is_proved)) = self.with_cookie(key, client, room, length)
        {
            self.by_rcode[usize::from(room[3] & 0x0f)] += 1;
            self.note(message, client, room.get(..length)?);
            if let Some((every, _)) = self.shown.filter(|&(every, from)| nth % every == from) {
                self.frontend.looked_at(message, client.ip(), every as u64);
            }
            let way = way(client, message, is_proved);
            return self
                .limiter
                .pass(way, room.get_mut(..length)?, now_millis, self.frontend.counters());
        }
        let given = self.the_long_way(key.cloned(), message.to_vec(), client, now_millis)?;
        match given.reply {
            Reply::Send(bytes) => {
                let room = room.get_mut(..bytes.len())?;
                room.copy_from_slice(&bytes);
                let way = way(client, message, given.is_proved);
                self.limiter.pass(way, room, now_millis, self.frontend.counters())
            }
            Reply::Drop => None,
        }
    }

    /// Logs a kept answer, if there is a log and this one is its turn.
    fn note(&mut self, message: &[u8], client: SocketAddr, answer: &[u8]) {
        if let Some(sampler) = &mut self.sampler
            && sampler.wants(answer)
            && let Some(log) = self.frontend.query_log()
        {
            let carrier = Carrier::Udp;
            log.note(
                message,
                Via {
                    carrier,
                    client,
                    view: self.view,
                },
                Found::Kept,
                self.begun.elapsed(),
                Some(answer),
            );
        }
    }

    /// Adds a cookie to an answer of `length` bytes if one came, and says its length, and whether that proves the address; `None` if there is no
    /// place for it.
    fn with_cookie(&self, key: &Key, client: SocketAddr, room: &mut [u8], length: usize) -> Option<(usize, bool)> {
        let Some(cookie) = key.cookie() else {
            return Some((length, false));
        };
        let shown = self.frontend.show(cookie, client.ip());
        Some((add_to_bare(room, length, &shown.option, key.limit())?, shown.is_proof))
    }

    /// The reply, if it takes no waiting; else a task waits for it and sends it.
    fn the_long_way(&mut self, key: Option<Key>, message: Vec<u8>, client: SocketAddr, now_millis: u64) -> Option<Given> {
        let (frontend, unproved) = (Arc::clone(&self.frontend), way(client, &message, false));
        let via = Via {
            carrier: Carrier::Udp,
            client,
            view: self.view,
        };
        let mut answering = Box::pin(async move { frontend.give(&message, via).await });
        if let Poll::Ready(given) = answering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            if let (Some(key), Some(fill)) = (key, &given.fill) {
                self.answers.keep(&key, fill, self.frontend.generations(), now_millis);
            }
            return Some(given);
        }
        // No slot, no answer: who asked will ask again.
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let (socket, back) = (Arc::clone(&self.socket), Arc::clone(&self.back));
        let (frontend, limiter) = (Arc::clone(&self.frontend), Arc::clone(&self.limiter));
        self.runtime.spawn(async move {
            let Given { reply, fill, is_proved } = answering.await;
            // Before anybody has the answer: who has it can ask again.
            if let (Some(key), Some(fill)) = (key, fill) {
                let mut back = back.lock().unwrap_or_else(PoisonError::into_inner);
                if back.len() < BACK_MAX {
                    back.push((key, fill, now_millis));
                }
            }
            let way = Way { is_proved, ..unproved };
            if let Reply::Send(mut bytes) = reply
                && let Some(length) = limiter.pass(way, &mut bytes, frontend.now_millis(), frontend.counters())
                && let Err(error) = socket.send_to(bytes.get(..length).unwrap_or_default(), client)
            {
                tracing::debug!(%client, %error, "answering by UDP");
            }
            drop(slot);
        });
        None
    }

    /// Keeps what tasks brought back since the last batch.
    fn take_back(&mut self) {
        // Whoever holds it is writing to it: the next batch will do.
        let Ok(mut back) = self.back.try_lock() else { return };
        if back.is_empty() {
            return;
        }
        let fills = std::mem::take(&mut *back);
        drop(back);
        for (key, fill, asked_millis) in fills {
            // Its TTL counts from when it was asked for, however long nobody came by here since.
            self.answers.keep(&key, &fill, self.frontend.generations(), asked_millis);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.frontend.counters().keeps(self.told, (0, 0));
    }
}

fn way(client: SocketAddr, message: &[u8], is_proved: bool) -> Way {
    Way {
        client: client.ip(),
        question: message.len(),
        is_proved,
    }
}

/// Most threads of one address: beyond this the network is the end, not the processor.
const CORES_MAX: usize = 64;

/// Most answers that wait to be kept by a core: as many as may be under way.
const BACK_MAX: usize = 4_096;

/// How often a thread that nobody asks looks whether it is to stop.
const LOOK_UP_EVERY: Duration = Duration::from_secs(1);

/// As many kept answers of a batch are shown to whoever looks at what is asked most; each stands for the others.
const SHOWN_OF_A_BATCH: usize = 4;
