//! Who may ask, and how often others are asked for it.

use crate::sockets::{Served, client, receive_udp};
use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use async_trait::async_trait;
use dialtone_resolver::dns::access::{AccessSettings, Denied};
use dialtone_resolver::dns::generations::Millis;
use dialtone_resolver::dns::shares::SHARE_MAX;
use dialtone_resolver::dns::{Carrier, Frontend, ListenerSettings, Reply, SearchSettings, Via};
use dialtone_resolver::io::allowance::may_ask;
use dialtone_resolver::{Lookup, LookupError, RecordSource};
use dialtone_shared::record::Address;
use dialtone_shared::record::rdata::types;
use dialtone_shared::{Binding, Name};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What is not at hand has to be searched for, as with a stub, or with a provider that has peers.
#[derive(Debug, Default)]
pub struct Searching {
    at_hand: Arc<Records>,
    pub searches: AtomicUsize,
    /// Whoever is asked does not answer for now.
    pub is_slow: AtomicBool,
}

#[async_trait]
impl RecordSource for Searching {
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        match self.at_hand.lookup(name).await? {
            Lookup::Absent { ttl } => {
                let _under_way = may_ask(usize::MAX).ok_or(LookupError::Busy)?;
                self.searches.fetch_add(1, Ordering::SeqCst);
                while self.is_slow.load(Ordering::SeqCst) {
                    sleep(Duration::from_millis(1)).await;
                }
                tokio::task::yield_now().await;
                Ok(Lookup::Absent { ttl })
            }
            found => Ok(found),
        }
    }
}

fn records() -> Arc<Records> {
    let records = Arc::new(Records::default());
    records.publish("web", 60, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])))]);
    records
}

fn searching(private: bool) -> (Arc<Searching>, Frontend) {
    let source = Arc::new(Searching {
        at_hand: records(),
        ..Searching::default()
    });
    let mut settings = settings();
    settings.searches = SearchSettings {
        per_second: 1,
        burst: 10,
        private,
    };
    let house = Frontend::new(Arc::clone(&source) as Arc<dyn RecordSource>, settings).expect("frontend");
    // A clock that stands still, so that nothing becomes due while a slow machine asks.
    (source, house.following(Arc::default(), Millis::new(|| 1_700_000_000_000)))
}

fn ask(who: &str) -> Vec<u8> {
    Ask::of(&format!("{}.{ORIGIN}", name(who)), types::A).bytes()
}

