//! A trace of questions, asked one after the other of the DNS frontend of a provider whose peer holds the records: how many it answers without
//! asking anybody, how many from encoded answers, and how long each takes.
//!
//! The clock of both providers is the trace's: what is kept ends by its TTL as it would in the twelve hours.

use crate::trace::Trace;
use dialtone_provider::io::clock::Clock;
use dialtone_provider::peering::health::LinkState;
use dialtone_provider::provider::Parts;
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::store::{Class, Condition, Put};
use dialtone_provider::{Provider, Settings};
use dialtone_shared::message::Mode;
use dialtone_shared::record::Address;
use dialtone_shared::{Binding, Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What came of a trace.
#[derive(Debug)]
pub struct Replayed {
    /// Questions that peers were asked on their account, by the provider's counters.
    pub asked: u64,
    /// Answers that were kept as they are sent, by the frontend's.
    pub hot: u64,
    /// How long each question took, from the client's send to its receive; each was answered with the address that was published.
    pub took: Vec<Duration>,
}

impl Replayed {
    /// The share that was answered without asking anybody, in percent.
    pub fn local(&self) -> f64 {
        100.0 * (self.took.len() as f64 - self.asked as f64) / self.took.len() as f64
    }

    /// The share that was answered from what is kept encoded, in percent.
    pub fn hot(&self) -> f64 {
        100.0 * self.hot as f64 / self.took.len() as f64
    }
}

/// A clock that stands where the trace is.
#[derive(Debug)]
struct Standing(AtomicU64);

impl Clock for Standing {
    fn now(&self) -> UnixMicros {
        UnixMicros(self.0.load(Ordering::SeqCst))
    }
}

/// The providers: names are put at one, and asked for at the other.
pub struct House {
    clock: Arc<Standing>,
    kept_at: Provider,
    asked_at: Provider,
    _folders: [tempfile::TempDir; 2],
}

impl House {
    /// Two providers with `names` records; the one that is asked is pushed what `mode` says, and has all of it.
    pub async fn start(names: usize, ttl: Ttl, mode: Mode) -> Self {
        let clock = Arc::new(Standing(AtomicU64::new(START.0)));
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        let kept_at = provider(&folders[0], &clock).await;
        let asked_at = provider(&folders[1], &clock).await;
        let records: Vec<VerifiedRecord> = (0..names).map(|nth| record(nth, ttl)).collect();
        for some in records.chunks(BATCH) {
            let puts = some.iter().map(|record| Put {
                record: record.clone(),
                class: Class::Customer,
                keep_until: START.secs().plus(EXPIRES_AFTER),
                from: None,
                account: None,
                condition: Condition::None,
            });
            kept_at.store().put(puts.collect()).await.expect("an open store");
        }
        let address = kept_at.addresses().peering.expect("peering").to_string();
        let to_asked = PeerSettings {
            push: mode,
            ..PeerSettings::mutual(asked_at.name(), Vec::new())
        };
        kept_at.admin().agree(&[to_asked]).await.expect("an agreement");
        let to_kept = PeerSettings::mutual(kept_at.name(), vec![address]);
        asked_at.admin().agree(&[to_kept]).await.expect("an agreement");
        let house = Self {
            clock,
            kept_at,
            asked_at,
            _folders: folders,
        };
        until("both have what the other has for them", || {
            let [kept, asked] = [&house.kept_at, &house.asked_at].map(|provider| provider.peers().remove(0));
            kept.state == LinkState::Up && kept.progress.sent_all && asked.progress.received_all
        })
        .await;
        if mode == Mode::Values {
            for record in &records {
                let held = house.asked_at.store().get(record.name()).await.expect("an open store");
                assert!(held.is_some_and(|held| held.record == *record), "{} is pushed", record.name());
            }
        }
        house
    }

    /// Asks all that the trace asks for.
    pub async fn replay(&self, trace: Trace) -> Replayed {
        let (before, asked_before) = (self.asked_at.frontend().counts(), self.asked_at.questions().questions);
        let server = self.asked_at.addresses().dns[0];
        let questions: Vec<Vec<u8>> = (0..trace.names).map(question).collect();
        let clock = Arc::clone(&self.clock);
        let asking = move || {
            let client = UdpSocket::bind("127.0.0.1:0")?;
            client.connect(server)?;
            client.set_read_timeout(Some(Duration::from_secs(1)))?;
            let (mut took, mut sent) = (Vec::with_capacity(trace.queries.len()), 0_u64);
            for (nth, &(at, name)) in trace.queries.iter().enumerate() {
                clock.0.store(START.0 + at.as_micros() as u64, Ordering::SeqCst);
                let mut question = questions[name].clone();
                question[..2].copy_from_slice(&(nth as u16).to_be_bytes());
                let began = Instant::now();
                sent += exchange(&client, &question, name)?;
                took.push(began.elapsed());
            }
            Ok::<_, io::Error>((took, sent))
        };
        let (took, sent) = tokio::task::spawn_blocking(asking).await.expect("no panic").expect("answers");
        let after = self.asked_at.frontend().counts();
        // Whatever was asked again is a question more; nothing else was asked of it, and nothing went upstream.
        assert_eq!(after.questions - before.questions, sent);
        assert_eq!((after.by_rcode[0] - before.by_rcode[0], after.forwarded), (sent, 0));
        Replayed {
            asked: self.asked_at.questions().questions - asked_before,
            hot: after.hot - before.hot,
            took,
        }
    }

    /// Stops both.
    pub async fn shutdown(self) {
        for provider in [self.asked_at, self.kept_at] {
            provider.shutdown().await.expect("a store that closes");
        }
    }
}

/// Asks until the answer comes, and says how often it asked.
fn exchange(client: &UdpSocket, question: &[u8], name: usize) -> io::Result<u64> {
    let mut answer = [0; 1_232];
    for sent in 1..=PATIENCE.as_secs() {
        client.send(question)?;
        loop {
            match client.recv(&mut answer) {
                // One that was asked for again may come twice.
                Ok(_) if answer[..2] != question[..2] => {}
                Ok(length) => {
                    let address = answer[..length].last_chunk::<4>();
                    assert_eq!(
                        (answer[3] & 0xf, address),
                        (0, Some(&address_of(name))),
                        "the address that was published"
                    );
                    return Ok(sent);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::Error::other("no answer"))
}

fn question(name: usize) -> Vec<u8> {
    let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name_of(name).to_dns("dialtone.alt").split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

async fn provider(folder: &tempfile::TempDir, clock: &Arc<Standing>) -> Provider {
    let mut settings = Settings {
        data: folder.path().join("data"),
        ..Settings::default()
    };
    let any_port: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    (settings.http.listen, settings.dns.listen) = (vec![any_port], vec![any_port]);
    settings.peering.listen = any_port;
    let parts = Parts {
        clock: clock.clone(),
        ..Parts::default()
    };
    Provider::start_with(settings, parts).await.expect("a provider")
}

fn secret(nth: usize) -> SecretKey {
    SecretKey::from_seed(&Name::of_content(&nth.to_be_bytes()).digest())
}

fn name_of(nth: usize) -> Name {
    Genesis::of(secret(nth).public()).name()
}

fn address_of(nth: usize) -> [u8; 4] {
    let [.., high, middle, low] = nth.to_be_bytes();
    [10, high, middle, low]
}

fn record(nth: usize, ttl: Ttl) -> VerifiedRecord {
    let secret = secret(nth);
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence: START,
        scope: Vec::new(),
        body: Body::Live {
            expiry: START.secs().plus(EXPIRES_AFTER),
            ttl,
            bindings: vec![Binding::Address(Address::of(IpAddr::from(address_of(nth))))],
        },
    };
    SignedRecord::sign(record, &secret).expect("signed").verify().expect("verified")
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: it does not come to pass");
        sleep(Duration::from_millis(20)).await;
    }
}

/// When the trace begins: 8 o'clock in the morning of some day, UTC.
const START: UnixMicros = UnixMicros(1_800_000_000_000_000);

/// Long after the trace, in seconds.
const EXPIRES_AFTER: u64 = 30 * 86_400;

/// Records put at once.
const BATCH: usize = 1_024;

/// No measure of speed: an end for what fails.
const PATIENCE: Duration = Duration::from_secs(60);
