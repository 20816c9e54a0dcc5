//! The answering end of the control socket.

use super::{AT_A_TIME, REQUEST_BYTES_MAX, REQUEST_PATIENCE, Reply, Request};
use crate::exit::{Exit, Failure};
use async_trait::async_trait;
use serde_json::Value;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// The answering end of the socket; closed and removed when dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// Who answers what is asked.
#[async_trait]
pub trait Desk: Send + Sync + fmt::Debug + 'static {
    /// What is said to a request.
    ///
    /// # Errors
    /// What went wrong, and whose turn it is.
    async fn answer(&self, request: Request) -> Result<Value, Failure>;
}

impl Control {
    /// Opens the socket at `path`, which nobody else uses. Where that is impossible (a path too long, a file system without sockets) it costs
    /// what can be asked while running, not the program.
    pub fn open(path: PathBuf, desk: Arc<dyn Desk>) -> Option<Self> {
        // Whoever left this socket is gone.
        let _ = std::fs::remove_file(&path);
        let opened = UnixListener::bind(&path).and_then(|listener| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok((listener, std::fs::metadata(&path)?))
        });
        match opened {
            Ok((listener, about)) => {
                let owner = std::os::unix::fs::MetadataExt::uid(&about);
                let task = tokio::spawn(listen(listener, desk, owner));
                Some(Self { path, task })
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "nothing can be asked while running: the control socket cannot be opened");
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

async fn listen(listener: UnixListener, desk: Arc<dyn Desk>, owner: u32) {
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
                        if let Err(error) = serve(stream, &*desk).await {
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

async fn serve(stream: UnixStream, desk: &dyn Desk) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    match tokio::time::timeout(REQUEST_PATIENCE, reader.read_line(&mut line)).await {
        Ok(read) => read?,
        Err(_) => return Ok(()),
    };
    let outcome = match serde_json::from_str::<Request>(&line) {
        Ok(request) => desk.answer(request).await,
        Err(error) => Err(
            Failure::new(Exit::Local, "what runs", format!("does not understand what it was asked: {error}"))
                .help("it is of another version: restart it"),
        ),
    };
    let reply = match outcome {
        Ok(value) => Reply::Done(value),
        Err(failure) => Reply::failed(&failure),
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    writer.write_all(&line).await
}
