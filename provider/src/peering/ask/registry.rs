//! The questions under way: one for all who ask the same at the same time.
//!
//! Two questions for a name are the same if whoever joins the one under way loses nothing by it and does not wait for itself:
//!
//! - what the one under way leaves out, the other leaves out too. For "nobody has it" says the less, the more were left out: who joins a
//!   question that leaves out A would take it for certain although A was not asked and, on its own way, would not be;
//! - it wants all that the other wants: what the other knows is as new, and whoever may hear the answer to the other may hear its;
//! - it has as much budget left;
//! - both may travel equally far. Every ask shortens the way by one link, so questions that wait for each other over links never close
//!   a circle. Without it three providers whose clients ask at the same moment for a name that nobody has would wait for each
//!   other, each for what the next one's client has just begun, until patience ends.

use super::limits::{QUESTIONS_MAX, QUESTIONS_OF_A_NAME_MAX};
use super::question::Ask;
use super::whom::Behalf;
use dialtone_shared::Name;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The number of a question under way.
pub type Ticket = u64;

/// Questions under way, each with something by which those who joined it are told.
#[derive(Debug)]
pub struct Registry<T> {
    by_name: HashMap<Name, Vec<Entry<T>>>,
    count: usize,
    last: Ticket,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    behalf: Behalf,
    ask: Ask,
    ears: T,
}

/// Too many questions are under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many questions are under way")]
pub struct Full;

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            count: 0,
            last: 0,
        }
    }
}

impl<T: Clone> Registry<T> {
    /// The question under way that is as good as this one.
    pub fn join(&self, behalf: Behalf, ask: &Ask) -> Option<T> {
        let entries = self.by_name.get(&ask.name)?;
        let same = entries.iter().find(|entry| serves(entry, behalf, ask));
        same.map(|entry| entry.ears.clone())
    }

    /// A new question is under way.
    ///
    /// # Errors
    /// [`Full`]: in all, or of this name.
    pub fn begin(&mut self, behalf: Behalf, ask: &Ask, ears: T) -> Result<Ticket, Full> {
        let of_name = self.by_name.get(&ask.name).map_or(0, Vec::len);
        if self.count >= QUESTIONS_MAX || of_name >= QUESTIONS_OF_A_NAME_MAX {
            return Err(Full);
        }
        self.count += 1;
        self.last += 1;
        let ticket = self.last;
        let ask = ask.clone();
        let entry = Entry { ticket, behalf, ask, ears };
        self.by_name.entry(entry.ask.name).or_default().push(entry);
        Ok(ticket)
    }

    /// A question is over.
    pub fn end(&mut self, name: &Name, ticket: Ticket) {
        let Some(entries) = self.by_name.get_mut(name) else { return };
        let before = entries.len();
        entries.retain(|entry| entry.ticket != ticket);
        self.count -= before - entries.len();
        if entries.is_empty() {
            self.by_name.remove(name);
        }
    }

    /// Questions under way.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn serves<T>(entry: &Entry<T>, behalf: Behalf, ask: &Ask) -> bool {
    let wants_more = match (&entry.ask.known, &ask.known) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(theirs), Some(ours)) => matches!(theirs.compare(ours), Some(Ordering::Less | Ordering::Equal)),
    };
    entry.behalf == behalf
        && entry.ask.hops == ask.hops
        && entry.ask.budget >= ask.budget
        && wants_more
        && entry.ask.visited.iter().all(|mark| ask.visited.binary_search(mark).is_ok())
}
