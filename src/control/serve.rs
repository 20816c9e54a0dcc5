//! The provider's end of the control socket.

use super::{AT_A_TIME, About, HeldFrom, Origin, PeerView, REQUEST_BYTES_MAX, REQUEST_PATIENCE, Reply, Request, SOCKET, ToldBy};
use crate::exit::{Exit, Failure};
use crate::failures;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialtone_provider::Admin;
use dialtone_provider::store::embedded::EmbeddedStore;
use dialtone_provider::store::{Class, RecordStore, StoreError};
use dialtone_shared::Name;
use dialtone_shared::message::mark;
use serde_json::{Value, json};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

/// The provider's end of the socket; closed and removed when dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

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

#[derive(Debug)]
struct Desk {
    admin: Admin,
    reload: Arc<dyn Reload>,
    /// Held while a backup is written: it is heavy, and nobody needs two.
    store: Mutex<Arc<EmbeddedStore>>,
}

impl Control {
    /// Opens the socket in `data`. A folder where that is impossible (a path too long, a file system without sockets) costs what can be
    /// asked while running, not the provider.
    pub fn open(data: &Path, store: Arc<EmbeddedStore>, admin: Admin, reload: Arc<dyn Reload>) -> Option<Self> {
        let path = data.join(SOCKET);
        // The store's lock is ours, so whoever left this socket is gone.
        let _ = std::fs::remove_file(&path);
        let opened = UnixListener::bind(&path).and_then(|listener| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok((listener, std::fs::metadata(&path)?))
        });
        match opened {
            Ok((listener, about)) => {
                let owner = std::os::unix::fs::MetadataExt::uid(&about);
                let store = Mutex::new(store);
                let desk = Arc::new(Desk { admin, reload, store });
                let task = tokio::spawn(listen(listener, desk, owner));
                Some(Self { path, task })
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no backup and no `dialtone peer` while running: the control socket cannot be opened");
                None
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, desk: Arc<Desk>, owner: u32) {
    let mut serving = JoinSet::new();
    loop {
        while serving.len() >= AT_A_TIME {
            let _ = serving.join_next().await;
        }
        while serving.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(peer) if peer.uid() == owner || peer.uid() == 0 => {
                    let desk = Arc::clone(&desk);
                    serving.spawn(async move {
                        if let Err(error) = serve(stream, &desk).await {
                            tracing::debug!(%error, "a control connection broke off");
                        }
                    });
                }
                Ok(_) | Err(_) => tracing::warn!("another user tried to use the control socket"),
            },
            Err(error) => {
                tracing::warn!(%error, "the control socket does not accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, desk: &Desk) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    match tokio::time::timeout(REQUEST_PATIENCE, reader.read_line(&mut line)).await {
        Ok(read) => read?,
        Err(_) => return Ok(()),
    };
    let outcome = match serde_json::from_str::<Request>(&line) {
        Ok(request) => desk.answer(request).await,
        Err(error) => Err(Failure::new(
            Exit::Local,
            "the provider",
            format!("does not understand what it was asked: {error}"),
        )
        .help("the provider that runs is of another version: restart it")),
    };
    let reply = match outcome {
        Ok(value) => Reply::Done(value),
        Err(failure) => Reply::failed(&failure),
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    writer.write_all(&line).await
}

impl Desk {
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

    async fn answer(&self, request: Request) -> Result<Value, Failure> {
        match request {
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
