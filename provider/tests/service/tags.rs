//! A name is found by the tag of its key at whatever provider, in whatever way the providers peer, and absent only if that is certain.

use crate::asking::{counted, row};
use crate::world::{Publisher, World, path_of, until};
use dialtone_provider::store::{Class, MemoryStore, Pointer, RecordStore};
use dialtone_shared::hip::Hit;
use dialtone_shared::key::KeyChain;
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, Record, SecretKey, SignedRecord, UnixMicros};

/// The record that is found by a tag, or the status that says why not.
async fn found(world: &World, hit: &Hit) -> Result<Vec<u8>, u16> {
    let reply = world.get(&format!("/v1/hits/{hit}")).await;
    if reply.status == 200 {
        Ok(reply.body.to_vec())
    } else {
        Err(reply.status.as_u16())
    }
}

fn tag_of(secret: &SecretKey) -> Hit {
    Hit::of(&secret.public())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_found_two_links_away_in_every_mode_and_leads_nowhere_once_its_key_was_replaced() {
    let seed = [3; 32];
    let KeyChain { genesis, links } = KeyChain::generate(&seed, b"", 1).unwrap();
    let (first, second) = (SecretKey::derive(&seed, 0), SecretKey::derive(&seed, 1));
    let (old, new) = (tag_of(&first), tag_of(&second));
    for mode in [Mode::Values, Mode::Pointers, Mode::Digest, Mode::None] {
        let folder = tempfile::tempdir().unwrap();
        let row = row(&folder, 3, |_, peers| {
            for peer in peers {
                (peer.push, peer.accept) = (mode, mode);
            }
        })
        .await;
        let [near, _, far] = &row[..] else { panic!("three") };
        until(async || found(near, &old).await == Err(404)).await;
        let at = |chain: usize, after: u64| Record {
            genesis: genesis.clone(),
            chain: links[..chain].to_vec(),
            ..Publisher::number(1).record(UnixMicros(far.now().micros().0 + after * 1_000_000).secs())
        };
        let before = SignedRecord::sign(at(0, 0), &first).unwrap();
        assert_eq!(far.put(&before).await.status, 201);
        until(async || found(near, &old).await.as_deref() == Ok(&before.bytes()[..])).await;
        let held = near.held(before.name()).await.is_some();
        assert_eq!(held, mode == Mode::Values, "{mode}: by no other way than was agreed");

        let after = SignedRecord::sign(at(1, 1), &second).unwrap();
        assert_eq!(far.put(&after).await.status, 201);
        until(async || found(near, &new).await.as_deref() == Ok(&after.bytes()[..])).await;
        until(async || found(near, &old).await == Err(404)).await;
        for world in &row {
            assert_eq!(found(world, &tag_of(&Publisher::number(7).secret)).await, Err(404), "{mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_tells_where_a_tag_is_and_where_none_is_without_a_question_to_anybody_else() {
    for mode in [Mode::Pointers, Mode::Digest] {
        let folder = tempfile::tempdir().unwrap();
        let row = row(&folder, 2, |_, peers| (peers[0].push, peers[0].accept) = (mode, mode)).await;
        let publishers: Vec<_> = (1..20).map(Publisher::number).collect();
        for publisher in &publishers {
            assert_eq!(row[1].put(&publisher.signed(row[1].now())).await.status, 201);
        }
        for publisher in &publishers {
            until(async || found(&row[0], &tag_of(&publisher.secret)).await.is_ok()).await;
        }
        // Once both have said what lies behind them, absences take no question, but for one in a hundred that a digest is wrong about.
        let two = row[1].provider.name();
        let asked = format!("dialtone_peer_asked_total{{peer=\"{two}\"}}");
        until(async || {
            let before = counted(&row[0], &asked).await;
            for index in 0..5 {
                let nobody = Publisher::number(10_000 * (before + 1) + index);
                assert_eq!(found(&row[0], &tag_of(&nobody.secret)).await, Err(404), "{mode}");
            }
            counted(&row[0], &asked).await == before
        })
        .await;
    }
}

/// What somebody says of a record of this name.
fn pointer(name: Name, tag: Option<Hit>, world: &World) -> Pointer {
    Pointer {
        name,
        epoch: 0,
        sequence: world.now().micros(),
        digest: [1; 16],
        expiry: world.now().plus(3_600),
        class: Class::Peer,
        keep_until: world.now().plus(3_600),
        keeper: Name::key_set([9; 32]),
        from: Name::key_set([9; 32]),
        joined: false,
        tag,
    }
}

#[tokio::test]
async fn where_a_pointer_does_not_tell_its_tag_nothing_is_said_to_be_absent() {
    let store = MemoryStore::new();
    let world = World::with(store.clone(), |_| ()).await;
    let hit = tag_of(&Publisher::number(1).secret);
    assert_eq!(found(&world, &hit).await, Err(404));
    // A value has no key, so nothing is hidden about it.
    let value = Name::of_content(b"a value");
    store.put_pointers(vec![pointer(value, None, &world)]).await.unwrap();
    assert_eq!(found(&world, &hit).await, Err(404));
    let told = pointer(Name::key_set([1; 32]), None, &world);
    store.put_pointers(vec![told]).await.unwrap();
    assert_eq!(found(&world, &hit).await, Err(503), "it may be the one");
    world.clock.shift(2 * 3_600);
    assert_eq!(found(&world, &hit).await, Err(404), "nobody keeps it any longer");
}

#[tokio::test]
async fn names_that_are_only_said_to_have_a_tag_do_not_hide_the_one_that_has_it() {
    let store = MemoryStore::new();
    let world = World::with(store.clone(), |_| ()).await;
    let publisher = Publisher::number(1);
    let hit = tag_of(&publisher.secret);
    let forged = (0..100).map(|index| pointer(Name::key_set([index; 32]), Some(hit), &world));
    store.put_pointers(forged.collect()).await.unwrap();
    assert_eq!(found(&world, &hit).await, Err(503), "none of them can be asked for");
    let record = publisher.signed(world.now());
    assert_eq!(world.put(&record).await.status, 201);
    assert_eq!(found(&world, &hit).await.as_deref(), Ok(&record.bytes()[..]));
    assert_eq!(world.get(&path_of(record.name())).await.status, 200);
}
