//! DNS over QUIC (RFC 9250): one question a stream, answered as soon as it is ready.

use crate::dns::access::View;
use crate::dns::edns::Wants;
use crate::dns::frontend::{Carrier, Frontend, Reply, Via};
use crate::dns::question::Query;
use crate::dns::settings::{HANDSHAKE_MAX, ListenerSettings, QUESTION_BYTES_MAX, QUIC_HANDSHAKES_MAX, QUIC_HANDSHAKES_UNPROVED_MAX};
use crate::io::connections::{Connections, Pulse, Seat};
use crate::io::listeners::{SHUTDOWN_GRACE, told};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream, ServerConfig, TokioRuntime};
use quinn::{TransportConfig, VarInt};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An endpoint on `socket` that speaks `tls`. It must be called on a runtime.
///
/// # Errors
/// The socket cannot be used.
pub(super) fn endpoint(socket: UdpSocket, tls: &Arc<rustls::ServerConfig>, settings: &ListenerSettings) -> io::Result<Endpoint> {
    let mut transport = TransportConfig::default();
    let streams = u32::try_from(settings.tcp_in_flight.max(1)).unwrap_or(u32::MAX);
    transport
        .max_concurrent_bidi_streams(streams.into())
        // One, so that whoever opens it can be told what is wrong with it.
        .max_concurrent_uni_streams(1_u32.into())
        .stream_receive_window(FRAME_BYTES_MAX.into())
        .receive_window((16 * FRAME_BYTES_MAX).into())
        .send_window(SEND_BYTES_MAX)
        .datagram_receive_buffer_size(None)
        // Ours ends it sooner, and says so; this one is for those that are gone. With the same time on both, either could be first.
        .max_idle_timeout(Some(IdleTimeout::try_from(settings.tcp_idle * 2).map_err(io::Error::other)?));
    let crypto = QuicServerConfig::try_from(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(QUIC_HANDSHAKES_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES * QUIC_HANDSHAKES_MAX as u64);
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

/// Answers on `endpoint` until it is time to stop.
pub(super) async fn serve(
    endpoint: Endpoint,
    frontend: Arc<Frontend>,
    connections: Arc<Connections>,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let handshakes = Arc::new(Semaphore::new(QUIC_HANDSHAKES_MAX));
    let view = frontend.view_at(endpoint.local_addr().ok());
    loop {
        let incoming = tokio::select! {
            () = told(&mut stopped) => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => return,
            },
        };
        let Ok(shaking) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let going_on = QUIC_HANDSHAKES_MAX - handshakes.available_permits();
        if going_on > QUIC_HANDSHAKES_UNPROVED_MAX && !incoming.remote_address_validated() && incoming.may_retry() {
            // Costs a packet, and nothing is kept. It can only fail where it may not be done.
            let _sent = incoming.retry();
            continue;
        }
        connections.room().await;
        match Connections::admit(&connections, incoming.remote_address()) {
            Some(seat) => {
                let (frontend, stopped) = (Arc::clone(&frontend), stopped.clone());
                tokio::spawn(shake(incoming, shaking, (seat, view), frontend, settings, stopped));
            }
            None => incoming.refuse(),
        }
    }
    endpoint.set_server_config(None);
    // The connections are told by themselves, and finish what they have begun.
    let _idle = timeout(SHUTDOWN_GRACE, connections.all_gone(SHUTDOWN_GRACE)).await;
    endpoint.close(NO_ERROR, b"");
    let _idle = timeout(SHUTDOWN_GRACE, endpoint.wait_idle()).await;
}

async fn shake(
    incoming: Incoming,
    shaking: OwnedSemaphorePermit,
    (seat, view): (Seat, View),
    frontend: Arc<Frontend>,
    settings: ListenerSettings,
    stopped: watch::Receiver<bool>,
) {
    let client = seat.client();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return tracing::debug!(%client, %error, "a QUIC handshake"),
    };
    let shaken = tokio::select! {
        () = seat.pulse().must_make_way() => return,
        shaken = timeout(HANDSHAKE_MAX.min(settings.tcp_idle), connecting) => shaken,
    };
    drop(shaking);
    match shaken {
        Ok(Ok(connection)) => converse(connection, (seat, view), frontend, settings, stopped).await,
        Ok(Err(error)) => tracing::debug!(%client, %error, "a QUIC handshake"),
        Err(_) => tracing::debug!(%client, "a QUIC handshake that took too long"),
    }
}

