//! What whoever looks after a frontend asks it over HTTP: what it has answered, and whether it could answer now.

use crate::commands::dns::site::Counted;
use crate::exit::{Exit, Failure, plain};
use crate::failures::elsewhere;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dialtone_provider::io::http::{self, Room};
use dialtone_provider::metrics::Metrics;
use dialtone_provider::metrics::scraped::Dns;
use dialtone_provider::service::media;
use dialtone_resolver::dns::Frontend;
use dialtone_resolver::io::lent::Lent;
use dialtone_resolver::io::site::Site;
use dialtone_resolver::{RecordSource, Stub};
use dialtone_shared::Name;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The listener, and where it came to be.
#[derive(Debug)]
pub struct Watched {
    listener: TcpListener,
    /// Its address, with the port that it got.
    pub address: SocketAddr,
}

struct Frontdesk {
    registry: Registry,
    stub: Stub,
    site: Option<Arc<Site>>,
}

impl Watched {
    /// Opens it, unless it is `lent`.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    pub fn open(address: SocketAddr, lent: &mut Lent) -> Result<Self, Failure> {
        let opened = lent.tcp(address).unwrap_or_else(|| http::listen(address));
        let opened = opened.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = opened.map_err(|error| {
            Failure::new(Exit::Local, address, plain(&error)).help(elsewhere(error.kind(), "--metrics, or `metrics` in a settings file"))
        })?;
        Ok(Self { listener, address })
    }

    /// Answers until `stopped` turns true.
    pub async fn serve(self, frontend: Arc<Frontend>, stub: Stub, site: Option<Arc<Site>>, stopped: watch::Receiver<bool>) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Dns(frontend)));
        if let Some(site) = &site {
            registry.register_collector(Box::new(Counted(Arc::clone(site))));
        }
        // What is counted of these few connections is nobody's business.
        let uncounted = Arc::new(Metrics::new(&mut Registry::default()));
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .with_state(Arc::new(Frontdesk { registry, stub, site }));
        http::serve(self.listener, router, uncounted, Room::new(CONNECTIONS_MAX), stopped).await;
    }
}

/// `GET /metrics`, as Prometheus reads it.
async fn metrics(State(desk): State<Arc<Frontdesk>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &desk.registry) {
        Ok(()) => ([(CONTENT_TYPE, media::METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// `GET /healthz`: whether a provider says what it has of a name. What it said is believed for some seconds, as all negative answers are, so asking often
/// costs nobody anything. A site is well without one.
async fn health(State(desk): State<Arc<Frontdesk>>) -> Response {
    match desk.stub.lookup(&Name::of_content(PROBE)).await {
        Ok(_) => "ok\n".into_response(),
        // A site is there for just this: whoever sends questions to it should go on.
        Err(error) if desk.site.is_some() => format!("ok for the site's own names alone: no provider answers: {error}\n").into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("no provider answers: {error}\n")).into_response(),
    }
}

/// The content whose name is asked for: nobody has it.
const PROBE: &[u8] = b"is anybody there?";
/// Connections at once: a scraper or two, and a check of health.
const CONNECTIONS_MAX: usize = 16;
