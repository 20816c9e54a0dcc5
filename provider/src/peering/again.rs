//! What a peer refused for want of room: from where in a lane it is offered again, and when.
//!
//! ```text
//! lane   ── from ═══════════ front ── head      ═══ may hold what was refused: offered again when the peer says that it takes all
//! ```
//!
//! The saved position stays at `from`, so neither a crash nor a new link loses anything. Going back costs at most a window: as soon as the
//! peer refuses once more, sending goes on at the front, where known names change.

use super::limits::AGAIN_EVERY;
use crate::store::Cursor;
use std::time::Duration;

/// What is to be offered again in one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Again {
    /// Everything before this was taken.
    from: Option<Cursor>,
    /// While it is offered again: where sending goes on when that is over.
    front: Option<Cursor>,
    rests_until: Duration,
}

impl Again {
    /// Everything after `before` and up to `cursor` was dealt with, `limited` of it by a refusal for want of room. Says where reading goes on if
    /// going back is given up for that.
    pub fn acked(&mut self, before: Cursor, cursor: Cursor, limited: u64, now: Duration) -> Option<Cursor> {
        if limited > 0 {
            let going_back = self.front.is_some();
            // Going back, everything before was taken; otherwise what was refused earlier still counts.
            self.from = Some(self.from.map_or(before, |from| if going_back { before } else { from.min(before) }));
            self.rests_until = now + AGAIN_EVERY;
            return self.front.take();
        }
        if let Some(front) = self.front {
            self.from = Some(cursor);
            if cursor >= front {
                (self.from, self.front) = (None, None);
            }
        }
        None
    }

    /// Where to go back to, in a lane that is read to its end at `read` and has nothing under way; `takes_all`: the peer says that it has room.
    pub fn go_back(&mut self, read: Cursor, takes_all: bool, now: Duration) -> Option<Cursor> {
        if self.front.is_some_and(|front| read >= front) {
            // Nothing of the rest is for the peer any more: what was refused has changed or ended.
            (self.from, self.front) = (None, None);
        }
        let from = self.from.filter(|_| takes_all && self.front.is_none() && now >= self.rests_until)?;
        self.front = Some(read);
        Some(from)
    }

    /// Everything after `cursor` is sent anew, for another reason.
    pub fn begin_before(&mut self, cursor: Cursor) {
        if self.from.is_some_and(|from| from >= cursor) {
            self.from = None;
        }
        self.front = None;
    }

    /// The position that counts as reached at most.
    pub fn floor(&self) -> Option<Cursor> {
        self.from
    }

    /// When [`Again::go_back`] may be asked again.
    pub fn due(&self) -> Option<Duration> {
        self.from.filter(|_| self.front.is_none()).map(|_| self.rests_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const LATER: Duration = NOW.saturating_add(AGAIN_EVERY);

    #[test]
    fn what_was_taken_is_never_offered_again() {
        let mut again = Again::default();
        assert_eq!(again.acked(0, 100, 0, NOW), None);
        assert_eq!((again.floor(), again.go_back(100, true, NOW)), (None, None));
    }

    #[test]
    fn what_was_refused_is_offered_again_from_the_first_refusal_on_when_there_is_room() {
        let mut again = Again::default();
        again.acked(100, 200, 3, NOW);
        again.acked(200, 300, 0, NOW);
        again.acked(300, 400, 1, NOW);
        assert_eq!(again.floor(), Some(100));
        assert_eq!(again.go_back(900, false, LATER), None, "the peer is full");
        assert_eq!(again.go_back(900, true, NOW), None, "not at once");
        assert_eq!(again.go_back(900, true, LATER), Some(100));
        assert_eq!(again.acked(100, 500, 0, LATER), None);
        assert_eq!(again.floor(), Some(500), "what was taken now need not be offered a third time");
        assert_eq!(again.acked(500, 900, 0, LATER), None);
        assert_eq!(
            again,
            Again {
                rests_until: LATER,
                ..Again::default()
            }
        );
    }

    #[test]
    fn what_was_refused_and_is_gone_by_then_holds_up_nothing() {
        let mut again = Again::default();
        again.acked(100, 200, 3, NOW);
        assert_eq!(again.go_back(900, true, LATER), Some(100));
        // Read to the end once more, and nothing of it was to be sent.
        assert_eq!(again.go_back(950, true, LATER), None);
        assert_eq!((again.floor(), again.due()), (None, None));
    }

    #[test]
    fn a_peer_that_is_full_again_costs_the_front_little_time() {
        let mut again = Again::default();
        again.acked(100, 200, 3, NOW);
        assert_eq!(again.go_back(900, true, LATER), Some(100));
        assert_eq!(again.acked(100, 400, 0, LATER), None);
        assert_eq!(again.acked(400, 500, 7, LATER), Some(900), "on at the front");
        assert_eq!(again.acked(500, 600, 0, LATER), None, "what was under way");
        assert_eq!(again.floor(), Some(400));
        assert_eq!(again.go_back(900, true, LATER), None);
        assert_eq!(again.due(), Some(LATER + AGAIN_EVERY));
    }
}
