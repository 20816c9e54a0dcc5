//! Host Identity Tags: a name is found by the tag of the key that is in force.

use crate::dns;
use crate::world::{Publisher, World, until};
use dialtone_shared::hip::Hit;
use dialtone_shared::key::KeyChain;
use dialtone_shared::record::pkarr;
use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, UnixMicros};

fn reverse(hit: &Hit) -> String {
    let nibbles: Vec<String> = hit
        .address()
        .octets()
        .iter()
        .rev()
        .map(|byte| format!("{:x}.{:x}", byte & 15, byte >> 4))
        .collect();
    nibbles.join(".") + ".ip6.arpa"
}

async fn found(world: &World, hit: &Hit) -> Option<SignedRecord> {
    let reply = world.get(&format!("/v1/hits/{hit}")).await;
    match reply.status.as_u16() {
        200 => Some(SignedRecord::decode(reply.body).unwrap()),
        404 => None,
        _ => panic!("{reply:?}"),
    }
}

#[tokio::test]
async fn a_name_is_found_by_the_tag_of_its_key_and_says_it_in_dns() {
    let world = World::start().await;
    let server = world.provider.addresses().dns[0];
    let publisher = Publisher::number(1);
    let (key, record) = (publisher.secret.public(), publisher.signed(world.now()));
    let hit = Hit::of(&key);
    assert_eq!(found(&world, &hit).await, None);
    assert_eq!(dns::ask_for(server, &reverse(&hit), 12).await.0, 3, "NXDOMAIN before");
    world.put(&record).await;
    assert_eq!(found(&world, &hit).await.unwrap().bytes(), record.bytes());
    let rdata = Hit::rdata(&key);
    for name in [reverse(&hit), dns::dns_of(record.name())] {
        let (code, answer) = dns::ask_for(server, &name, 55).await;
        assert!(
            code == 0 && answer.windows(rdata.len()).any(|window| window == rdata),
            "{name}: {answer:?}"
        );
    }
    let (code, answer) = dns::ask_for(server, &reverse(&hit), 12).await;
    let target = record.name().to_string();
    assert!(
        code == 0 && answer.windows(56).any(|window| window == target.as_bytes()),
        "{answer:?}"
    );
    assert_eq!(
        dns::ask_for(server, &reverse(&hit), 1).await,
        dns::ask_for(server, &reverse(&hit), 1).await
    );
    assert_eq!(dns::ask_for(server, &reverse(&hit), 1).await.0, 0, "there, with other types");
    world.clock.shift(2 * 3_600);
    assert_eq!(
        found(&world, &hit).await,
        None,
        "what has expired is not served by another way either"
    );
    let wrong = world.get("/v1/hits/2001:db8::1").await;
    assert_eq!((wrong.status.as_u16(), wrong.slug().as_str()), (400, "name"));
}

#[tokio::test]
async fn a_tag_follows_the_key_and_is_answered_with_the_highest_rank() {
    let world = World::start().await;
    let seed = [3; 32];
    let KeyChain { genesis, links } = KeyChain::generate(&seed, b"", 1).unwrap();
    let (first, second) = (SecretKey::derive(&seed, 0), SecretKey::derive(&seed, 1));
    let at = |chain: usize, secs: u64| Record {
        genesis: genesis.clone(),
        chain: links[..chain].to_vec(),
        ..Publisher::number(1).record(UnixMicros(world.now().micros().0 + secs * 1_000_000).secs())
    };
    let before = SignedRecord::sign(at(0, 0), &first).unwrap();
    world.put(&before).await;
    assert_eq!(found(&world, &Hit::of(&first.public())).await.as_ref(), Some(&before));
    let after = SignedRecord::sign(at(1, 1), &second).unwrap();
    world.put(&after).await;
    assert_eq!(
        found(&world, &Hit::of(&first.public())).await,
        None,
        "the old key speaks for nothing"
    );
    assert_eq!(found(&world, &Hit::of(&second.public())).await, Some(after.clone()));

    // The same key under another name, and as pkarr's: later ones win.
    let salted = Record {
        genesis: Genesis {
            salt: b"salt".to_vec(),
            ..Genesis::of(second.public())
        },
        chain: Vec::new(),
        ..at(0, 2)
    };
    let salted = SignedRecord::sign(salted, &second).unwrap();
    world.put(&salted).await;
    assert_eq!(
        found(&world, &Hit::of(&second.public())).await,
        Some(after),
        "a later key epoch comes first"
    );
    let lone = SecretKey::from_seed(&[9; 32]);
    let packet = pkarr::sign(&lone, world.now().micros(), &[0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let packet = SignedRecord::decode(packet).unwrap();
    world.put(&packet).await;
    assert_eq!(found(&world, &Hit::of(&lone.public())).await, Some(packet));
    let revoked = SignedRecord::sign(
        Record {
            body: Body::Revoked,
            ..at(1, 3)
        },
        &second,
    );
    world.put(&revoked.unwrap()).await;
    until(async || found(&world, &Hit::of(&second.public())).await == Some(salted.clone())).await;
}
