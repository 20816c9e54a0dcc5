//! A search for whoever has a tag: through the names that may have it here, then at the peers, and whether the key that is found has it.
//!
//! ```text
//!  new ─▶ each name that is entered, by its name ─ one whose key has the tag ─▶ a peer asks: Done
//!               │ none                                                          a client: its name, as ever ─▶ Done
//!               ▼                                                                     ▲
//!         the peers, by the tag ─ a record ──────────────────────────────────────────┘
//!               │ nobody has it
//!               ▼
//!         what has come in meanwhile ─▶ Done
//! ```
//!
//! What is entered is no more than a hint: the key may have changed since, and a pointer says what anybody likes. So nothing is answered whose key was
//! not looked at, and for a client it is asked by its name whether that is still the newest.

use super::desk::Reply;
use super::question::Found;
use crate::planted::{self, Bug};
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, Record, UnixSecs};

/// What is entered under a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entered {
    /// The names that may have it, those of records that were seen first; whether they have it, their records say.
    pub names: Vec<Name>,
    /// Why there may be others.
    pub doubt: Option<&'static str>,
}

/// What to find out next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// What is known of this name, for whoever asks; so many share what a peer may cause.
    Name(Name, usize),
    /// What the peers find by the tag.
    Peers,
    /// What is entered by now.
    Entered,
    /// What a client is answered who asks for this name.
    Newest(Name),
    /// Nothing: this is the answer.
    Done(Reply),
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    tag: Hit,
    /// Whether a client asks, and not a peer.
    client: bool,
    names: Vec<Name>,
    /// How many of them have been asked for.
    asked: usize,
    best: Option<Found>,
    doubt: Option<String>,
    step: Step,
}

impl Search {
    /// A search among these names first, for a client or for a peer.
    pub fn new(tag: Hit, client: bool, entered: Entered) -> Self {
        let mut search = Self {
            tag,
            client,
            names: entered.names,
            asked: 0,
            best: None,
            doubt: entered.doubt.map(str::to_owned),
            step: Step::Peers,
        };
        search.next_name();
        search
    }

    /// What to find out next, until it is done.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Takes in what [`Step::Name`], [`Step::Peers`] or [`Step::Newest`] came to.
    pub fn replied(&mut self, reply: Reply, now: UnixSecs) {
        match self.step {
            Step::Name(..) => {
                match reply {
                    // The key may have changed since it was entered: then it has another tag.
                    Reply::Record(found) if self.is_of(found.record.record()) && !found.is_over(now) => {
                        if self.best.as_ref().is_none_or(|best| found.record.outranks(&best.record)) {
                            self.best = Some(found);
                        }
                    }
                    Reply::Record(_) | Reply::NotNewer { .. } | Reply::Absent => {}
                    Reply::Unknown(why) => self.doubt = Some(why),
                    Reply::Busy => self.doubt = Some("too much is being asked".to_owned()),
                }
                self.asked += 1;
                self.next_name();
            }
            Step::Peers => {
                self.step = match reply {
                    Reply::Absent => Step::Entered,
                    Reply::Record(found) => self.found(found),
                    reply => Step::Done(reply),
                };
            }
            Step::Newest(_) => {
                self.step = Step::Done(match reply {
                    Reply::Record(found) if self.is_of(found.record.record()) => Reply::Record(found),
                    Reply::Record(_) | Reply::Absent => Reply::Unknown(
                        "a peer tells of a name by a key that no longer speaks for it, and may not know of another".to_owned(),
                    ),
                    reply => reply,
                });
            }
            Step::Entered | Step::Done(_) => {}
        }
    }

    /// Takes in what [`Step::Entered`] came to: a name that came in after the others were looked for, and before all peers were seen to have nothing, may be the
    /// one.
    pub fn entered(&mut self, entered: &Entered) {
        if entered.names != self.names {
            self.doubt.get_or_insert_with(|| "it came in meanwhile".to_owned());
        }
        self.step = Step::Done(self.doubt.take().map_or(Reply::Absent, Reply::Unknown));
    }

    fn next_name(&mut self) {
        self.step = match (self.names.get(self.asked), self.best.take()) {
            (Some(name), best) => {
                self.best = best;
                Step::Name(*name, self.names.len() + 1)
            }
            (None, Some(best)) => self.found(best),
            (None, None) => Step::Peers,
        };
    }

