//! A scripted HTTP/1.1 server: just enough of it for a client to be tested against.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

/// What it is told: status, headers, body. A status of 0 closes the connection instead.
pub type Told = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server that answers by its script.
pub struct HttpScripted {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl HttpScripted {
    pub async fn start(script: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, book) = (Arc::new(script), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), book.clone()));
            }
        });
        Self { address, asked, task }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for HttpScripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F: Fn(&Asked) -> Told>(mut stream: TcpStream, script: Arc<F>, book: Arc<Mutex<Vec<Asked>>>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        let mut words = head.split(' ');
        let asked = Asked {
            method: words.next().unwrap().to_owned(),
            path: words.next().unwrap().to_owned(),
            body,
            head: head.to_ascii_lowercase(),
        };
        book.lock().unwrap().push(asked.clone());
        let (status, headers, body) = script(&asked);
        if status == 0 {
            return;
        }
        let mut answer = format!("HTTP/1.1 {status} told\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        let mut answer = answer.into_bytes();
        answer.extend(body);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