async fn converse(
    connection: Connection,
    (seat, view): (Seat, View),
    frontend: Arc<Frontend>,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let mut streams = JoinSet::new();
    let code = loop {
        tokio::select! {
            () = told(&mut stopped) => {
                // What was asked by now is still answered.
                let _done = timeout(SHUTDOWN_GRACE, async { while streams.join_next().await.is_some() {} }).await;
                break NO_ERROR;
            }
            () = seat.pulse().stopped(settings.tcp_idle) => break NO_ERROR,
            Some(ended) = streams.join_next() => if let Ok(Err(code)) = ended {
                break code;
            },
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => {
                    // The address is that of now: a client may have moved.
                    let via = Via { carrier: Carrier::Quic, client: connection.remote_address(), view };
                    let (frontend, pulse) = (Arc::clone(&frontend), Arc::clone(seat.pulse()));
                    streams.spawn(answer(send, recv, via, frontend, pulse, settings.tcp_idle));
                }
                Err(_) => return,
            },
            accepted = connection.accept_uni() => match accepted {
                Ok(_) => break PROTOCOL_ERROR,
                Err(_) => return,
            },
        }
    };
    connection.close(code, b"");
}

/// One stream. An error ends the connection with its code. Whoever has not taken an answer after `patience` does without it.
async fn answer(
    mut send: SendStream,
    mut recv: RecvStream,
    via: Via,
    frontend: Arc<Frontend>,
    pulse: Arc<Pulse>,
    patience: Duration,
) -> Result<(), VarInt> {
    let taken_back = |pulse: &Pulse| if pulse.taken_back() { Err(EXCESSIVE_LOAD) } else { Ok(()) };
    let framed = match recv.read_to_end(FRAME_BYTES_MAX as usize).await {
        Ok(framed) => framed,
        Err(quinn::ReadToEndError::TooLong) => return Err(PROTOCOL_ERROR),
        Err(quinn::ReadToEndError::Read(_)) => return taken_back(&pulse),
    };
    let message = question_of(&framed).ok_or(PROTOCOL_ERROR)?;
    pulse.asked();
    let reply = tokio::select! {
        reply = frontend.answer(message, via) => reply,
        // Who asked wants no answer any more.
        _ = send.stopped() => return taken_back(&pulse),
    };
    let Reply::Send(answer) = reply else { return Err(PROTOCOL_ERROR) };
    let length = u16::try_from(answer.len()).map_err(|_| INTERNAL_ERROR)?;
    let framed = [&length.to_be_bytes()[..], &answer].concat();
    let given = async {
        if send.write_all(&framed).await.is_err() {
            return taken_back(&pulse);
        }
        // It can only fail where the stream is gone already.
        let _finished = send.finish();
        pulse.answered();
        // Until it has been taken, this stream counts as one of those that are open.
        let _taken = send.stopped().await;
        Ok(())
    };
    if let Ok(given) = timeout(patience, given).await {
        return given;
    }
    // What nobody reads is not held for as long as something else is asked now and then. It can only fail where the stream is gone already.
    let _reset = send.reset(NO_ERROR);
    taken_back(&pulse)
}

/// `[length u16][message]` and nothing more: a message whose id is 0 and that does not speak of keepalive (RFC 9250 §4.2.1, §5.5.2).
fn question_of(framed: &[u8]) -> Option<&[u8]> {
    let (length, message) = framed.split_first_chunk::<2>()?;
    let is_whole = usize::from(u16::from_be_bytes(*length)) == message.len();
    if !is_whole || !message.starts_with(&[0, 0]) {
        return None;
    }
    let wants_keepalive = |query: Query| {
        query.edns.is_some_and(|edns| {
            edns.wants
                == Wants {
                    keepalive: true,
                    ..edns.wants
                }
        })
    };
    // What cannot be read gets its code from the frontend.
    (!Query::read(message).is_ok_and(wants_keepalive)).then_some(message)
}

/// `[length u16][message]` at most.
const FRAME_BYTES_MAX: u32 = 2 + QUESTION_BYTES_MAX as u32;

/// How much of answers that nobody reads is held for a connection, in bytes: one of the longest.
const SEND_BYTES_MAX: u64 = 128 << 10;

/// What is kept of a connection before it is looked at, in bytes: its first packets.
const INCOMING_BYTES: u64 = 8 << 10;

/// The codes with which connections end (RFC 9250 §4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_holds_one_whole_question_with_an_id_of_nought() {
        let question = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
        let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
        assert_eq!(question_of(&framed(question)), Some(&question[..]));
        assert_eq!(
            question_of(&framed(b"\0\0")),
            Some(&b"\0\0"[..]),
            "the frontend says what is wrong with it"
        );
        let mut with_id = question.to_vec();
        with_id[1] = 1;
        let mut keepalive = [&question[..], b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0"].concat();
        keepalive[11] = 1;
        for wrong in [
            framed(&with_id),
            framed(&keepalive),
            framed(question)[..20].to_vec(),
            b"\0".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(question_of(&wrong), None);
        }
        assert_eq!(
            question_of(&[framed(question), framed(question)].concat()),
            None,
            "two on one stream"
        );
    }
}
