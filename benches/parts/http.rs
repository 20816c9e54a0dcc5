//! One keep-alive HTTP/1.1 connection that reads no more than it needs, and puts over it.

use super::Error;
use dialtone_shared::SignedRecord;
use dialtone_shared::cbor::Writer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a server on this machine.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        assert!(address.ip().is_loopback(), "loopback targets only");
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8_192),
        })
    }

    /// Sends a request; the status that is answered.
    pub async fn ask(&mut self, request: &[u8]) -> Result<u16, Error> {
        Ok(self.page(request).await?.0)
    }

    /// Sends a request; the status and the body that are answered.
    pub async fn page(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Error> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = str::from_utf8(&self.buffer[..end])?;
            let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
            let length: usize = head
                .lines()
                .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case("content-length")))
                .map_or(Ok(0), |(_, value)| value.trim().parse())?;
            while self.buffer.len() < end + 4 + length {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err("the server closed inside an answer".into());
                }
            }
            return Ok((status, &self.buffer[end + 4..end + 4 + length]));
        }
    }
}

/// Puts `records`, many in a request; how many seconds it took, and how many requests failed.
pub async fn put_all(address: SocketAddr, records: &[SignedRecord], per_request: usize) -> Result<(f64, usize), Error> {
    let requests: Vec<Vec<u8>> = records.chunks(per_request).map(|chunk| batch_request(address, chunk)).collect();
    let start = Instant::now();
    // Two connections, so that the next request arrives while one is worked on.
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (requests, next) = (requests.clone(), next.clone());
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut bad = 0;
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                bad += usize::from(!(200..300).contains(&connection.ask(request).await?));
            }
            Ok::<_, Error>(bad)
        }));
    }
    let mut bad = 0;
    for task in tasks {
        bad += task.await??;
    }
    Ok((start.elapsed().as_secs_f64(), bad))
}

/// A put of many records.
pub fn batch_request<'a>(address: SocketAddr, records: impl IntoIterator<Item = &'a SignedRecord, IntoIter: ExactSizeIterator>) -> Vec<u8> {
    let records = records.into_iter();
    let mut body = Writer::new();
    body.array(records.len());
    for record in records {
        body.bytes(record.bytes());
    }
    let body = body.into_bytes();
    let mut request = format!(
        "POST /v1/records HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/cbor\r\naccept: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}
