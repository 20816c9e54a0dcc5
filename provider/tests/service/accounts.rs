//! Who may put, and how much.

use crate::puts::futures_of;
use crate::world::{Publisher, Reply, World, path_of};
use dialtone_provider::settings::{AccountSettings, AnonymousPuts, Settings, TokenDigest};
use dialtone_provider::store::{MemoryStore, RecordStore};
use dialtone_shared::cbor::Writer;
use sha2::{Digest, Sha256};
use std::sync::Arc;

fn account(name: &str, token: &str) -> AccountSettings {
    AccountSettings {
        name: name.to_owned(),
        token_sha256: TokenDigest(Sha256::digest(token).into()),
        names_max: 0,
        puts_per_second: 0,
        keep_days: 400,
    }
}

async fn world(change: impl FnOnce(&mut Settings)) -> World {
    World::with(MemoryStore::new(), change).await
}

async fn put_as(world: &World, seed: u64, later: u64, token: &str) -> Reply {
    let record = Publisher::number(seed).signed(world.now().plus(later));
    world.put_with(&record, &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn without_a_token_nothing_is_put_where_tokens_are_wanted() {
    let world = world(|settings| {
        settings.http.anonymous_puts = AnonymousPuts::No;
        settings.accounts = vec![account("ours", "open sesame")];
    })
    .await;
    let record = Publisher::number(1).signed(world.now());
    let reply = world.put(&record).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (401, "token"));
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    assert_eq!(put_as(&world, 1, 0, "open barley").await.status, 401);
    assert_eq!(world.put_with(&record, &[("authorization", "Basic eDp5")]).await.status, 401);
    assert_eq!(world.ask("POST", "/v1/records", &[], &[0x80][..]).await.status, 401);
    assert_eq!(world.provider.store().count().records, 0);
    assert_eq!(put_as(&world, 1, 0, "open sesame").await.status, 201);
    assert_eq!(world.held(record.name()).await.unwrap().account.as_deref(), Some("ours"));
    assert_eq!(world.get(&path_of(record.name())).await.status, 200, "gets are for everybody");
}

#[tokio::test]
async fn a_listener_beyond_loopback_wants_tokens_unless_told_otherwise() {
    // The rule only: tests listen on loopback alone. The unspecified address stands for one beyond.
    let mut settings = Settings::default();
    settings.http.listen = vec!["0.0.0.0:4380".parse().unwrap()];
    assert!(!settings.http_is_local());
    // What a proxy passes on is not of this machine.
    let world = world(|_| {}).await;
    let record = Publisher::number(1).signed(world.now());
    for header in [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("via", "1.1 proxy"),
    ] {
        assert_eq!(world.put_with(&record, &[header]).await.status, 401, "{header:?}");
    }
    // A browser does what any page tells it to.
    assert_eq!(world.put_with(&record, &[("origin", "https://example.com")]).await.status, 401);
    assert_eq!(world.put(&record).await.status, 201);
}

#[tokio::test]
async fn a_quota_holds_for_many_at_once() {
    let mut small = account("small", "s");
    small.names_max = 5;
    let world = world(|settings| settings.accounts = vec![small]).await;
    let mut w = Writer::new();
    w.array(20);
    for seed in 0..20 {
        w.bytes(Publisher::number(seed).signed(world.now()).bytes());
    }
    let reply = world
        .ask("POST", "/v1/records", &[("authorization", "Bearer s")], w.into_bytes())
        .await;
    let statuses: Vec<_> = reply
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 15);
    let records: Vec<_> = (20..40).map(|seed| Publisher::number(seed).signed(world.now())).collect();
    let authorization = [("authorization", "Bearer s")];
    let refused = futures_of(records.iter().map(|record| world.put_with(record, &authorization))).await;
    assert!(refused.iter().all(|reply| reply.status == 403));
    assert_eq!(world.provider.store().count().records, 5);
}

#[tokio::test]
async fn who_is_refused_while_still_sending_hears_why() {
    let world = world(|settings| settings.http.anonymous_puts = AnonymousPuts::No).await;
    let reply = world.ask("POST", "/v1/records", &[], vec![0; 200_000]).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn too_many_puts_are_told_when_to_come_again() {
    let mut slow = account("slow", "s");
    slow.puts_per_second = 1;
    let world = world(|settings| settings.accounts = vec![slow, account("fast", "f")]).await;
    world.clock.stand();
    for seed in 0..5 {
        assert_eq!(put_as(&world, seed, 0, "s").await.status, 201, "a burst passes");
    }
    let reply = put_as(&world, 5, 0, "s").await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (429, "rate"));
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(put_as(&world, 6, 0, "f").await.status, 201, "others are not held up");
    world.clock.shift(1);
    assert_eq!(put_as(&world, 5, 0, "s").await.status, 201);
}

