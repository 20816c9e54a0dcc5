//! Scripted providers on loopback: what they answer is up to each test.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod http;
pub mod records;
pub mod source;

use dialtone_resolver::{FloorAt, ProviderAt, Stub, StubSettings};
use dialtone_shared::{UnixSecs, VerifiedRecord};
use records::{Live, record_at};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// What is sent for a query, after how long.
pub type Script = Arc<dyn Fn(&[u8], bool) -> (Duration, Vec<Vec<u8>>) + Send + Sync>;

/// A DNS server that answers by its script, over UDP and TCP on one port.
pub struct Scripted {
    pub address: SocketAddr,
    pub queries: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Scripted {
    /// Starts one; the script is told the query and whether it came over TCP.
    pub async fn start(script: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start_slow(move |query, tcp| (Duration::ZERO, script(query, tcp))).await
    }

    /// Starts one that may take its time.
    pub async fn start_slow(script: impl Fn(&[u8], bool) -> (Duration, Vec<Vec<u8>>) + Send + Sync + 'static) -> Self {
        let script: Script = Arc::new(script);
        // The same port for both: drawn for TCP, which is the scarcer.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, Arc::new(udp));
            }
        };
        let address = udp.local_addr().unwrap();
        let (queries, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let datagrams = tokio::spawn(serve_datagrams(udp, script.clone(), queries.clone()));
        let (streamed, opened) = (queries.clone(), connections.clone());
        let streams = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let (script, queries) = (script.clone(), streamed.clone());
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        if stream.read_exact(&mut query).await.is_err() {
                            return;
                        }
                        queries.fetch_add(1, Ordering::SeqCst);
                        let (pause, replies) = script(&query, true);
                        tokio::time::sleep(pause).await;
                        for reply in replies {
                            let mut message = (reply.len() as u16).to_be_bytes().to_vec();
                            message.extend(reply);
                            if stream.write_all(&message).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            queries,
            connections,
            tasks: vec![datagrams, streams],
        }
    }

    /// Serves one record to everybody.
    pub async fn serving(record: &VerifiedRecord) -> Self {
        let envelope = record.bytes().clone();
        Self::start(move |query, _| vec![records::reply::found(query, &envelope, 60)]).await
    }

    pub fn at(&self) -> ProviderAt {
        at(self.address)
    }

    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_datagrams(udp: Arc<UdpSocket>, script: Script, queries: Arc<AtomicUsize>) {
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
        queries.fetch_add(1, Ordering::SeqCst);
        let (udp, (pause, replies)) = (udp.clone(), script(&buffer[..length], false));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            for reply in replies {
                let _ = udp.send_to(&reply, from).await;
            }
        });
    }
}

/// A provider at this DNS address.
pub fn at(address: SocketAddr) -> ProviderAt {
    format!("dns://{address}/dialtone.alt").parse().unwrap()
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A stub of these providers with its floor in memory.
pub async fn stub(providers: &[ProviderAt]) -> Stub {
    stub_with(providers, |_| ()).await
}

/// The same with other settings.
pub async fn stub_with(providers: &[ProviderAt], change: impl FnOnce(&mut StubSettings)) -> Stub {
    let mut settings = StubSettings {
        providers: providers.to_vec(),
        floor: FloorAt::Memory,
        ..StubSettings::default()
    };
    change(&mut settings);
    Stub::connect(settings).await.unwrap()
}

/// Now, by the wall's clock: the same for the whole of a test, or two calls would not agree on which record is later.
pub fn base() -> UnixSecs {
    static BASE: LazyLock<UnixSecs> = LazyLock::new(|| UnixSecs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()));
    *BASE
}

/// A current record of the name of key `key`; larger `micros`, later record.
pub fn record(key: u8, micros: u64) -> VerifiedRecord {
    record_with(key, micros, |_| ())
}

/// The same, changed.
pub fn record_with(key: u8, micros: u64, change: impl FnOnce(&mut Live)) -> VerifiedRecord {
    record_at(base(), key, micros, change)
}