    /// Whoever gave it need not have the newest: for a client that is asked by its name, as ever.
    fn found(&self, found: Found) -> Step {
        match self.client {
            true => Step::Newest(*found.record.name()),
            false => Step::Done(Reply::Record(found)),
        }
    }

    fn is_of(&self, record: &Record) -> bool {
        self.tag.is_of(record) || planted::is(Bug::AnyTag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Class;
    use dialtone_shared::key::KeyChain;
    use dialtone_shared::{Body, SecretKey, SignedRecord, Ttl, UnixMicros};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);

    /// A record of the `index`-th name under its `epoch`-th key, and the tag of that key.
    fn found(index: u8, epoch: u16) -> (Found, Hit) {
        let KeyChain { genesis, links } = KeyChain::generate(&[index; 32], b"", 1).unwrap();
        let secret = SecretKey::derive(&[index; 32], epoch);
        let record = Record {
            genesis,
            chain: links[..usize::from(epoch)].to_vec(),
            sequence: UnixMicros(NOW.0 * 1_000_000),
            scope: Vec::new(),
            body: Body::Live {
                expiry: NOW.plus(60),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        let record = SignedRecord::sign(record, &secret).unwrap().verify().unwrap();
        let found = Found {
            record,
            class: Class::Peer,
            keep_until: NOW.plus(60),
            fresh: Ttl(60),
        };
        (found, Hit::of(&secret.public()))
    }

    fn entered(of: &[&Found]) -> Entered {
        let names = of.iter().map(|one| *one.record.name()).collect();
        Entered { names, doubt: None }
    }

    #[test]
    fn a_name_whose_key_was_replaced_is_not_found_by_the_tag_of_the_old_one() {
        let ((old, tag), (new, new_tag)) = (found(1, 0), found(1, 1));
        let name = *old.record.name();
        let search = |tag, replies: [Reply; 2]| {
            let mut search = Search::new(tag, true, entered(&[&old]));
            assert_eq!(search.step(), &Step::Name(name, 2));
            for reply in replies {
                search.replied(reply, NOW);
            }
            search
        };
        let record = |found: &Found| Reply::Record(found.clone());
        assert_eq!(search(new_tag, [record(&new), record(&new)]).step(), &Step::Done(record(&new)));
        let mut gone = search(tag, [record(&new), Reply::Absent]);
        gone.entered(&entered(&[&old]));
        assert_eq!(gone.step(), &Step::Done(Reply::Absent));
        // Who gave it lags behind: nothing certain is said.
        let stale = search(tag, [record(&old), record(&new)]);
        assert!(matches!(stale.step(), Step::Done(Reply::Unknown(_))), "{stale:?}");
    }

    #[test]
    fn a_peer_is_given_what_is_found_and_a_client_the_newest_of_that_name() {
        let (one, tag) = found(1, 0);
        for client in [false, true] {
            let mut search = Search::new(tag, client, entered(&[]));
            assert_eq!(search.step(), &Step::Peers);
            search.replied(Reply::Record(one.clone()), NOW);
            let expected = match client {
                true => Step::Newest(*one.record.name()),
                false => Step::Done(Reply::Record(one.clone())),
            };
            assert_eq!(search.step(), &expected);
        }
    }

    #[test]
    fn nobody_has_a_tag_only_if_nothing_came_in_and_every_name_could_be_asked_for() {
        let ((one, tag), (other, _)) = (found(1, 0), found(2, 0));
        let done = |reply, after: &Entered| {
            let mut search = Search::new(tag, true, entered(&[&other]));
            search.replied(reply, NOW);
            search.replied(Reply::Absent, NOW);
            assert_eq!(search.step(), &Step::Entered);
            search.entered(after);
            search.step().clone()
        };
        let (same, more) = (entered(&[&other]), entered(&[&other, &one]));
        assert_eq!(done(Reply::Absent, &same), Step::Done(Reply::Absent));
        assert!(matches!(done(Reply::Absent, &more), Step::Done(Reply::Unknown(_))));
        assert!(matches!(done(Reply::Busy, &same), Step::Done(Reply::Unknown(_))));
        let expired = NOW.plus(61);
        let mut search = Search::new(tag, true, entered(&[&one]));
        search.replied(Reply::Record(one), expired);
        assert_eq!(search.step(), &Step::Peers, "what is over is not served");
    }
}
