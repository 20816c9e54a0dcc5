//! Publishing over real HTTP, at providers that refuse, break off, or hand out receipts that prove nothing.

mod stub_support;

use dialtone_resolver::ProviderAt;
use dialtone_resolver::error::{HttpError, PutError};
use dialtone_resolver::publish::{Account, Publisher, PutIf, next_sequence, sign};
use dialtone_shared::receipt::{Signer, issue};
use dialtone_shared::{Body, Rank, Ttl, UnixMicros, VerifiedRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stub_support::http::{Asked, HttpScripted, Told};
use stub_support::records::{reply, secret};
use stub_support::{Scripted, base, nobody, record};

/// Who signs the receipts of the scripted provider.
fn provider() -> Signer {
    Signer::of(secret(99))
}

fn receipt_for(signer: &Signer, record: &VerifiedRecord) -> Vec<u8> {
    let kept = [(*record.name(), *record.rank(), record.record().expiry())];
    issue(signer, base().micros(), &kept)[0].encode()
}

/// A provider whose `/v1/info` is in order; the rest is the script's.
async fn serving(script: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> HttpScripted {
    HttpScripted::start(move |asked| {
        if asked.path == "/v1/info" {
            let json = format!(r#"{{"name":"{}","origin":"dialtone.alt","dns":[]}}"#, provider().name());
            return (200, Vec::new(), json.into_bytes());
        }
        script(asked)
    })
    .await
}

fn publisher(bases: &[String]) -> Publisher {
    let account = |base: &String| Account {
        at: base.parse().unwrap(),
        token: Some("secret".to_owned()),
    };
    Publisher::new(bases.iter().map(account).collect())
}

async fn put_once(told: Told, record: &VerifiedRecord) -> PutError {
    let server = serving(move |_| told.clone()).await;
    publisher(&[server.base()]).put(record, PutIf::Always).await.remove(0).unwrap_err()
}

#[tokio::test]
async fn a_put_is_acknowledged_by_a_receipt_that_is_checked() {
    let record = record(1, 10);
    for as_json in [false, true] {
        let served = record.clone();
        let server = serving(move |asked| {
            assert_eq!((asked.method.as_str(), &asked.body[..]), ("PUT", &served.bytes()[..]));
            let receipt = receipt_for(&provider(), &served);
            if as_json {
                use base64::Engine;
                let text = base64::engine::general_purpose::STANDARD.encode(receipt);
                let json = format!(r#"{{"receipt":"{text}","outcome":"stored"}}"#);
                return (201, vec![("content-type", "application/json".to_owned())], json.into_bytes());
            }
            (200, vec![("content-type", "application/vnd.dialtone.receipt".to_owned())], receipt)
        })
        .await;
        let kept = publisher(&[server.base()]).put(&record, PutIf::Always).await.remove(0).unwrap();
        assert_eq!(kept.promise.provider, provider().name());
        assert_eq!((kept.promise.name, kept.promise.rank), (*record.name(), *record.rank()));
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.path, format!("/v1/records/{}", record.name()));
        for header in [
            "authorization: bearer secret",
            "content-type: application/vnd.dialtone.record",
            "accept: application/vnd.dialtone.receipt",
        ] {
            assert!(asked.head.contains(header), "{header} is not in {}", asked.head);
        }
    }
}

#[tokio::test]
async fn a_receipt_that_proves_nothing_is_no_acknowledgement() {
    let (ours, other) = (record(1, 10), record(1, 11));
    let mut damaged = receipt_for(&provider(), &ours);
    *damaged.last_mut().unwrap() ^= 1;
    for (receipt, reason) in [
        (receipt_for(&Signer::of(secret(98)), &ours), "it is by"),
        (receipt_for(&provider(), &other), "another record"),
        (damaged, "signature"),
        (b"thanks!".to_vec(), ""),
        (Vec::new(), ""),
    ] {
        let error = put_once((201, Vec::new(), receipt), &ours).await;
        assert!(
            matches!(&error, PutError::Receipt { .. }) && error.to_string().contains(reason),
            "{error}"
        );
    }
}

#[tokio::test]
async fn conditions_travel_as_entity_tags() {
    let record = record(1, 10);
    let server = serving(|_| (412, Vec::new(), Vec::new())).await;
    let publisher = publisher(&[server.base()]);
    for (condition, header) in [
        (PutIf::Absent, "if-none-match: *".to_owned()),
        (PutIf::Held(*record.rank()), format!("if-match: \"{}\"", record.rank())),
    ] {
        let refused = publisher.put(&record, condition).await.remove(0);
        assert!(matches!(refused, Err(PutError::ConditionFailed { held: None, .. })));
        assert!(server.asked().pop().unwrap().head.contains(&header));
    }
}

#[tokio::test]
async fn every_refusal_says_whose_turn_it_is() {
    let (ours, newer) = (record(1, 10), record(1, 20));
    let etag = |rank: &Rank| vec![("etag", format!("\"{rank}\""))];
    let older = put_once((409, etag(newer.rank()), newer.bytes().to_vec()), &ours).await;
    assert!(matches!(older, PutError::Older { held: Some(held), .. } if held == *newer.rank()));
    let changed = put_once((412, etag(newer.rank()), Vec::new()), &ours).await;
    assert!(matches!(changed, PutError::ConditionFailed { held: Some(held), .. } if held == *newer.rank()));
    let problem = br#"{"type":"urn:dialtone:problem:future","title":"From the future","detail":"by 600 s\u001b[2J","turn":"publisher"}"#;
    match put_once((422, Vec::new(), problem.to_vec()), &ours).await {
        PutError::Refused { status: 422, problem, .. } => {
            assert_eq!((problem.title.as_str(), problem.turn.as_str()), ("From the future", "publisher"));
            assert_eq!(problem.detail, "by 600 s[2J", "nothing in it reaches the terminal as a command");
        }
        other => panic!("{other}"),
    }
    for status in [429, 500, 503] {
        let busy = put_once((status, vec![("retry-after", "7".to_owned())], b"busy".to_vec()), &ours).await;
        let said = busy.to_string();
        assert!(
            matches!(busy, PutError::Unavailable { after_secs: Some(7), .. }) && said.contains("in 7 s"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_exchange_that_breaks_off_leaves_it_unknown_and_one_that_never_began_does_not() {
    let ours = record(1, 10);
    let broken = put_once((0, Vec::new(), Vec::new()), &ours).await;
    assert!(
        matches!(
            &broken,
            PutError::Unknown {
                reason: HttpError::Broken(_),
                ..
            }
        ),
        "{broken}"
    );
    assert!(broken.to_string().contains("putting the same record again is safe") || broken.to_string().contains("again is safe"));
    let large = put_once((201, Vec::new(), vec![0; 100_000]), &ours).await;
    assert!(matches!(
        large,
        PutError::Unknown {
            reason: HttpError::TooLarge,
            ..
        }
    ));
    let address = nobody().await;
    let absent = publisher(&[format!("http://{address}")])
        .put(&ours, PutIf::Always)
        .await
        .remove(0)
        .unwrap_err();
    assert!(
        matches!(&absent, PutError::NotReached { .. }) && absent.to_string().contains("refused"),
        "{absent}"
    );
    let dns_only = Publisher::new(vec![Account {
        at: stub_support::at(address),
        token: None,
    }]);
    assert!(matches!(
        dns_only.put(&ours, PutIf::Always).await.remove(0),
        Err(PutError::NoHttp(_))
    ));
}

#[tokio::test]
async fn what_is_held_is_the_highest_of_those_that_answer() {
    let (old, new) = (record(1, 10), record(1, 20));
    let holding = |record: Option<VerifiedRecord>| {
        serving(move |_| match &record {
            Some(record) => (200, Vec::new(), record.bytes().to_vec()),
            None => (404, Vec::new(), Vec::new()),
        })
    };
    let (one, two, none) = (
        holding(Some(old.clone())).await,
        holding(Some(new.clone())).await,
        holding(None).await,
    );
    let dead = format!("http://{}", nobody().await);
    let held = |bases: Vec<String>| async move { publisher(&bases).held(record(1, 10).name()).await };
    let best = held(vec![dead.clone(), one.base(), two.base(), none.base()])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(best.rank(), new.rank());
    assert_eq!(held(vec![none.base(), dead.clone()]).await.unwrap(), None);
    assert!(matches!(held(vec![dead]).await, Err(PutError::NotReached { .. })));
    let liar = holding(Some(record(2, 10))).await;
    assert!(held(vec![liar.base()]).await.is_err(), "another name's record is no record");
}

#[tokio::test]
async fn a_record_is_waited_for_until_all_show_it_over_http_or_dns() {
    let (old, new) = (record(1, 10), record(1, 20));
    let gets = Arc::new(AtomicUsize::new(0));
    let (count, before, after) = (gets.clone(), old.clone(), new.clone());
    let http = serving(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => (404, Vec::new(), Vec::new()),
        1 => (200, Vec::new(), before.bytes().to_vec()),
        _ => (200, Vec::new(), after.bytes().to_vec()),
    })
    .await;
    let served = new.clone();
    let dns = Scripted::start(move |query, tcp| {
        vec![if tcp {
            reply::found(query, served.bytes(), 60)
        } else {
            reply::truncated(query)
        }]
    })
    .await;
    let places = [ProviderAt::Http(http.base()), dns.at()];
    let publisher = publisher(&[http.base()]);
    let seen = publisher
        .wait_until_visible(new.name(), new.rank(), &places, Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(seen.iter().map(|seen| seen.provider.clone()).collect::<Vec<_>>(), places);
    assert_eq!(gets.load(Ordering::SeqCst), 3);
    let newest = record(1, 30);
    let missing = publisher
        .wait_until_visible(newest.name(), newest.rank(), &places, Duration::from_millis(100))
        .await
        .unwrap_err();
    assert_eq!(missing.missing.len(), 2);
    assert!(missing.reason.contains("older record"), "{missing}");
}

#[test]
fn a_sequence_never_goes_back() {
    let at = UnixMicros;
    assert_eq!(next_sequence(at(100), None), at(100));
    assert_eq!(next_sequence(at(100), Some(at(50))), at(100));
    assert_eq!(next_sequence(at(100), Some(at(100))), at(101));
    assert_eq!(next_sequence(at(100), Some(at(500))), at(501));
    assert_eq!(next_sequence(at(0), None), at(1), "a clock that was never set");
}

#[test]
fn what_is_signed_is_verified_and_what_breaks_a_rule_is_not_signed() {
    let signer = Signer::of(secret(1));
    let body = |days: u64| Body::Live {
        expiry: base().plus(days * 86_400),
        ttl: Ttl(60),
        bindings: Vec::new(),
    };
    let record = sign(&signer, base().micros(), Vec::new(), body(1)).unwrap();
    assert_eq!(*record.name(), signer.name());
    assert!(sign(&signer, base().micros(), Vec::new(), body(401)).is_err());
}