async fn asked(house: &Frontend, who: &str, client: &str, carrier: Carrier) -> Vec<u8> {
    let client = format!("{client}:4000").parse().expect("address");
    match house.answer(&ask(who), Via::new(carrier, client)).await {
        Reply::Send(answer) => answer,
        Reply::Drop => panic!("no answer"),
    }
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

#[tokio::test]
async fn made_up_names_are_searched_for_within_the_budget_and_what_is_known_is_answered_all_the_same() {
    let (source, house) = searching(false);
    for at in 0..100 {
        let answer = asked(&house, &format!("made up {at}"), "203.0.113.7", Carrier::Udp).await;
        assert_eq!(code(&answer), if at < 10 { 3 } else { 2 }, "{at}");
        if at >= 10 {
            assert!(
                answer.windows(6).any(|bytes| bytes[..2] == [0, 15] && bytes[4..] == [0, 31]),
                "rate limited"
            );
        }
        assert_eq!(code(&asked(&house, "web", "203.0.113.9", Carrier::Udp).await), 0);
    }
    assert_eq!(source.searches.load(Ordering::SeqCst), 10);
    assert_eq!(house.counts().unsearched, 90);
    // Who has the address has an account of its own, and so have others.
    assert_eq!(code(&asked(&house, "made up", "203.0.113.7", Carrier::Tcp).await), 3);
    assert_eq!(code(&asked(&house, "made up", "198.51.100.7", Carrier::Udp).await), 3);
}

#[tokio::test]
async fn while_others_are_slow_a_network_has_its_share_of_searches_under_way_and_the_next_network_its_own() {
    let (source, _) = searching(false);
    let house = Frontend::new(Arc::clone(&source) as Arc<dyn RecordSource>, settings()).expect("frontend");
    let house = Arc::new(house.following(Arc::default(), Millis::new(|| 1_700_000_000_000)));
    source.is_slow.store(true, Ordering::SeqCst);
    let ask = |at: u32, client: &'static str| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { code(&asked(&house, &format!("made up {at} {client}"), client, Carrier::Udp).await) })
    };
    let many: Vec<_> = (0..2 * SHARE_MAX).map(|at| ask(at, "203.0.113.7")).collect();
    let other = ask(0, "198.51.100.7");
    let searches = || source.searches.load(Ordering::SeqCst) as u32;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while searches() < SHARE_MAX + 1 || many.iter().filter(|answer| answer.is_finished()).count() < SHARE_MAX as usize {
        assert!(tokio::time::Instant::now() < deadline, "{}", searches());
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(searches(), SHARE_MAX + 1);
    source.is_slow.store(false, Ordering::SeqCst);
    let mut codes = [0; 16];
    for answer in many {
        codes[usize::from(answer.await.expect("answered"))] += 1;
    }
    assert_eq!((codes[3], codes[2]), (SHARE_MAX, SHARE_MAX), "NXDOMAIN, and SERVFAIL for now");
    assert_eq!(other.await.expect("answered"), 3);
    // What is over counts no longer.
    assert_eq!(ask(9_999, "203.0.113.7").await.expect("answered"), 3);
    assert_eq!(house.counts().unsearched, u64::from(SHARE_MAX));
}

#[tokio::test]
async fn this_machine_has_no_budget_unless_it_is_set_so() {
    for (private, expected) in [(false, 50), (true, 10)] {
        let (source, house) = searching(private);
        let served = Served::start(Arc::new(house), ListenerSettings::default()).await;
        let socket = client(served.address).await;
        for at in 0..50 {
            socket.send(&ask(&format!("made up {at}"))).await.expect("sent");
            receive_udp(&socket).await;
        }
        assert_eq!(source.searches.load(Ordering::SeqCst), expected);
    }
}

fn guarded(allow: &[&str], deny: &[&str], denied: Denied) -> Arc<Frontend> {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().expect(text)).collect();
    let mut settings = settings();
    settings.access = AccessSettings {
        allow: networks(allow),
        deny: networks(deny),
        denied,
    };
    frontend(&records(), settings)
}

#[tokio::test]
async fn who_is_denied_is_refused_over_every_transport_and_the_others_are_answered() {
    let house = guarded(&["192.0.2.0/24", "2001:db8::/32"], &["192.0.2.128/25"], Denied::Refuse);
    for carrier in Carrier::ALL {
        assert_eq!(code(&asked(&house, "web", "192.0.2.1", carrier).await), 0);
        assert_eq!(code(&asked(&house, "web", "[2001:db8::1]", carrier).await), 0);
        assert_eq!(code(&asked(&house, "web", "192.0.2.200", carrier).await), 5);
        assert_eq!(code(&asked(&house, "web", "203.0.113.1", carrier).await), 5);
    }
    assert_eq!(house.counts().denied, 10);
}

#[tokio::test]
async fn by_the_short_way_too() {
    let house = guarded(&[], &["127.0.0.0/8"], Denied::Refuse);
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let socket = client(served.address).await;
    for _ in 0..10 {
        socket.send(&ask("web")).await.expect("sent");
        assert_eq!(code(&receive_udp(&socket).await), 5);
    }
    assert_eq!(house.counts().hot, 0);
}

#[tokio::test]
async fn who_is_to_hear_nothing_hears_nothing_not_even_that_its_question_is_broken() {
    let house = guarded(&[], &["127.0.0.0/8"], Denied::Drop);
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let socket = client(served.address).await;
    socket.send(&ask("web")).await.expect("sent");
    socket.send(&ask("web")[..20]).await.expect("sent");
    timeout(PATIENCE, async {
        while house.counts().dropped < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("both were looked at");
    let mut buffer = [0; 512];
    assert!(socket.try_recv(&mut buffer).is_err());
}

const PATIENCE: Duration = Duration::from_secs(60);
