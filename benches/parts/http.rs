//! One keep-alive HTTP/1.1 connection that reads no more than it needs.

use super::Error;
use std::net::SocketAddr;
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
