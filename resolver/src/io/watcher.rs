//! Watches names at a provider over HTTP: one connection, made again when it is lost, at the next provider if need be.

use crate::error::HttpError;
use crate::io::clock;
use crate::io::http::HttpClient;
use crate::settings::{HTTP_TIMEOUT, PATIENCE_UNKNOWN, ProviderAt, WATCH_RETRY_MAX, WATCH_SILENCE};
use crate::stub::Stub;
use crate::watch::{Reader, Told};
use bytes::Bytes;
use dialtone_shared::{Name, Rank};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Names that are watched. What is told is known to the stub, too. Dropped, it watches no more.
#[derive(Debug)]
pub struct Watch {
    stub: Stub,
    /// With the rank of what was told of each last.
    names: HashMap<Name, Option<Rank>>,
    /// Where to watch, and where we left off there.
    providers: Vec<(String, String)>,
    at: usize,
    open: Option<(Incoming, Reader)>,
    pause: Duration,
}

impl Watch {
    /// Watches at one of these providers.
    pub(crate) fn new(stub: Stub, names: impl IntoIterator<Item = (Name, Option<Rank>)>, providers: &[ProviderAt]) -> Self {
        let http = providers.iter().filter_map(|at| match at {
            ProviderAt::Http(base) => Some((base.clone(), String::new())),
            ProviderAt::Dns { .. } => None,
        });
        Self {
            names: names.into_iter().collect(),
            stub,
            providers: http.collect(),
            at: 0,
            open: None,
            pause: Duration::ZERO,
        }
    }

    /// What is told next. First what is true of each name, then that this is all, then what changes; a loss of the connection is told once,
    /// and what was missed when it stands again. Goes on for ever.
    pub async fn next(&mut self) -> Told {
        loop {
            let told = match self.step().await {
                Ok(Some(told)) => told,
                Ok(None) => continue,
                Err(reason) => {
                    let provider = self
                        .providers
                        .get(self.at)
                        .map_or_else(|| "no provider".to_owned(), |(base, _)| base.clone());
                    let stood = self.open.take().is_some();
                    // The same one first if it stood: it may only have been restarted. Otherwise the next.
                    if !stood {
                        self.at = (self.at + 1) % self.providers.len().max(1);
                    }
                    let told = stood || self.pause == Duration::ZERO;
                    self.pause = (self.pause * 2).clamp(PATIENCE_UNKNOWN, WATCH_RETRY_MAX);
                    if told {
                        return Told::Lost { provider, reason };
                    }
                    continue;
                }
            };
            if self.is_news(&told) {
                return told;
            }
        }
    }

    /// One event, or a part of the way to it.
    async fn step(&mut self) -> Result<Option<Told>, String> {
        let Some((body, reader)) = &mut self.open else {
            // Where many watch, they do not all come back in the same instant.
            sleep(self.pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            self.open = Some(self.connect().await?);
            return Ok(None);
        };
        if let Some(told) = reader.next(clock::now().unix).map_err(|error| error.to_string())? {
            if let Some((_, id)) = self.providers.get_mut(self.at) {
                reader.id().clone_into(id);
            }
            self.pause = Duration::from_nanos(1);
            return Ok(Some(told));
        }
        let frame = timeout(WATCH_SILENCE, body.frame()).await.map_err(|_| "it is silent".to_owned())?;
        let frame = frame.ok_or("it ended the stream")?.map_err(|error| error.to_string())?;
        if let Some(data) = frame.data_ref() {
            reader.push(data);
        }
        Ok(None)
    }

    async fn connect(&self) -> Result<(Incoming, Reader), String> {
        let (base, id) = self.providers.get(self.at).ok_or("watching needs a provider's HTTP address")?;
        let mut lines = String::with_capacity(self.names.len() * 58);
        for (name, rank) in &self.names {
            // Writing to a string does not fail.
            let _ = match rank {
                Some(rank) => writeln!(lines, "{name},{rank}"),
                None => writeln!(lines, "{name}"),
            };
        }
        let mut headers = vec![("content-type", "text/plain"), ("accept", "text/event-stream")];
        if !id.is_empty() {
            headers.push(("last-event-id", id));
        }
        let http: &HttpClient = self.stub.http();
        let url = format!("{base}/v1/watch");
        let opening = http.open(Method::POST, &url, &headers, Bytes::from(lines));
        match timeout(HTTP_TIMEOUT, opening).await.unwrap_or(Err(HttpError::TimedOut)) {
            Ok(response) if response.status().is_success() => Ok((response.into_body(), Reader::default())),
            Ok(response) => Err(format!("it refused with status {}", response.status().as_u16())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether it is news; what is known is known to the stub from now on.
    fn is_news(&mut self, told: &Told) -> bool {
        let Some(name) = told.name() else { return true };
        let Some(known) = self.names.get_mut(name) else { return false };
        match told {
            Told::Put { record, .. } | Told::Revoked(record) => {
                // That nothing will be told of its next change is news each time.
                let untold = matches!(told, Told::Put { fresh: Some(_), .. });
                if (*known == Some(*record.rank()) && !untold) || !self.stub.learn(record) {
                    return false;
                }
                *known = Some(*record.rank());
            }
            Told::Expired { .. } | Told::Absent(_) => {
                self.stub.forget(name);
                *known = None;
            }
            Told::Unknown { .. } | Told::Current { .. } | Told::Resync(_) | Told::Lost { .. } => {}
        }
        true
    }
}
