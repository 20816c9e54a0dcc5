//! The asking end of the control socket, and what is done instead when no provider runs.

use super::{Reply, Request, SOCKET, STORE};
use crate::exit::{Exit, Failure, plain};
use crate::failures;
use dialtone_provider::store::backup::Contents;
use dialtone_provider::store::embedded::{EmbeddedOptions, EmbeddedStore};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What became of a request.
#[derive(Debug)]
pub enum Asked<T> {
    /// The provider says this.
    Told(T),
    /// No provider runs with this data folder.
    NobodyRuns,
}

impl<T> Asked<T> {
    /// What was told, if a provider runs.
    pub fn told(self) -> Option<T> {
        match self {
            Self::Told(told) => Some(told),
            Self::NobodyRuns => None,
        }
    }
}

/// Asks the provider that runs with the data folder `data`.
///
/// # Errors
/// What the provider says went wrong; the socket cannot be used.
pub async fn ask<T: DeserializeOwned>(data: &Path, request: &Request) -> Result<Asked<T>, Failure> {
    ask_at(&data.join(SOCKET), request).await
}

/// Asks what listens at the socket `path`.
///
/// # Errors
/// As of [`ask`].
pub async fn ask_at<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<Asked<T>, Failure> {
    let broke = |error: std::io::Error| Failure::new(Exit::Local, path.display(), plain(&error)).help("look at its log");
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Asked::NobodyRuns);
        }
        Err(error) => return Err(Failure::new(Exit::Local, path.display(), plain(&error)).help("run this as the user that runs it")),
    };
    let mut line = serde_json::to_vec(request).map_err(|error| Failure::new(Exit::BadInput, path.display(), error))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broke)?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.map_err(broke)?;
    let reply: Reply = serde_json::from_str(&reply)
        .map_err(|_| Failure::new(Exit::Local, path.display(), "it stopped before it answered").help("try again"))?;
    let told = reply.outcome()?;
    let told = serde_json::from_value(told)
        .map_err(|error| Failure::new(Exit::Local, path.display(), error).help("what runs is of another version: restart it"))?;
    Ok(Asked::Told(told))
}

/// Writes everything that the provider in `data` holds into the new file `to`: by the provider if it runs, otherwise by us. Says how many
/// records.
///
/// # Errors
/// There is no provider's data, or the backup cannot be written.
pub async fn back_up(data: &Path, to: &Path) -> Result<u64, Failure> {
    let to = std::path::absolute(to).map_err(|error| Failure::file(to, &error))?;
    match ask::<Value>(data, &Request::Backup(to.clone())).await? {
        Asked::Told(told) => Ok(told["records"].as_u64().unwrap_or_default()),
        Asked::NobodyRuns => stopped(data, &to).await.map(|made| made.records),
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
