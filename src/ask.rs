//! One DNS question over a socket of its own, read by another library than the one that answers: what any client would see.

use crate::exit::plain;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// What a question goes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
}

/// What a DNS server said.
#[derive(Clone, Debug)]
pub struct Said {
    /// The code of the answer.
    pub code: ResponseCode,
    /// The addresses in its answer section, in order.
    pub addresses: Vec<IpAddr>,
    /// How many records its answer section has.
    pub answers: usize,
    /// How long it took.
    pub took: Duration,
}

/// Asks `server` for `domain`, once; gives up after `patience`.
///
/// # Errors
/// The reason, for a person: nobody answered, or what came was no answer to the question.
pub async fn ask(server: SocketAddr, over: Over, domain: &str, kind: RecordType, patience: Duration) -> Result<Said, String> {
    let mut fully = domain.to_owned();
    if !fully.ends_with('.') {
        fully.push('.');
    }
    let name = Name::from_str(&fully).map_err(|error| format!("{domain} is not a DNS name: {error}"))?;
    let mut question = Message::query();
    question.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(EDNS_PAYLOAD);
    question.set_edns(edns);
    let id = question.metadata.id;
    let bytes = question.to_vec().map_err(|error| error.to_string())?;
    let began = Instant::now();
    let exchanged = tokio::time::timeout(patience, async {
        match over {
            Over::Udp => udp(server, &bytes, id).await,
            Over::Tcp => tcp(server, &bytes).await,
        }
    });
    let answer = match exchanged.await {
        Ok(answer) => answer.map_err(|error| plain(&error))?,
        Err(_) => return Err(format!("no answer within {} s", patience.as_secs())),
    };
    let took = began.elapsed();
    let answer = Message::from_vec(&answer).map_err(|error| format!("not a DNS message: {error}"))?;
    if answer.metadata.id != id {
        return Err("an answer to another question".to_owned());
    }
    Ok(Said {
        code: answer.metadata.response_code,
        addresses: answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect(),
        answers: answer.answers.iter().filter(|record| !matches!(record.data, RData::OPT(_))).count(),
        took,
    })
}

async fn udp(server: SocketAddr, question: &[u8], id: u16) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0; 16], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut answer).await?;
        // A stray datagram is not the answer; the right one may still come.
        if answer[..length].starts_with(&id.to_be_bytes()) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = Vec::with_capacity(question.len() + 2);
    framed.extend((question.len() as u16).to_be_bytes());
    framed.extend(question);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// What answers are asked to fit (DNS flag day 2020).
const EDNS_PAYLOAD: u16 = 1_232;
