//! One conversation over a stream of bytes, plain or under TLS: many questions, each answered as soon as it is ready (RFC 7766, RFC 7858).

use crate::dns::frontend::{Frontend, Reply, Via};
use crate::dns::settings::{ListenerSettings, QUESTION_BYTES_MAX};
use crate::io::connections::Seat;
use crate::io::listeners::{answering, at_once, told};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{timeout, timeout_at};

/// Goes on until the other side ends it, is quiet or slow for too long, must make way, or it is time to stop.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Send + 'static>(
    frontend: &Arc<Frontend>,
    stream: S,
    via: Via,
    seat: &Seat,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let pulse = seat.pulse();
    let (reader, writer) = split(stream);
    let mut reader = BufReader::with_capacity(READ_AHEAD_BYTES, reader);
    let (answers, outbox) = mpsc::channel(settings.tcp_in_flight.max(1));
    let writing = tokio::spawn(write_answers(writer, outbox, settings.tcp_idle));
    let slots = Arc::new(Semaphore::new(settings.tcp_in_flight.max(1)));
    loop {
        let message = tokio::select! {
            () = told(&mut stopped) => break,
            () = pulse.must_make_way() => break,
            // The clock runs from one whole message to the next: a byte now and then buys no time.
            message = timeout_at(pulse.quiet_at(settings.tcp_idle), read_message(&mut reader)) => match message {
                Ok(Ok(message)) => message,
                Ok(Err(_)) | Err(_) => break,
            },
        };
        pulse.asked();
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            break;
        };
        if let Some(Reply::Send(bytes)) = frontend.answer_kept(&message, via) {
            if answers.send(bytes).await.is_err() {
                break;
            }
            continue;
        }
        let mut answering = answering(frontend, message, via);
        match at_once(&mut answering).await {
            Some(Reply::Send(bytes)) => {
                if answers.send(bytes).await.is_err() {
                    break;
                }
            }
            // Whoever sends what gets no answer has nothing to say here.
            Some(Reply::Drop) => break,
            None => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    if let Reply::Send(bytes) = answering.await {
                        // The connection may be gone by now.
                        let _gone = answers.send(bytes).await;
                    }
                    drop(slot);
                });
            }
        }
    }
    drop(answers);
    let _ended = writing.await;
}

/// `[length u16][message]`
async fn read_message(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::from(reader.read_u16().await?);
    if length > QUESTION_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    reader.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes until there is nothing more to come, or the other side has not read for as long as `patience`.
async fn write_answers(mut writer: impl AsyncWrite + Unpin, mut outbox: mpsc::Receiver<Vec<u8>>, patience: Duration) {
    let mut framed = Vec::new();
    while let Some(answer) = outbox.recv().await {
        framed.clear();
        let mut next = Some(answer);
        // What is ready by now goes along: one packet, and under TLS one record, for many.
        while let Some(answer) = next {
            let Ok(length) = u16::try_from(answer.len()) else { return };
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(&answer);
            next = if framed.len() < WRITE_TOGETHER_BYTES {
                outbox.try_recv().ok()
            } else {
                None
            };
        }
        let written = async {
            writer.write_all(&framed).await?;
            writer.flush().await
        };
        match timeout(patience, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    // The other side may have gone first: nothing is lost by it. It may also not listen.
    let _closed = timeout(patience, writer.shutdown()).await;
}

/// How much is read ahead, in bytes: some tens of questions for one system call.
const READ_AHEAD_BYTES: usize = 2_048;

/// How much is written together at most, in bytes: what one TLS record holds.
const WRITE_TOGETHER_BYTES: usize = 16_000;
