//! Searches for whoever has a tag: the real search and the real index, over the gets and the questions of the world.
//!
//! Does what `io::peering::ask` does for tags. Every answer is watched: see [`watch`](super::watch).

use super::questions::Whom;
use super::{DiskStore, World, ready};
use dialtone_provider::io::hits::Hits;
use dialtone_provider::peering::ask::desk::{Reply, found_held};
use dialtone_provider::peering::ask::tagged::{Entered, Search, Step};
use dialtone_provider::store::RecordStore;
use dialtone_shared::Name;
use dialtone_shared::hip::Hit;
use dialtone_shared::message::Query;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a provider knows of tags, and searches.
#[derive(Default)]
pub(crate) struct Tags {
    /// Over which store, since one that was lost is another.
    index: Option<(Arc<DiskStore>, Hits)>,
    under_way: BTreeMap<u64, Tagged>,
}

/// A search under way.
struct Tagged {
    tag: Hit,
    search: Search,
    whom: Whom,
}

/// What a search asks: its number, for which tag, for which peer, and what it is about to find out.
pub(crate) struct Part {
    pub(crate) search: u64,
    pub(crate) tag: Hit,
    pub(crate) asker: Option<(Name, Query)>,
    pub(crate) step: Step,
}

impl World {
    /// Asks for a tag as a client would: the number under which the answer will be found.
    pub fn get_tag(&mut self, node: usize, tag: Hit) -> u64 {
        self.next += 1;
        let get = self.next;
        if self.nodes[node].up {
            self.search(node, tag, Whom::Client(get));
        }
        get
    }

    /// Searches for a client or a peer.
    pub(crate) fn search(&mut self, node: usize, tag: Hit, whom: Whom) {
        let entered = self.entered(node, &tag);
        let search = Search::new(tag, matches!(whom, Whom::Client(_)), entered);
        self.next += 1;
        let number = self.next;
        let under_way = &mut self.nodes[node].asker.tags.under_way;
        under_way.insert(number, Tagged { tag, search, whom });
        self.go_on(node, number);
    }

    /// A part of a search has come to something.
    pub(crate) fn searched(&mut self, node: usize, number: u64, reply: Reply) {
        let wall = self.wall(node);
        if let Some(tagged) = self.nodes[node].asker.tags.under_way.get_mut(&number) {
            tagged.search.replied(reply, wall);
            self.go_on(node, number);
        }
    }

    fn go_on(&mut self, node: usize, number: u64) {
        let Some(tagged) = self.nodes[node].asker.tags.under_way.get(&number) else {
            return;
        };
        let (tag, step) = (tagged.tag, tagged.search.step().clone());
        let asker = match &tagged.whom {
            Whom::Peer { peer, query, .. } => Some((*peer, query.clone())),
            Whom::Client(_) | Whom::Search(_) => None,
        };
        let name = match &step {
            Step::Name(name, _) => *name,
            Step::Peers => tag.place(),
            Step::Newest(name) => match self.held(node, name).filter(|_| self.is_whole(node)) {
                Some(held) => {
                    let found = found_held(&held, held.record.record().ttl_at(self.wall(node)));
                    return self.searched(node, number, Reply::Record(found));
                }
                None => *name,
            },
            Step::Entered => {
                let entered = self.entered(node, &tag);
                if let Some(tagged) = self.nodes[node].asker.tags.under_way.get_mut(&number) {
                    tagged.search.entered(&entered);
                }
                return self.go_on(node, number);
            }
            Step::Done(reply) => return self.found_by_tag(node, number, reply.clone()),
        };
        let part = Part {
            search: number,
            tag,
            asker,
            step,
        };
        self.resolve(node, Whom::Search(part), name);
    }

    fn found_by_tag(&mut self, node: usize, number: u64, reply: Reply) {
        let Some(Tagged { tag, whom, .. }) = self.nodes[node].asker.tags.under_way.remove(&number) else {
            return;
        };
        if let Reply::Record(found) = &reply {
            // What a peer is told it asks about by its name before any client hears of it.
            let client = matches!(whom, Whom::Client(_));
            let held = self.held(node, found.record.name()).filter(|_| client);
            if let Some(watch) = &mut self.watch {
                watch.tagged(node, &tag, &found.record, held.as_ref().map(|held| &held.record));
            }
        }
        self.answer_whom(node, whom, tag.place(), reply);
    }

    /// What is entered under a tag.
    fn entered(&mut self, node: usize, tag: &Hit) -> Entered {
        let (wall, state) = (self.wall(node), &mut self.nodes[node]);
        let index = state.asker.tags.index.take().filter(|(store, _)| Arc::ptr_eq(store, &state.store));
        let (_, hits) = state.asker.tags.index.insert(index.unwrap_or_else(|| {
            let store: Arc<dyn RecordStore> = state.store.clone();
            (state.store.clone(), Hits::new(store))
        }));
        ready(hits.names(tag, wall)).expect("a disk that works")
    }
}
