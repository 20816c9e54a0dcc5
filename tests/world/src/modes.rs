//! What differs from link to link: in which form each side pushes, and what the other has of it.

use crate::{World, ready};
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::digest::Digest;
use dialtone_provider::peering::health::Progress;
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::Event;
use dialtone_provider::store::{Pointer, RecordStore};
use dialtone_shared::key::KeyChain;
use dialtone_shared::message::Mode;
use dialtone_shared::{Body, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use std::collections::BTreeMap;
use std::sync::Arc;

impl World {
    /// Changes what a provider has agreed with a peer; a link that stands hears of it.
    pub fn agree(&mut self, node: usize, peer: usize, change: impl FnOnce(&mut Agreement)) {
        let peer_name = self.nodes[peer].name;
        let mut agreements = (*self.nodes[node].agreements).clone();
        change(agreements.get_mut(&peer_name).expect("an agreement"));
        let agreements = Arc::new(agreements);
        self.nodes[node].agreements = agreements.clone();
        self.tell_ends(node, || Event::Agreed(agreements.clone()));
    }

    /// In what form `node` pushes to `peer`, as both have agreed.
    pub fn mode(&self, node: usize, peer: usize) -> Mode {
        let [ours, theirs] = [(node, peer), (peer, node)].map(|(one, other)| &self.nodes[one].agreements[&self.nodes[other].name]);
        ours.push.min(theirs.accept)
    }

    /// What `node` has heard of what `peer` holds.
    pub fn digest(&self, node: usize, peer: usize) -> Option<Arc<Digest>> {
        self.session(node, peer)?.digest().cloned()
    }

    /// How the link of `node` with `peer` is doing, if one stands.
    pub fn progress(&self, node: usize, peer: usize) -> Option<Progress> {
        self.session(node, peer).map(Session::progress)
    }

    /// Whether the agreements of both sides let records of a name pass.
    pub fn passes(&self, node: usize, peer: usize, name: &Name) -> bool {
        let ends = [(node, peer), (peer, node)];
        !ends.into_iter().any(|(one, other)| {
            let agreement = &self.nodes[one].agreements[&self.nodes[other].name];
            agreement.filter.shuts_out(name)
        })
    }

    fn session(&self, node: usize, peer: usize) -> Option<&Session> {
        let (link, end, _) = self.nodes[node].standing.get(&self.nodes[peer].name)?;
        self.links[*link].ends[*end].as_ref()
    }

    /// Every pointer that stands at a provider.
    pub fn pointers(&self, node: usize) -> BTreeMap<Name, Pointer> {
        let standing = ready(self.nodes[node].store.pointers(None, usize::MAX)).expect("a memory store");
        standing.into_iter().map(|pointer| (pointer.name, pointer)).collect()
    }
}

/// A record of the `index`-th name that can rotate, signed by its key of this epoch.
pub fn rotating(index: u32, epoch: u16, sequence: UnixMicros) -> VerifiedRecord {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let chain = KeyChain::generate(&seed, &[], 4).expect("a chain");
    let record = Record {
        genesis: chain.genesis,
        chain: chain.links[..usize::from(epoch)].to_vec(),
        sequence,
        scope: Vec::new(),
        body: Body::Live {
            expiry: sequence.secs().plus(30 * 86_400),
            ttl: Ttl(60),
            bindings: Vec::new(),
        },
    };
    let secret = SecretKey::derive(&seed, epoch);
    SignedRecord::sign(record, &secret).expect("a record").verify().expect("genuine")
}
