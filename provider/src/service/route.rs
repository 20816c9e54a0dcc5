//! Which endpoint a request is for: the one table of paths and methods.

use super::{Body, Refusal, Service, batch, get, info, put, resolve};
use crate::io::http::Answers;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response};
use std::net::IpAddr;
use std::sync::Arc;

impl Answers for Arc<Service> {
    fn answer(&self, request: Request<Incoming>, from: IpAddr) -> impl Future<Output = Response<Body>> + Send + 'static {
        answer(Arc::clone(self), request, from)
    }
}

/// The answer to HEAD is that to GET; the connection keeps back what follows its head.
async fn answer(service: Arc<Service>, request: Request<Incoming>, from: IpAddr) -> Response<Body> {
    let uri = request.uri().clone();
    let Some(endpoint) = Endpoint::of(uri.path()) else {
        return Refusal::NoSuchPath(uri.path().to_owned()).into_response();
    };
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    // What is asked seldom and takes long stands aside: what waits for it would make every put as large, and each is moved.
    match endpoint {
        Endpoint::Record(name) if request.method() == Method::PUT => put::put(&service, name, request, from).await,
        Endpoint::Record(name) if reads => get::record(&service, name, request.headers()).await,
        Endpoint::Status(name) if reads => get::status(&service, name).await,
        Endpoint::Records if request.method() == Method::POST => Box::pin(batch::post(&service, request, from)).await,
        Endpoint::Resolve(name) if reads => Box::pin(resolve::resolve(&service, name)).await,
        Endpoint::Info if reads => info::info(&service).await,
        Endpoint::Health if reads => Box::pin(info::health(&service)).await,
        Endpoint::Metrics if reads => info::metrics(&service).await,
        other => {
            let mut response = Refusal::Method(request.method().to_string()).into_response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(other.methods()));
            response
        }
    }
}

/// What a path means. What should be a name is still as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Endpoint<'a> {
    Record(&'a str),
    Status(&'a str),
    Records,
    Resolve(&'a str),
    Info,
    Health,
    Metrics,
}

impl<'a> Endpoint<'a> {
    fn of(path: &'a str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/v1/records/") {
            return match rest.split_once('/') {
                None => (!rest.is_empty()).then_some(Self::Record(rest)),
                Some((name, "status")) => (!name.is_empty()).then_some(Self::Status(name)),
                Some(_) => None,
            };
        }
        if let Some(name) = path.strip_prefix("/v1/resolve/") {
            return (!name.is_empty() && !name.contains('/')).then_some(Self::Resolve(name));
        }
        match path {
            "/v1/records" => Some(Self::Records),
            "/v1/info" => Some(Self::Info),
            "/healthz" => Some(Self::Health),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Record(_) => "GET,HEAD,PUT",
            Self::Records => "POST",
            Self::Status(_) | Self::Resolve(_) | Self::Info | Self::Health | Self::Metrics => "GET,HEAD",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_one_endpoint_or_none() {
        for (path, wanted) in [
            ("/v1/records/n", Some(Endpoint::Record("n"))),
            ("/v1/records/%79", Some(Endpoint::Record("%79"))),
            ("/v1/records/n/status", Some(Endpoint::Status("n"))),
            ("/v1/records/status", Some(Endpoint::Record("status"))),
            ("/v1/records", Some(Endpoint::Records)),
            ("/v1/resolve/n", Some(Endpoint::Resolve("n"))),
            ("/v1/info", Some(Endpoint::Info)),
            ("/healthz", Some(Endpoint::Health)),
            ("/metrics", Some(Endpoint::Metrics)),
            ("/", None),
            ("", None),
            ("*", None),
            ("/v1", None),
            ("/v1/info/", None),
            ("/v1/records/", None),
            ("/v1/records/n/", None),
            ("/v1/records//status", None),
            ("/v1/records/n/status/", None),
            ("/v1/records/n/other", None),
            ("/v1/resolve/", None),
            ("/v1/resolve/n/m", None),
            ("/V1/info", None),
        ] {
            assert_eq!(Endpoint::of(path), wanted, "{path}");
        }
    }
}
