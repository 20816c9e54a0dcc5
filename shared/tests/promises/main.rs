//! What the words promise, a capability a file.
//!
//! - [`names`]: flat names, their text forms, and each way of mistyping one;
//! - [`cbor`]: only one spelling is read;
//! - [`signatures`]: Ed25519 by one strict rule;
//! - [`envelope`]: COSE as others understand it, in exactly one form;
//! - [`records`]: what a record may say;
//! - [`bindings`]: what each kind of binding may hold, and which go together;
//! - [`rdata`]: which DNS data may be published;
//! - [`tampering`]: no byte of a signed record can vary;
//! - [`packets`]: packets of pkarr are records too;
//! - [`time`]: lifetimes, clocks that are ahead, floors;
//! - [`rotation`]: the one possible history of a name's keys;
//! - [`rank`]: the total order of a name's records, a join;
//! - [`receipts`]: what a provider promises, provable to anyone;
//! - [`proofs`]: two statements that cannot both be honest, shown to anyone;
//! - [`statements`]: what two providers say crossed their link, and where they differ;
//! - [`invites`]: the line by which one provider asks another to peer;
//! - [`documents`]: `docs/` says what the code does.

mod bindings;
mod cbor;
mod documents;
mod envelope;
mod invites;
mod names;
mod packets;
mod proofs;
mod rank;
mod rdata;
mod receipts;
mod records;
mod rotation;
mod signatures;
mod statements;
mod tampering;
mod time;
mod world;