#[tokio::test]
async fn publishing_again_what_is_held_is_free() {
    let mut slow = account("slow", "s");
    slow.puts_per_second = 1;
    let world = world(|settings| settings.accounts = vec![slow]).await;
    let record = Publisher::number(1).signed(world.now());
    for round in 0..30 {
        let reply = world.put_with(&record, &[("authorization", "Bearer s")]).await;
        assert_eq!(reply.status, if round == 0 { 201 } else { 200 }, "round {round}");
    }
}

#[tokio::test]
async fn anonymous_puts_of_one_network_share_a_small_rate() {
    let world = world(|settings| {
        settings.http.anonymous_puts = AnonymousPuts::Yes;
        settings.limits.anonymous_puts_per_second = 1;
    })
    .await;
    world.clock.stand();
    let mut statuses = Vec::new();
    for seed in 0..7 {
        let record = Publisher::number(seed).signed(world.now());
        statuses.push(world.put_with(&record, &[("x-forwarded-for", "192.0.2.1")]).await.status.as_u16());
    }
    assert_eq!(statuses, [201, 201, 201, 201, 201, 429, 429]);
}

#[tokio::test]
async fn an_account_keeps_as_many_names_as_was_agreed() {
    let mut small = account("small", "s");
    small.names_max = 2;
    let world = world(|settings| settings.accounts = vec![small, account("other", "o")]).await;
    assert_eq!(put_as(&world, 1, 0, "s").await.status, 201);
    assert_eq!(put_as(&world, 2, 0, "s").await.status, 201);
    let reply = put_as(&world, 3, 0, "s").await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (403, "names-max"));
    assert_eq!(
        put_as(&world, 1, 1, "s").await.status,
        201,
        "a name that is kept can always be renewed"
    );
    // Another account takes one over, which makes room.
    assert_eq!(put_as(&world, 1, 2, "o").await.status, 201);
    assert_eq!(put_as(&world, 3, 0, "s").await.status, 201);
}

#[tokio::test]
async fn what_accounts_keep_survives_a_restart() {
    let store: Arc<dyn RecordStore> = MemoryStore::new();
    let accounts = || {
        let mut small = account("small", "s");
        small.names_max = 1;
        vec![small]
    };
    let world = World::with(Kept(Arc::clone(&store)).shared(), |settings| settings.accounts = accounts()).await;
    assert_eq!(put_as(&world, 1, 0, "s").await.status, 201);
    world.stop().await;
    let world = World::with(Kept(store).shared(), |settings| settings.accounts = accounts()).await;
    assert_eq!(put_as(&world, 2, 0, "s").await.slug(), "names-max");
}

/// A store that outlives its provider: closing it does nothing.
#[derive(Debug)]
struct Kept(Arc<dyn RecordStore>);

impl Kept {
    fn shared(self) -> Arc<dyn RecordStore> {
        Arc::new(self)
    }
}

mod kept {
    use super::Kept;
    use async_trait::async_trait;
    use dialtone_provider::store::{
        Change, Count, Cursor, Cursors, Held, Lane, Outcome, Pointer, PointerChange, PointerOutcome, Put, RecordStore, StoreError,
    };
    use dialtone_shared::{Name, UnixSecs};
    use tokio::sync::watch;

    #[async_trait]
    impl RecordStore for Kept {
        async fn put(&self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError> {
            self.0.put(batch).await
        }
        async fn get(&self, name: &Name) -> Result<Option<Held>, StoreError> {
            self.0.get(name).await
        }
        async fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError> {
            self.0.changes(lane, after, limit).await
        }
        async fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError> {
            self.0.scan(after, limit).await
        }
        async fn expire(&self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError> {
            self.0.expire(now, limit).await
        }
        async fn put_pointers(&self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError> {
            self.0.put_pointers(batch).await
        }
        async fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError> {
            self.0.pointer(name).await
        }
        async fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError> {
            self.0.pointer_changes(after, limit).await
        }
        async fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError> {
            self.0.pointers(after, limit).await
        }
        async fn forget_pointers(&self, batch: Vec<Pointer>) -> Result<usize, StoreError> {
            self.0.forget_pointers(batch).await
        }
        fn count(&self) -> Count {
            self.0.count()
        }
        fn twins(&self) -> tokio::sync::broadcast::Receiver<std::sync::Arc<dialtone_provider::store::Twins>> {
            self.0.twins()
        }
        fn watch(&self) -> watch::Receiver<Cursors> {
            self.0.watch()
        }
        fn id(&self) -> [u8; 16] {
            self.0.id()
        }
        async fn set_notes(&self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
            self.0.set_notes(notes).await
        }
        async fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.note(key).await
        }
        async fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
            self.0.notes(prefix, limit).await
        }
        async fn close(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }
}
