//! Values: named by their hash, put once, kept as long as somebody renews the lease.

use crate::world::{ShiftedClock, World, path_of};
use dialtone_provider::store::MemoryStore;
use dialtone_shared::limits::VALUE_BYTES_MAX;
use dialtone_shared::record::signed::VALUE_HEAD;
use dialtone_shared::{Name, SignedRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_value_is_put_and_got_by_its_hash_with_its_envelope_or_without() {
    let world = World::start().await;
    let value = b"whatever this is";
    let name = Name::of_content(value);
    let at = format!("/v1/values/{name}");
    assert_eq!(world.get(&at).await.slug(), "absent");
    let put = world.ask("POST", "/v1/values", &[], &value[..]).await;
    assert_eq!((put.status.as_u16(), put.header("location")), (201, at.as_str()));
    assert_eq!(put.promise().name, name);
    let got = world.get(&at).await;
    assert_eq!(
        (&got.body[..], got.header("content-type")),
        (&value[..], "application/octet-stream")
    );
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let record = world.get(&path_of(&name)).await;
    let signed = SignedRecord::decode(record.body.clone()).unwrap().verify_for(&name).unwrap();
    assert_eq!(signed.value().unwrap(), &value[..]);
    assert_eq!(world.ask("PUT", &path_of(&name), &[], record.body).await.status, 200, "it is held");
    let none = world.get(&format!("/v1/values/{}", Name::key_set([1; 32]))).await;
    assert_eq!((none.status.as_u16(), none.slug().as_str()), (400, "name"));
}

#[tokio::test]
async fn a_value_has_at_most_60000_bytes_and_is_asked_for_over_tcp_as_well() {
    let world = World::start().await;
    let value: Vec<u8> = (0..VALUE_BYTES_MAX).map(|at| (at * 31) as u8).collect();
    let name = Name::of_content(&value);
    assert_eq!(world.ask("POST", "/v1/values", &[], value.clone()).await.status, 201);
    let large = world.ask("POST", "/v1/values", &[], [&value[..], &[0]].concat()).await;
    assert_eq!((large.status.as_u16(), large.slug().as_str()), (413, "too-large"));
    let nothing = world.ask("POST", "/v1/values", &[], "").await;
    assert_eq!((nothing.status.as_u16(), nothing.slug().as_str()), (400, "malformed"));

    let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 56];
    question.extend(name.to_string().as_bytes());
    question.extend(b"\x08dialtone\x03alt\0\xff\x46\0\x01");
    let mut stream = tokio::net::TcpStream::connect(world.provider.addresses().dns[0]).await.unwrap();
    stream.write_u16(question.len() as u16).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.ends_with(&[&[VALUE_HEAD], &value[..]].concat()), "{} bytes", answer.len());
}

#[tokio::test]
async fn a_provider_takes_values_as_long_as_it_says() {
    let world = World::with(MemoryStore::new(), |settings| settings.limits.value_bytes = 8).await;
    assert_eq!(world.get("/v1/info").await.json()["limits"]["value_bytes"], 8);
    assert_eq!(world.ask("POST", "/v1/values", &[], "12345678").await.status, 201);
    assert_eq!(world.ask("POST", "/v1/values", &[], "123456789").await.status, 413);
    let name = Name::of_content(b"123456789");
    assert_eq!(world.ask("PUT", &path_of(&name), &[], "\u{2}123456789").await.status, 413);
}

#[tokio::test]
async fn a_lease_is_renewed_by_putting_again_and_a_value_is_forgotten_after_it() {
    let world = World::on(ShiftedClock::by(0), MemoryStore::new()).await;
    let (name, value) = (Name::of_content(b"v"), "v");
    world.ask("POST", "/v1/values", &[], value).await;
    let first = world.held(&name).await.unwrap().keep_until;
    world.clock.shift(86_400);
    assert_eq!(world.ask("POST", "/v1/values", &[], value).await.status, 200);
    let held = world.held(&name).await.unwrap();
    assert!(held.keep_until > first, "kept a day longer");
    assert_eq!(held.forget_at(), Some(held.keep_until));
    world.clock.shift(i64::try_from(held.keep_until.0 - world.now().0).unwrap());
    assert_eq!(world.get(&format!("/v1/values/{name}")).await.slug(), "absent");
}
