//! Beside the lookups: providers that were set aside are tried again, and looked for anew where they may have moved.

use crate::io::discover;
use crate::io::transport::Server;
use crate::lookup::Verdict;
use crate::message::{Over, Reply};
use crate::settings::PATIENCE_MAX;
use crate::stub::Inner;
use dialtone_shared::Name;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Goes on until the stub is gone.
pub(crate) async fn keep(stub: Weak<Inner>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(stub) = stub.upgrade() else { return };
        let mut providers = stub.providers();
        let mut changed = false;
        for provider in &mut providers {
            if provider.servers.iter().all(|server| server.health().is_aside()) {
                let found = discover::find(stub.http(), &provider.at, &provider.servers).await;
                changed |= found.trouble != provider.trouble || !same(&found.servers, &provider.servers);
                *provider = found;
            }
        }
        if changed {
            stub.set_providers(providers);
        }
        for server in stub.servers().iter().filter(|server| server.health().is_aside()) {
            probe(server).await;
        }
    }
}

/// Asks for a name that nobody has, which is the cheapest: who can say so for certain can say anything.
async fn probe(server: &Server) {
    let asked = Instant::now();
    let name = Name::of_content(b"dialtone/probe");
    if let Ok(Ok(Reply::Absent { .. } | Reply::Record { .. })) = timeout(PATIENCE_MAX, server.ask(&name.into(), Over::Udp)).await {
        server.note(Verdict::Answered(asked.elapsed()));
    }
}

fn same(some: &[Arc<Server>], others: &[Arc<Server>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
}
