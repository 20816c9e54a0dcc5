//! Finding the DNS addresses of providers: asked over HTTP, or looked up by the system.

use crate::error::{HttpError, InfoError, StubError};
use crate::io::environment;
use crate::io::http::HttpClient;
use crate::io::transport::Server;
use crate::message::Origin;
use crate::settings::{ADDRESSES_MAX, INFO_TIMEOUT, PATIENCE_UNKNOWN, PROVIDERS_MAX, ProviderAt};
use crate::together::{self, Pending};
use std::sync::Arc;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};

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

/// Finds all of them at once. Who is found waits for the others only a moment: one that hangs must not hold up the rest.
pub async fn find_all(http: &HttpClient, listed: &[ProviderAt]) -> Vec<Provider> {
    let unknown = |at: &ProviderAt| Provider {
        at: at.clone(),
        servers: Vec::new(),
        trouble: Some(InfoError::Http(HttpError::TimedOut)),
    };
    let mut providers: Vec<Provider> = listed.iter().map(unknown).collect();
    let search = |(index, at)| (index, Box::pin(find(http, at, &[])) as Pending<'_, Provider>);
    let mut searches: Vec<_> = listed.iter().enumerate().map(search).collect();
    let mut until = Instant::now() + INFO_TIMEOUT;
    while !searches.is_empty() {
        let Ok((index, provider)) = timeout_at(until, together::next(&mut searches)).await else {
            break;
        };
        if provider.trouble.is_none() {
            until = until.min(Instant::now() + PATIENCE_UNKNOWN);
        }
        providers[index] = provider;
    }
    providers
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
        ProviderAt::Dns { host, origin } => match (timeout(INFO_TIMEOUT, lookup_host(host)).await, Origin::new(origin)) {
            (Ok(Ok(addresses)), Some(origin)) => Ok((origin, addresses.take(ADDRESSES_MAX).collect())),
            (Ok(Err(error)), _) => Err(InfoError::Host(error.to_string())),
            (Err(_), _) => Err(InfoError::Host("no answer in time".to_owned())),
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
