//! Requests over links: a stream each, beside the feed, so that no question waits behind a batch.

use crate::io::peering::node::Node;
use crate::io::peering::place::StoreId;
use crate::io::peering::reconcile;
use async_trait::async_trait;
use dialtone_shared::Name;
use dialtone_shared::message::{Refused, Request, Response, body_length};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

/// Who answers what peers request.
#[async_trait]
pub trait Answers: Send + Sync + fmt::Debug + 'static {
    /// Answers `peer`, who has proved its name and with whom there is an agreement.
    async fn answer(&self, peer: &Name, request: Request) -> Response;
}

/// Why a request came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// No link with the peer stands.
    #[error("no link with {0} stands")]
    NoLink(Name),
    /// No answer in time.
    #[error("{0} did not answer in time")]
    Late(Name),
    /// The link or the stream broke.
    #[error("the request to {peer} broke off: {reason}")]
    Broken {
        /// Whom it was for.
        peer: Name,
        /// Why.
        reason: String,
    },
    /// It will not, or not now.
    #[error("{peer} refuses: {why:?}")]
    Refused {
        /// Whom it was for.
        peer: Name,
        /// Why.
        why: Refused,
    },
    /// What it answered is no response. Its bug.
    #[error("{peer} answered with what is no response: {reason}")]
    NotAResponse {
        /// Whom it was for.
        peer: Name,
        /// What is wrong with it.
        reason: String,
    },
}

impl Node {
    /// Requests something of a peer, over the link with `of` of its nodes, or else the best that stands; at most `patience`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, peer: &Name, of: Option<&StoreId>, request: Request, patience: Duration) -> Result<Response, RequestError> {
        let (peer, place) = (*peer, self.peer(peer).ok_or(RequestError::NoLink(*peer))?);
        let route = match of {
            Some(node) => place.connection(node).map(|connection| (*node, connection)),
            None => place.route(),
        };
        let (of, connection) = route.ok_or(RequestError::NoLink(peer))?;
        let frame = request.to_frame();
        place.sends_beside(frame.len());
        let spoken = timeout(patience, speak(&connection, &frame)).await;
        let failed = !matches!(spoken, Ok(Ok(_)));
        place.answers(&of, failed.then(|| self.now().elapsed));
        match spoken.map_err(|_| RequestError::Late(peer))? {
            Ok(Ok(Response::Refused(why))) => Err(RequestError::Refused { peer, why }),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(reason)) => Err(RequestError::NotAResponse { peer, reason }),
            Err(reason) => Err(RequestError::Broken { peer, reason }),
        }
    }
}

/// The other side's response, or what is wrong with it; an error of the stream outside.
async fn speak(connection: &Connection, request: &[u8]) -> Result<Result<Response, String>, String> {
    let broken = |error: &dyn fmt::Display| error.to_string();
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| broken(&error))?;
    send.write_all(request).await.map_err(|error| broken(&error))?;
    // It fails only for a stream that is finished already.
    let _ = send.finish();
    match read_frame(&mut recv).await? {
        Ok(body) => Ok(Response::decode(&body).map_err(|error| error.to_string())),
        Err(reason) => Ok(Err(reason)),
    }
}

/// Answers what a node of the peer requests on `connection`, until it is closed.
pub(super) async fn serve(node: Arc<Node>, peer: Name, of: StoreId, connection: Connection) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(REQUESTS_AT_A_TIME));
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    let node = node.clone();
                    answering.spawn(async move {
                        if let Ok(Err(reason)) | Err(reason) =
                            timeout(ANSWER_PATIENCE, answer(&node, (&peer, &of), send, recv)).await.map_err(|_| "it took too long".to_owned())
                        {
                            debug!(%peer, reason, "a request was not answered");
                        }
                    });
                }
                Err(_) => return,
            },
            Some(_) = answering.join_next() => {}
        }
    }
}

async fn answer(node: &Arc<Node>, (peer, of): (&Name, &StoreId), mut send: SendStream, mut recv: RecvStream) -> Result<(), String> {
    let body = match read_frame(&mut recv).await? {
        Ok(body) => body,
        Err(reason) => return Err(reason),
    };
    let response = match (Request::decode(&body), node.answers.get()) {
        (Ok(Request::Proofs(proofs)), _) => match node.evidence.get() {
            Some(evidence) => evidence.told(peer, proofs).await,
            None => Response::Refused(Refused::Busy),
        },
        (Ok(Request::Reconcile(body)), _) => reconcile::answer(node, (peer, of), &body).await,
        (Ok(request), Some(answers)) => answers.answer(peer, request).await,
        (Ok(_), None) => Response::Refused(Refused::Busy),
        (Err(error), _) => {
            debug!(%peer, %error, "a request cannot be read");
            Response::Refused(Refused::Cannot)
        }
    };
    let frame = response.to_frame();
    if let Some(place) = node.peer(peer) {
        place.sends_beside(frame.len());
    }
    send.write_all(&frame).await.map_err(|error| error.to_string())?;
    let _ = send.finish();
    Ok(())
}

/// A frame's body, or what is wrong with the frame; an error of the stream outside.
async fn read_frame(recv: &mut RecvStream) -> Result<Result<Vec<u8>, String>, String> {
    let mut head = [0; 4];
    recv.read_exact(&mut head).await.map_err(|error| error.to_string())?;
    let length = match body_length(head, REQUEST_BYTES_MAX) {
        Ok(length) => length,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut body = vec![0; length];
    recv.read_exact(&mut body).await.map_err(|error| error.to_string())?;
    Ok(Ok(body))
}

/// Requests of one peer that are answered at a time; QUIC lets it open no more streams.
const REQUESTS_AT_A_TIME: u32 = 64;

/// Largest request or response, in bytes of its body: a record of full size many times over, and what a round of reconciliation
/// may say. With all that one peer may have under way: 4 MiB.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// An answer that is not given by then is given up: longer than any asker waits.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
