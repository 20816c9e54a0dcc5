//! Who answers at the control socket: a provider, or a frontend of one's own.

use super::serve::Desk;
use super::{About, HeldFrom, Origin, PeerView, Request, TOP_MILLIS_MAX, TOP_ROWS_MAX, ToldBy};
use crate::exit::{Exit, Failure};
use crate::failures;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialtone_provider::Admin;
use dialtone_provider::store::embedded::EmbeddedStore;
use dialtone_provider::store::{Class, RecordStore, StoreError};
use dialtone_resolver::dns::Frontend;
use dialtone_resolver::dns::flush::Scope;
use dialtone_shared::Name;
use dialtone_shared::message::mark;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Who reads the settings again.
#[async_trait]
pub trait Reload: Send + Sync + fmt::Debug {
    /// Reads the settings file and applies what can be applied while the provider runs. Says what became of it.
    ///
    /// # Errors
    /// The settings cannot be used: what held before goes on holding.
    async fn reload(&self) -> Result<Value, Failure>;

    /// The settings file, whether it is there or not.
    fn file(&self) -> PathBuf;
}

/// A provider's.
#[derive(Debug)]
pub struct ProviderDesk {
    admin: Admin,
    reload: Arc<dyn Reload>,
    /// Held while a backup is written: it is heavy, and nobody needs two.
    store: Mutex<Arc<EmbeddedStore>>,
    frontend: FrontendDesk,
}

/// A frontend's, of one's own or in a provider.
#[derive(Debug)]
pub struct FrontendDesk(pub Arc<Frontend>);

impl ProviderDesk {
    /// For a provider whose records are in `store`.
    pub fn new(store: Arc<EmbeddedStore>, admin: Admin, reload: Arc<dyn Reload>, frontend: Arc<Frontend>) -> Self {
        Self {
            admin,
            reload,
            store: Mutex::new(store),
            frontend: FrontendDesk(frontend),
        }
    }

    async fn origin(&self, name: &Name) -> Result<Origin, StoreError> {
        let store = self.store.lock().await.clone();
        let known: Vec<Name> = self.admin.peers().iter().map(|peer| peer.name).collect();
        let held = store.get(name).await?.map(|held| {
            let path = self.admin.path_of(&held);
            let provider = |one: &u64| {
                let known = known.iter().find(|name| mark(name) == *one);
                known.map_or_else(|| beginning(*one), ToString::to_string)
            };
            HeldFrom {
                rank: held.record.rank().to_string(),
                class: match held.class {
                    Class::Customer => "customer",
                    Class::Peer => "peer",
                    Class::Upstream => "upstream",
                }
                .to_owned(),
                hops: path.hops(),
                path: path.marks().iter().map(provider).collect(),
            }
        });
        let pointer = store.pointer(name).await?.map(|pointer| ToldBy {
            rank: format!("{}.0.{}", pointer.epoch, pointer.sequence.0),
            keeper: pointer.keeper.to_string(),
            from: pointer.from.to_string(),
        });
        Ok(Origin { held, pointer })
    }
}

#[async_trait]
impl Desk for ProviderDesk {
    async fn answer(&self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Top { .. } | Request::Flush(_) => self.frontend.answer(request).await,
            Request::Peers => {
                let about = About {
                    name: self.admin.name.to_string(),
                    peering: self.admin.addresses.peering,
                    file: self.reload.file(),
                    peers: self.admin.peers().iter().map(PeerView::of).collect(),
                };
                serde_json::to_value(about).map_err(|error| Failure::new(Exit::Bug, "the provider", error))
            }
            Request::Trace { name } => {
                let name: Name = name.parse().map_err(|error| Failure::new(Exit::BadInput, &name, error))?;
                Ok(json!(self.origin(&name).await.map_err(failures::store)?))
            }
            Request::Reload => self.reload.reload().await,
            Request::Backup(to) => {
                let made = self.store.lock().await.backup(&to).await.map_err(failures::backup)?;
                tracing::info!(to = %to.display(), records = made.records, "backed up");
                Ok(json!({ "records": made.records }))
            }
            Request::Statement {
                peer,
                of_peer,
                first,
                hours,
            } => {
                let name: Name = peer.parse().map_err(|error| Failure::new(Exit::BadInput, &peer, error))?;
                let statement = if of_peer {
                    self.admin.statement_of(&name, first, hours).await.map_err(failures::statement)?
                } else {
                    self.admin.statement(&name, first, hours).await.map_err(failures::store)?
                };
                Ok(json!(STANDARD.encode(statement)))
            }
        }
    }
}

impl FrontendDesk {
    async fn top(&self, millis: u64, rows: usize) -> Result<Value, Failure> {
        let (looking, begun) = (self.0.look(), Instant::now());
        sleep(Duration::from_millis(millis.min(TOP_MILLIS_MAX))).await;
        let top = self.0.tell(looking, begun.elapsed(), rows.min(TOP_ROWS_MAX));
        serde_json::to_value(top).map_err(|error| Failure::new(Exit::Bug, "the frontend", error))
    }

    fn flush(&self, scope: &Scope) -> Result<Value, Failure> {
        let flushed = self
            .0
            .flush(scope)
            .map_err(|reason| Failure::new(Exit::BadInput, &scope.domain, reason))?;
        tracing::info!(domain = %flushed.domain, below = scope.below, "forgotten, as told");
        Ok(json!(flushed))
    }
}

#[async_trait]
impl Desk for FrontendDesk {
    async fn answer(&self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Top { millis, rows } => self.top(millis, rows).await,
            Request::Flush(scope) => self.flush(&scope),
            Request::Peers | Request::Reload | Request::Backup(_) | Request::Statement { .. } | Request::Trace { .. } => {
                Err(Failure::new(Exit::Local, "what runs", "is a frontend, not a provider"))
            }
        }
    }
}

/// How the name of a provider of this mark begins: as much of it as the mark tells.
fn beginning(mark: u64) -> String {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&mark.to_be_bytes());
    let mut text = Name::key_set(digest).to_string();
    text.truncate(CHARACTERS_OF_A_MARK);
    text + "…"
}

/// A scheme of 8 bits and a mark of 64 fill so many characters of 5 bits.
const CHARACTERS_OF_A_MARK: usize = 14;
