//! A DNS frontend over a source of one's own: whatever can be asked for the verified record of a name can be served as DNS.
//!
//! `cargo run --example frontend`

use dialtone_resolver::dns::{Domain, Frontend, FrontendSettings, ListenerSettings};
use dialtone_resolver::io::{clock, listeners};
use dialtone_resolver::{Lookup, LookupError, RecordSource, publish};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Binding};
use dialtone_shared::{Body, Name, SecretKey, Ttl, VerifiedRecord};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name as DnsName, RecordType};
use std::error::Error;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// The smallest source that there is: it knows one name.
#[derive(Debug)]
struct OneName(VerifiedRecord);

#[async_trait::async_trait]
impl RecordSource for OneName {
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        Ok(if name == self.0.name() {
            Lookup::Found {
                record: self.0.clone(),
                ttl: Ttl(60),
            }
        } else {
            Lookup::Absent { ttl: Ttl(5) }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let signer = Signer::of(SecretKey::from_seed(&rand::random()));
    let now = clock::now_micros();
    let body = Body::Live {
        expiry: now.secs().plus(3_600),
        ttl: Ttl(60),
        bindings: vec![Binding::Address(Address::of("192.0.2.7".parse()?))],
    };
    let record = publish::sign(&signer, now, Vec::new(), body)?;
    let name = record.name().to_dns("dialtone.alt");

    let settings = FrontendSettings::new(Domain::from_text("dialtone.alt")?);
    let frontend = Arc::new(Frontend::new(Arc::new(OneName(record)), settings)?);
    let (udp, tcp) = listeners::bind("127.0.0.1:0".parse()?).await?;
    let at = udp.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let told = async {
        // A sender that is gone says the same.
        let _ = stopped.await;
    };
    let serving = tokio::spawn(listeners::serve(
        frontend,
        vec![udp.into()],
        vec![tcp],
        ListenerSettings::default(),
        told,
    ));
    println!("dig @{} -p {} {name} A", at.ip(), at.port());

    // Any DNS client will do.
    let mut question = Message::query();
    question.add_query(Query::query(DnsName::from_ascii(format!("{name}."))?, RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(&question.to_vec()?, at).await?;
    let mut answer = [0; 1_232];
    let length = socket.recv(&mut answer).await?;
    let answer = Message::from_vec(&answer[..length])?;
    let address = answer
        .answers
        .first()
        .and_then(|record| record.data.ip_addr())
        .ok_or("no address in the answer")?;
    println!("{address}");

    let _ = stop.send(());
    Ok(serving.await?)
}
