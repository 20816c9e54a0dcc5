//! `/v1/watch`: being told what becomes of names, as it happens, on one connection.
//!
//! Whoever asks is told once what is true of each name now (but for what it knows already: by a rank, or by the cursor of its last event), then
//! that this is all ([`events::current`]), then what changes. A name that changed ten times while its watcher was slow is told once, at its latest.

pub mod board;
pub mod events;
mod stream;
pub mod wanted;

use super::problem::RETRY_SECS;
use super::{Refusal, Remote, Service, answer, media, read_if};
use crate::settings::{WATCH_BODY_BYTES_MAX, WATCH_RESUME_MAX};
use crate::store::{Cursors, Lane, StoreError};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use dialtone_shared::Name;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use stream::{Stream, Tell};
use wanted::Wanted;

pub use stream::Closing;

/// `GET /v1/watch?name=NAME&name=NAME`.
pub async fn get(State(service): State<Arc<Service>>, head: Parts) -> Response<Body> {
    let wanted = wanted::of_query(head.uri.query().unwrap_or_default());
    let done = async { service.watch(&head, wanted?).await };
    done.await.unwrap_or_else(Refusal::into_response)
}

/// `POST /v1/watch`, a name in each line: URLs are short.
pub async fn post(State(service): State<Arc<Service>>, request: Request) -> Response<Body> {
    let done = async {
        let (head, body) = request.into_parts();
        let checked = match media::unexpected_type(&head.headers, &[media::TEXT]) {
            Some(other) => Err(Refusal::MediaType(other, media::TEXT)),
            // Bounds what is held of bodies that come slowly.
            None => service.watch_bodies.try_acquire().map_err(|_| Refusal::Busy(RETRY_SECS)),
        };
        let (bytes, turn) = read_if(checked, &head.headers, body, WATCH_BODY_BYTES_MAX).await?;
        let wanted = wanted::of_body(&bytes)?;
        drop((bytes, turn));
        service.watch(&head, wanted).await
    };
    done.await.unwrap_or_else(Refusal::into_response)
}

impl Service {
    async fn watch(self: &Arc<Self>, head: &Parts, wanted: Wanted) -> Result<Response<Body>, Refusal> {
        let from = head
            .extensions
            .get::<Remote>()
            .map_or(Ipv4Addr::LOCALHOST.into(), |remote: &Remote| remote.0);
        let closing = head.extensions.get::<Closing>().cloned();
        // While nobody watched nobody looked.
        self.board.set_whole(self.source.is_whole());
        let watcher = self.join(&wanted, from)?;
        // From here on every change is marked: what is read below is at most newer.
        let left_off = self.left_off(&head.headers);
        let (resync, since) = match left_off {
            None => (None, None),
            Some(Err(reason)) => (Some(events::resync(reason)), None),
            Some(Ok(cursors)) => (None, Some(self.changed_since(cursors, &wanted).await?)),
        };
        let work = wanted.into_iter().map(|(name, rank)| {
            let tell = match (&since, rank) {
                (Some(changed), None) if !changed.contains(&name) => Tell::UnlessKept,
                (_, Some(rank)) => Tell::Unless(rank),
                (_, None) => Tell::Now,
            };
            (name, tell)
        });
        let stream = Stream::new(Arc::clone(self), watcher, work.collect(), resync, closing);
        let mut response = answer(Body::new(stream.into_body()), media::EVENTS);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Proxies that gather answers before they pass them on would make events late.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        Ok(response)
    }

    fn join(&self, wanted: &Wanted, from: IpAddr) -> Result<board::Watcher, Refusal> {
        let names = wanted.keys().copied().collect();
        self.board
            .join(names, from, *self.store.watch().borrow())
            .map_err(|board::Full| Refusal::Busy(RETRY_SECS))
    }

    /// Where the watcher left off, if it says so.
    fn left_off(&self, headers: &HeaderMap) -> Option<Result<Cursors, &'static str>> {
        let given = headers.get(LAST_EVENT_ID)?;
        let text = given.to_str().unwrap_or_default();
        let heads = *self.store.watch().borrow();
        Some(events::resume(text, &self.store.id(), heads, WATCH_RESUME_MAX))
    }

    /// Which of the names stand in the change log after `cursors`.
    async fn changed_since(&self, cursors: Cursors, wanted: &Wanted) -> Result<HashSet<Name>, StoreError> {
        let mut changed = HashSet::new();
        for lane in [Lane::Urgent, Lane::Ordinary, Lane::Hearsay] {
            let mut at = cursors[lane as usize];
            while let Some(last) = names_changed(&*self.store, lane, at)
                .await?
                .into_iter()
                .fold(None, |_, (cursor, name)| {
                    if wanted.contains_key(&name) {
                        changed.insert(name);
                    }
                    Some(cursor)
                })
            {
                at = last;
            }
        }
        Ok(changed)
    }
}

/// The next names that changed in a lane after a cursor, with their own.
///
/// # Errors
/// [`StoreError`].
pub async fn names_changed(store: &dyn crate::store::RecordStore, lane: Lane, after: u64) -> Result<Vec<(u64, Name)>, StoreError> {
    Ok(match lane {
        Lane::Hearsay => {
            let changes = store.pointer_changes(after, READ_AT_ONCE).await?;
            changes.into_iter().map(|change| (change.cursor, change.pointer.name)).collect()
        }
        Lane::Urgent | Lane::Ordinary => {
            let changes = store.changes(lane, after, READ_AT_ONCE).await?;
            changes
                .into_iter()
                .map(|change| (change.cursor, *change.held.record.name()))
                .collect()
        }
    })
}

/// Changes read in one go.
const READ_AT_ONCE: usize = 256;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
