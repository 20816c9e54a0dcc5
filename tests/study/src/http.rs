//! One keep-alive HTTP/1.1 connection to a provider on this machine: as little between the clock and the provider as can be.

use crate::Error;
use dialtone_shared::{Name, SignedRecord};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// What followed the head.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The address is not of this machine, or nobody listens there.
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not on this machine").into());
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            address,
            buffer: Vec::with_capacity(8_192),
        })
    }

    /// Puts a record.
    ///
    /// # Errors
    /// The connection broke, or what came back is no HTTP.
    pub async fn put(&mut self, record: &SignedRecord) -> Result<Reply, Error> {
        let head = format!(
            "PUT /v1/records/{} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            record.name(),
            self.address,
            record.bytes().len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(record.bytes());
        self.ask(&request).await
    }

    /// Gets what the provider has of a name.
    ///
    /// # Errors
    /// The connection broke, or what came back is no HTTP.
    pub async fn get(&mut self, name: &Name) -> Result<Reply, Error> {
        self.page(&format!("/v1/records/{name}")).await
    }

    /// Gets any page.
    ///
    /// # Errors
    /// The connection broke, or what came back is no HTTP.
    pub async fn page(&mut self, path: &str) -> Result<Reply, Error> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        self.ask(request.as_bytes()).await
    }

    async fn ask(&mut self, request: &[u8]) -> Result<Reply, Error> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the provider closed the connection".into());
            }
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = str::from_utf8(&self.buffer[..end])?;
            let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
            let length = head.lines().filter_map(|line| line.split_once(':'));
            let length = length
                .filter(|(key, _)| key.eq_ignore_ascii_case("content-length"))
                .map(|(_, value)| value.trim().parse::<usize>())
                .next()
                .ok_or("an answer that does not say how long it is")??;
            while self.buffer.len() < end + 4 + length {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err("the provider closed inside an answer".into());
                }
            }
            let body = self.buffer[end + 4..end + 4 + length].to_vec();
            return Ok(Reply { status, body });
        }
    }
}
