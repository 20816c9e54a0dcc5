//! Finding the DNS addresses of providers: asked over HTTP, or looked up by the system.

use crate::error::{InfoError, StubError};
use crate::io::environment;
use crate::io::http::HttpClient;
use crate::io::transport::Server;
use crate::message::Origin;
use crate::settings::{ADDRESSES_MAX, PROVIDERS_MAX, ProviderAt};
use std::sync::Arc;

/// One provider, and where it answers.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Where it was said to be.
    pub at: ProviderAt,
    /// Its DNS addresses; none while it cannot be found.
    pub servers: Vec<Arc<Server>>,
    /// Why it could not be found last time.
    pub trouble: Option<InfoError>,
}

/// Whom to ask: `set`, or else the environment's, or else localhost's.
///
/// # Errors
/// [`StubError::Variable`] or [`StubError::TooMany`].
pub fn listed(set: &[ProviderAt]) -> Result<Vec<ProviderAt>, StubError> {
    let providers = if set.is_empty() { environment::providers()? } else { set.to_vec() };
    if providers.len() > PROVIDERS_MAX {
        return Err(StubError::TooMany(providers.len()));
    }
    Ok(providers)
}

/// Where the provider at `at` answers DNS now. Addresses known from `before` keep their sockets and their health.
pub async fn find(http: &HttpClient, at: &ProviderAt, before: &[Arc<Server>]) -> Provider {
    let found = match at {
        ProviderAt::Http(base) => http.info(base).await.and_then(|info| {
            if info.dns.is_empty() {
                return Err(InfoError::NotAProvider(
                    "it answers no DNS that can be reached from here".to_owned(),
                ));
            }
            Ok((info.origin, info.dns))
        }),
        ProviderAt::Dns { host, origin } => match (tokio::net::lookup_host(host).await, Origin::new(origin)) {
            (Ok(addresses), Some(origin)) => Ok((origin, addresses.take(ADDRESSES_MAX).collect())),
            (Err(error), _) => Err(InfoError::Host(error.to_string())),
            (_, None) => Err(InfoError::NotAProvider(format!("{origin:?} is not an origin"))),
        },
    };
    let (servers, trouble) = match found {
        Ok((origin, addresses)) => {
            let server = |address| {
                let known = before
                    .iter()
                    .find(|server| server.address() == address && *server.origin() == origin);
                known.cloned().unwrap_or_else(|| Arc::new(Server::new(address, origin.clone())))
            };
            (addresses.into_iter().map(server).collect(), None)
        }
        Err(error) => (before.to_vec(), Some(error)),
    };
    Provider {
        at: at.clone(),
        servers,
        trouble,
    }
}
