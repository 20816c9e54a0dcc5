//! Looking names up over real sockets, at providers that misbehave in every way.

mod stub_support;

use dialtone_resolver::error::StubError;
use dialtone_resolver::settings::INFO_TIMEOUT;
use dialtone_resolver::{FloorAt, Lookup, LookupError, ProviderAt, RecordSource, Stub, StubSettings};
use dialtone_shared::record::{Binding, Opaque};
use dialtone_shared::{Ttl, VerifiedRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use stub_support::http::HttpScripted;
use stub_support::records::reply::{absent, error, found, truncated};
use stub_support::{Scripted, base, nobody, record, record_with, stub, stub_with};

fn rank_of(answer: Result<Lookup, LookupError>) -> dialtone_shared::Rank {
    match answer {
        Ok(Lookup::Found { record, .. }) => *record.rank(),
        other => panic!("not found: {other:?}"),
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_then_known() {
    let record = record(1, 10);
    let provider = Scripted::serving(&record).await;
    let stub = stub(&[provider.at()]).await;
    for _ in 0..3 {
        assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    }
    assert_eq!(provider.queries(), 1);
    stub.lookup_fresh(record.name()).await.unwrap();
    assert_eq!(provider.queries(), 2, "unless it is asked for anew");
}

#[tokio::test]
async fn an_absence_is_known_for_seconds() {
    let provider = Scripted::start(|query, _| vec![absent(query, "dialtone.alt", 10, 7)]).await;
    let stub = stub(&[provider.at()]).await;
    let name = *record(1, 10).name();
    assert_eq!(stub.lookup(&name).await, Ok(Lookup::Absent { ttl: Ttl(7) }));
    assert!(matches!(stub.lookup(&name).await, Ok(Lookup::Absent { ttl }) if ttl <= Ttl(7)));
    assert_eq!(provider.queries(), 1);
    let published = record(1, 10);
    stub.learn(&published);
    assert_eq!(
        rank_of(stub.lookup(&name).await),
        *published.rank(),
        "until it is known to be there"
    );
}

#[tokio::test]
async fn odd_replies_are_passed_over_while_waiting_for_the_right_one() {
    let (good, other) = (record(1, 10), record(2, 10));
    let envelope = good.bytes().clone();
    let provider = Scripted::start(move |query, _| {
        let right = found(query, &envelope, 60);
        let mut wrong_id = absent(query, "dialtone.alt", 10, 10);
        wrong_id[0] ^= 0xff;
        let mut wrong_question = found(query, other.bytes(), 60);
        wrong_question[20] = if wrong_question[20] == b'y' { b'b' } else { b'y' };
        let mut a_query = query.to_vec();
        a_query.truncate(300);
        vec![
            Vec::new(),
            vec![0xff; 40],
            right[..right.len() - 1].to_vec(),
            wrong_id,
            wrong_question,
            a_query,
            right,
        ]
    })
    .await;
    let stub = stub(&[provider.at()]).await;
    assert_eq!(rank_of(stub.lookup(good.name()).await), *good.rank());
    assert_eq!(provider.queries(), 1);
}

#[tokio::test]
async fn a_record_too_large_for_a_datagram_comes_over_tcp_and_the_connection_is_kept() {
    let large = |key| {
        record_with(key, 10, |body| {
            body.bindings.push(Binding::Opaque(Opaque {
                media_type: "text/plain".to_owned(),
                bytes: vec![b'x'; 3_500],
            }))
        })
    };
    let (one, two) = (large(1), large(2));
    let served = [one.clone(), two.clone()];
    let provider = Scripted::start(move |query, tcp| {
        let label = std::str::from_utf8(&query[13..69]).unwrap();
        let name = dialtone_shared::Name::from_label(label).unwrap();
        let record = served.iter().find(|record| *record.name() == name).unwrap();
        vec![if tcp { found(query, record.bytes(), 60) } else { truncated(query) }]
    })
    .await;
    let stub = stub(&[provider.at()]).await;
    assert_eq!(rank_of(stub.lookup(one.name()).await), *one.rank());
    assert_eq!(rank_of(stub.lookup(two.name()).await), *two.rank());
    assert_eq!(provider.connections.load(Ordering::SeqCst), 1);
    assert_eq!(provider.queries(), 4);
}

#[tokio::test]
async fn a_record_that_is_rolled_back_is_refused_even_after_a_restart() {
    let (old, new) = (record(1, 10), record(1, 20));
    let rolled_back = Arc::new(AtomicBool::new(false));
    let (switch, served) = (rolled_back.clone(), [new.clone(), old.clone()]);
    let provider = Scripted::start(move |query, _| {
        let record = &served[usize::from(switch.load(Ordering::SeqCst))];
        vec![found(query, record.bytes(), 60)]
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |settings: &mut StubSettings| settings.floor = FloorAt::Folder(folder.path().join("state"));
    let first = stub_with(&[provider.at()], in_folder).await;
    assert_eq!(rank_of(first.lookup(new.name()).await), *new.rank());
    rolled_back.store(true, Ordering::SeqCst);
    assert_eq!(rank_of(first.lookup(new.name()).await), *new.rank(), "known");
    assert_eq!(first.lookup_fresh(new.name()).await, Err(LookupError::RolledBack));
    drop(first);
    let second = stub_with(&[provider.at()], in_folder).await;
    assert_eq!(second.lookup(new.name()).await, Err(LookupError::RolledBack));
    assert_eq!(second.floor(new.name()), Some(*new.rank()));
}

#[tokio::test]
async fn what_is_not_a_valid_record_of_the_name_is_an_error_that_says_so() {
    let (good, other) = (record(1, 10), record(2, 10));
    let mut forged = good.bytes().to_vec();
    forged[100] ^= 1;
    let mut unsigned = good.bytes().to_vec();
    *unsigned.last_mut().unwrap() ^= 1;
    for (envelope, reason) in [
        (other.bytes().to_vec(), "this is a record of"),
        (unsigned, "signature"),
        (forged, "invalid record"),
        (good.bytes()[..130].to_vec(), "invalid record"),
    ] {
        let provider = Scripted::start(move |query, _| vec![found(query, &envelope, 60)]).await;
        let stub = stub(&[provider.at()]).await;
        let error = stub.lookup(good.name()).await.unwrap_err();
        assert!(
            matches!(&error, LookupError::Invalid(_)) && error.to_string().contains(reason),
            "{error}"
        );
        assert_eq!(stub.floor(good.name()), None, "and leaves no trace");
    }
}

#[tokio::test]
async fn an_expired_record_is_not_given_but_is_a_floor() {
    let expired = record_with(1, 20, |body| body.expiry = dialtone_shared::UnixSecs(base().0 - 1));
    let provider = Scripted::serving(&expired).await;
    let stub = stub(&[provider.at()]).await;
    assert_eq!(stub.lookup(expired.name()).await, Err(LookupError::Expired));
    assert_eq!(stub.floor(expired.name()), Some(*expired.rank()));
}

#[tokio::test]
async fn what_the_provider_says_is_wrong_is_passed_on() {
    let provider = Scripted::start(|query, _| vec![error(query, 2, Some((23, "a peer is catching up")))]).await;
    let stub = stub(&[provider.at()]).await;
    let said = stub.lookup(record(1, 10).name()).await.unwrap_err();
    assert_eq!(said, LookupError::Unavailable("SERVFAIL: a peer is catching up".to_owned()));
}

#[tokio::test]
async fn a_dead_provider_is_passed_over_at_once_and_soon_asked_last() {
    let records: Vec<VerifiedRecord> = (1..=8).map(|key| record(key, 10)).collect();
    let served = records.clone();
    let living = Scripted::start(move |query, _| {
        let name = dialtone_shared::Name::from_label(std::str::from_utf8(&query[13..69]).unwrap()).unwrap();
        let record = served.iter().find(|record| *record.name() == name).unwrap();
        vec![found(query, record.bytes(), 60)]
    })
    .await;
    let dead = stub_support::at(nobody().await);
    let stub = stub(&[dead.clone(), living.at()]).await;
    for record in &records {
        assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    }
    let health = stub.health();
    assert_eq!(health[0].provider, dead);
    assert!(health[1].latency.is_some() && !health[1].is_aside);
}

#[tokio::test]
async fn a_silent_provider_is_doubled_by_the_next() {
    let record = record(1, 10);
    let silent = Scripted::start(|_, _| Vec::new()).await;
    let living = Scripted::serving(&record).await;
    let stub = stub(&[silent.at(), living.at()]).await;
    assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    assert_eq!((silent.queries(), living.queries()), (1, 1));
}

#[tokio::test]
async fn a_provider_that_is_slow_may_still_answer_first() {
    let record = record(1, 10);
    let envelope = record.bytes().clone();
    let slow = Scripted::start_slow(move |query, _| (Duration::from_millis(400), vec![found(query, &envelope, 60)])).await;
    let silent = Scripted::start(|_, _| Vec::new()).await;
    let stub = stub(&[slow.at(), silent.at()]).await;
    assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    assert_eq!((slow.queries(), silent.queries()), (1, 1));
}

#[tokio::test]
async fn nobody_answering_is_an_error_at_the_deadline() {
    let silent = Scripted::start(|_, _| Vec::new()).await;
    let stub = stub_with(&[silent.at()], |settings| settings.deadline = Duration::from_millis(600)).await;
    let said = stub.lookup(record(1, 10).name()).await.unwrap_err();
    assert!(
        matches!(&said, LookupError::Unreachable(reason) if reason.contains("in time")),
        "{said}"
    );
    assert_eq!(silent.queries(), 2, "asked again in between");
}

#[tokio::test]
async fn however_many_ask_for_a_name_it_is_looked_up_once() {
    let record = record(1, 10);
    let envelope = record.bytes().clone();
    let provider = Scripted::start_slow(move |query, _| (Duration::from_millis(50), vec![found(query, &envelope, 60)])).await;
    let stub = stub(&[provider.at()]).await;
    let asks: Vec<_> = (0..50)
        .map(|_| {
            let (stub, name) = (stub.clone(), *record.name());
            tokio::spawn(async move { stub.lookup(&name).await })
        })
        .collect();
    for ask in asks {
        assert_eq!(rank_of(ask.await.unwrap()), *record.rank());
    }
    assert_eq!(provider.queries(), 1);
}

#[tokio::test]
async fn when_the_one_who_asked_goes_away_another_asks_in_its_stead() {
    let record = record(1, 10);
    let envelope = record.bytes().clone();
    let first = AtomicUsize::new(0);
    let provider = Scripted::start(move |query, _| {
        // The first question is never answered.
        match first.fetch_add(1, Ordering::SeqCst) {
            0 => Vec::new(),
            _ => vec![found(query, &envelope, 60)],
        }
    })
    .await;
    let stub = stub(&[provider.at()]).await;
    let (asker, name) = (stub.clone(), *record.name());
    let leader = tokio::spawn(async move { asker.lookup(&name).await });
    while provider.queries() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asker = stub.clone();
    let follower = tokio::spawn(async move { asker.lookup(&name).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    leader.abort();
    assert_eq!(rank_of(follower.await.unwrap()), *record.rank());
}

#[tokio::test]
async fn more_lookups_than_may_be_in_flight_are_refused_as_busy() {
    let silent = Scripted::start(|_, _| Vec::new()).await;
    let stub = stub_with(&[silent.at()], |settings| settings.lookups_max = 1).await;
    let (asker, name) = (stub.clone(), *record(1, 10).name());
    let waiting = tokio::spawn(async move { asker.lookup(&name).await });
    while silent.queries() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(stub.lookup(record(2, 10).name()).await, Err(LookupError::Busy));
    waiting.abort();
    let _ = waiting.await;
    let retry = tokio::time::timeout(Duration::from_millis(50), stub.lookup(record(2, 10).name())).await;
    assert!(retry.is_err(), "there is room again");
}

#[tokio::test]
async fn a_provider_is_found_by_its_http_address() {
    let record = record(1, 10);
    let dns = Scripted::serving(&record).await;
    let address = dns.address;
    let http = HttpScripted::start(move |asked| {
        assert_eq!(asked.path, "/v1/info");
        let name = *stub_support::record(9, 1).name();
        let json = format!(r#"{{"name":"{name}","origin":"dialtone.alt","dns":["{address}"]}}"#);
        (200, vec![("content-type", "application/json".to_owned())], json.into_bytes())
    })
    .await;
    let stub = stub(&[http.base().parse().unwrap()]).await;
    assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    assert_eq!(stub.health()[0].origin.as_deref(), Some("dialtone.alt"));
}

#[tokio::test]
async fn without_any_provider_it_says_who_was_tried_and_what_to_do() {
    let address = nobody().await;
    let not_one = HttpScripted::start(|_| (200, Vec::new(), b"<html>hello</html>".to_vec())).await;
    let settings = StubSettings {
        providers: vec![ProviderAt::Http(format!("http://{address}")), ProviderAt::Http(not_one.base())],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    };
    let error = Stub::connect(settings).await.unwrap_err();
    assert!(matches!(error, StubError::NoProvider { .. }));
    let said = error.to_string();
    for part in [
        &address.to_string(),
        "refused",
        &not_one.base(),
        "not as a provider does",
        "dialtone up",
        "DIALTONE_PROVIDER",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_keep_the_floor_is_an_error_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let settings = StubSettings {
        providers: vec![stub_support::at(nobody().await)],
        floor: FloorAt::Folder(file.clone()),
        ..StubSettings::default()
    };
    let said = Stub::connect(settings).await.unwrap_err().to_string();
    assert!(said.contains(file.to_str().unwrap()) && said.contains("writable"), "{said}");
}

/// A provider that knows of no name, once it is well; until then it cannot say anything.
async fn recovering() -> (Scripted, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let switch = well.clone();
    let script = move |query: &[u8], _| {
        vec![if switch.load(Ordering::SeqCst) {
            absent(query, "dialtone.alt", 1, 1)
        } else {
            error(query, 2, None)
        }]
    };
    (Scripted::start(script).await, well)
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_set_aside_but_still_asked_if_there_is_no_other() {
    let (provider, well) = recovering().await;
    let stub = stub_with(&[provider.at()], |settings| settings.probe_every = Duration::from_secs(3_600)).await;
    let name = *record(1, 10).name();
    for failures in 0..3 {
        assert!(!stub.health()[0].is_aside, "after {failures}");
        assert!(stub.lookup(&name).await.is_err());
    }
    assert!(stub.health()[0].is_aside);
    well.store(true, Ordering::SeqCst);
    assert!(matches!(stub.lookup(&name).await, Ok(Lookup::Absent { .. })));
    assert!(!stub.health()[0].is_aside);
}

#[tokio::test]
async fn a_provider_set_aside_is_probed_until_it_is_well() {
    let (provider, well) = recovering().await;
    let stub = stub_with(&[provider.at()], |settings| settings.probe_every = Duration::from_millis(10)).await;
    for _ in 0..3 {
        assert!(stub.lookup(record(1, 10).name()).await.is_err());
    }
    while provider.queries() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stub.health()[0].is_aside, "it answers, but cannot say anything");
    well.store(true, Ordering::SeqCst);
    let began = Instant::now();
    while stub.health()[0].is_aside {
        assert!(began.elapsed() < Duration::from_secs(20), "never found to be well");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_provider_that_moved_is_found_again() {
    let record = record(1, 10);
    let old = Scripted::serving(&record).await;
    let new = Scripted::serving(&record).await;
    let (first, second) = (old.address, new.address);
    let moved = Arc::new(AtomicBool::new(false));
    let switch = moved.clone();
    let http = HttpScripted::start(move |_| {
        let name = *stub_support::record(9, 1).name();
        let address = if switch.load(Ordering::SeqCst) { second } else { first };
        let json = format!(r#"{{"name":"{name}","origin":"dialtone.alt","dns":["{address}"]}}"#);
        (200, Vec::new(), json.into_bytes())
    })
    .await;
    let stub = stub_with(&[http.base().parse().unwrap()], |settings| {
        settings.probe_every = Duration::from_millis(20);
    })
    .await;
    assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    drop(old);
    moved.store(true, Ordering::SeqCst);
    let began = Instant::now();
    while stub.lookup_fresh(record.name()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "never found again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stub.health()[0].address, Some(second));
}

#[tokio::test]
async fn a_provider_that_hangs_does_not_hold_up_the_others() {
    let record = record(1, 10);
    let good = Scripted::serving(&record).await;
    // Accepts, and says nothing.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", hanging.local_addr().unwrap());
    let began = Instant::now();
    let stub = stub(&[base.parse().unwrap(), good.at()]).await;
    assert!(
        began.elapsed() < INFO_TIMEOUT,
        "nobody waited for it to time out: {:?}",
        began.elapsed()
    );
    assert_eq!(rank_of(stub.lookup(record.name()).await), *record.rank());
    let health = stub.health();
    assert!(health[0].address.is_none() && health[0].trouble.is_some());
}

#[tokio::test]
async fn where_no_provider_answers_what_was_known_a_while_ago_is_given_unless_something_newer_was_seen() {
    for stale_max in [Duration::from_secs(60), Duration::ZERO] {
        let answers = Arc::new(AtomicBool::new(true));
        let record = record(1, 10);
        let (envelope, is_there) = (record.bytes().clone(), Arc::clone(&answers));
        let provider = Scripted::start(move |query, _| match is_there.load(Ordering::SeqCst) {
            true => vec![found(query, &envelope, 1)],
            false => vec![error(query, 2, None)],
        })
        .await;
        let stub = stub_with(&[provider.at()], |settings| settings.stale_max = stale_max).await;
        let name = record.name();
        stub.lookup(name).await.unwrap();
        assert!(!stub.answers_alone(name));
        answers.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let given = stub.lookup(name).await;
        if stale_max.is_zero() {
            assert!(given.is_err(), "{given:?}");
            continue;
        }
        let stale = Lookup::Found {
            record: record.clone(),
            ttl: Ttl(30),
        };
        assert_eq!(given, Ok(stale.clone()));
        assert!(stub.answers_alone(name));
        let queries = provider.queries();
        assert_eq!(stub.lookup(name).await, Ok(stale), "and for a while nobody is asked again");
        assert_eq!(provider.queries(), queries);
        // What is seen elsewhere meanwhile counts.
        let newer = crate::record(1, 11);
        stub.learn(&newer);
        assert_eq!(rank_of(stub.lookup(name).await), *newer.rank());
    }
}

#[tokio::test]
async fn what_is_asked_for_shortly_before_its_ttl_ends_is_known_anew_without_anybody_waiting() {
    let record = record(1, 10);
    let (envelope, asked) = (record.bytes().clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let provider = Scripted::start_slow(move |query, _| {
        // The second time it takes longer than the TTL has left: nobody may wait for it.
        let wait = Duration::from_millis(if count.fetch_add(1, Ordering::SeqCst) == 0 { 0 } else { 200 });
        (wait, vec![found(query, &envelope, 10)])
    })
    .await;
    let stub = stub(&[provider.at()]).await;
    stub.lookup(record.name()).await.unwrap();
    let left = async || match stub.lookup(record.name()).await {
        Ok(Lookup::Found { ttl, .. }) => ttl,
        other => panic!("not found: {other:?}"),
    };
    let began = Instant::now();
    let mut before = Ttl(10);
    loop {
        let is_first = asked.load(Ordering::SeqCst) < 2;
        let now = left().await;
        if !is_first && now > before {
            break;
        }
        assert!(now <= before, "whoever asked waited for it: {now:?} after {before:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "it was not asked for again");
        before = now;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(provider.queries() >= 2);
}
