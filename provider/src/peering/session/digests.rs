//! The digests of a link: the one that is told to the peer, and the one that was heard from it.

use crate::peering::digest::{Arrival, Arriving, Digest, DigestError};
use crate::peering::limits::{DIGEST_EVERY, DIGEST_NAMES_MIN};
use crate::store::Cursors;
use dialtone_shared::message;
use std::sync::Arc;
use std::time::Duration;

/// The digest that is told: when one is due, and how far it has been sent.
#[derive(Debug, Default)]
pub(super) struct Telling {
    building: bool,
    /// One that was being made is not wanted any more.
    stale: bool,
    sending: Option<Sending>,
    /// How many names the last one was made of, and when it was sent.
    last: Option<(u64, Duration)>,
}

#[derive(Debug)]
struct Sending {
    digest: Box<Digest>,
    covers: Cursors,
    sent: usize,
}

impl Telling {
    /// Whether a digest is to be made now, `mentions` names after the last one; said once.
    pub fn is_due(&mut self, now: Duration, mentions: u64) -> bool {
        let due = !self.building
            && self.sending.is_none()
            && self
                .last
                .is_none_or(|(names, at)| mentions > (names / 4).max(DIGEST_NAMES_MIN as u64) || now >= at + DIGEST_EVERY);
        self.building |= due;
        due
    }

    /// When [`Telling::is_due`] will say so, if nothing else happens.
    pub fn due(&self) -> Option<Duration> {
        self.last
            .filter(|_| !self.building && self.sending.is_none())
            .map(|(_, at)| at + DIGEST_EVERY)
    }

    /// A digest has been made, of a log that ended at `covers` before.
    pub fn built(&mut self, digest: Box<Digest>, covers: Cursors) {
        self.building = false;
        let sent = 0;
        self.sending = Some(Sending { digest, covers, sent }).filter(|_| !std::mem::take(&mut self.stale));
    }

    /// The next chunk to send; with the last one, the seed and where the log ended.
    pub fn next_chunk(&mut self, now: Duration) -> Option<(message::Digest, Option<(u64, Cursors)>)> {
        let sending = self.sending.as_mut()?;
        let chunk = sending.digest.chunk(sending.sent)?;
        sending.sent += chunk.bytes.len();
        let whole = sending.sent >= sending.digest.size_bytes();
        let done = self.sending.take_if(|_| whole).map(|sending| {
            self.last = Some((sending.digest.names(), now));
            (sending.digest.seed(), sending.covers)
        });
        Some((chunk, done))
    }

    /// No digest is agreed any more, or one only from now on.
    pub fn stop(&mut self) {
        self.stale = self.building;
        self.sending = None;
        self.last = None;
    }
}

/// The digest that was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    whole: Option<Arc<Digest>>,
    arriving: Option<Arriving>,
}

impl Heard {
    /// The last that arrived whole.
    pub fn digest(&self) -> Option<&Arc<Digest>> {
        self.whole.as_ref()
    }

    /// The peer holds something of a name that is told so.
    pub fn mention(&self, mention: message::Mention) {
        if let Some(digest) = &self.whole {
            digest.insert(mention);
        }
    }

    /// A chunk arrived; at most `max` bytes of a digest are kept.
    ///
    /// # Errors
    /// [`DigestError`].
    pub fn chunk(&mut self, chunk: &message::Digest, max: usize) -> Result<(), DigestError> {
        match Arriving::take(self.arriving.take(), chunk, max)? {
            Arrival::Part(arriving) => self.arriving = Some(arriving),
            Arrival::Whole(digest) => self.whole = Some(Arc::new(digest)),
            // The old one is not told of what comes now.
            Arrival::TooLarge => self.whole = None,
            Arrival::Stray => {}
        }
        Ok(())
    }
}
