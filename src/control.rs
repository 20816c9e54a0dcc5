//! How a second command talks to a provider that runs: a socket in its data folder, which only its own user may use.
//!
//! ```text
//! to the provider   {"backup": "/absolute/path"}                  (one line)
//! from it           {"records": 3, "notes": 7}  or  {"error": "why not"}
//! ```

use crate::exit::{Exit, Failure, plain};
use crate::failures;
use dialtone_provider::store::backup::Contents;
use dialtone_provider::store::embedded::{EmbeddedOptions, EmbeddedStore};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The provider's end of the socket; closed and removed when dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

#[derive(Serialize, Deserialize)]
struct Request {
    backup: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Reply {
    Done { records: u64, notes: u64 },
    Failed { error: String },
}

impl Control {
    /// Opens the socket in `data`. A folder where that is impossible (a path too long, a file system without sockets) costs the backup
    /// while running, not the provider.
    pub fn open(data: &Path, store: Arc<EmbeddedStore>) -> Option<Self> {
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
                let task = tokio::spawn(listen(listener, store, owner));
                Some(Self { path, task })
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no backup while running: the control socket cannot be opened");
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

async fn listen(listener: UnixListener, store: Arc<EmbeddedStore>, owner: u32) {
    loop {
        match listener.accept().await {
            // One at a time: a backup is heavy, and nobody needs two.
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(peer) if peer.uid() == owner || peer.uid() == 0 => {
                    if let Err(error) = serve(stream, &store).await {
                        tracing::debug!(%error, "a control connection broke off");
                    }
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

async fn serve(stream: UnixStream, store: &EmbeddedStore) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    match tokio::time::timeout(REQUEST_PATIENCE, reader.read_line(&mut line)).await {
        Ok(read) => read?,
        Err(_) => return Ok(()),
    };
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match store.backup(&request.backup).await {
            Ok(Contents { records, notes }) => {
                tracing::info!(to = %request.backup.display(), records, "backed up");
                Reply::Done { records, notes }
            }
            Err(error) => Reply::Failed { error: error.to_string() },
        },
        Err(error) => Reply::Failed {
            error: format!("not understood: {error}"),
        },
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    writer.write_all(&line).await
}

/// Writes everything that the provider in `data` holds into the new file `to`: by the provider if it runs, otherwise by us.
///
/// # Errors
/// There is no provider's data, or the backup cannot be written.
pub async fn back_up(data: &Path, to: &Path) -> Result<Contents, Failure> {
    let to = std::path::absolute(to).map_err(|error| Failure::file(to, &error))?;
    match UnixStream::connect(data.join(SOCKET)).await {
        Ok(stream) => ask(stream, data, to).await,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
            ) =>
        {
            stopped(data, &to).await
        }
        Err(error) => {
            Err(Failure::new(Exit::Local, data.join(SOCKET).display(), plain(&error)).help("run this as the provider's own user"))
        }
    }
}

async fn ask(mut stream: UnixStream, data: &Path, to: PathBuf) -> Result<Contents, Failure> {
    let broke =
        |error: std::io::Error| Failure::new(Exit::Local, data.join(SOCKET).display(), plain(&error)).help("look at the provider's log");
    let mut line =
        serde_json::to_vec(&Request { backup: to.clone() }).map_err(|error| Failure::new(Exit::BadInput, to.display(), error))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broke)?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.map_err(broke)?;
    match serde_json::from_str(&reply) {
        Ok(Reply::Done { records, notes }) => Ok(Contents { records, notes }),
        Ok(Reply::Failed { error }) => Err(Failure::new(Exit::Local, "the provider could not write the backup", error)),
        Err(_) => Err(Failure::new(Exit::Local, data.display(), "the provider stopped before the backup was whole").help("try again")),
    }
}

async fn stopped(data: &Path, to: &Path) -> Result<Contents, Failure> {
    let folder = data.join(STORE);
    if !folder.is_dir() {
        return Err(Failure::new(Exit::Local, data.display(), "no provider keeps its data here").help("name its data folder with --data"));
    }
    let store = EmbeddedStore::open(&folder, EmbeddedOptions::default()).map_err(failures::store)?;
    let made = store.backup(to).await.map_err(failures::backup);
    dialtone_provider::store::RecordStore::close(&*store)
        .await
        .map_err(failures::store)?;
    made
}

/// The socket's place in a data folder.
const SOCKET: &str = "control.sock";
/// The store's place in a data folder.
pub const STORE: &str = "store";
/// Longest request: a path, escaped.
const REQUEST_BYTES_MAX: u64 = 32 * 1_024;
/// How long a request may take to arrive; it is one line on one machine.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
