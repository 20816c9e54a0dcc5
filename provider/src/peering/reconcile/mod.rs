//! Finding out in which records two stores differ, at a cost that grows with the differences and hardly with the stores.
//!
//! ```text
//! initiator  Opening ─▶ Survey ─▶ probe ──▶ all equal ──────────────────────────────────────▶ Close ─▶ Done
//!                                  ▲ │
//!                                  │ ├─ most differ: split each of them into parts ─┐
//!                                  │ └─ some differ: search each for its one name   │
//!                                  │      ├─ ours, and lacking there: found         │
//!                                  │      ├─ otherwise: claim ─▶ verdict: found     │
//!                                  │      └─ more than one name: split it ──────────┤
//!                                  └────────────────────────────────────────────────┘
//! responder  Survey ─▶ (probe ─▶ which differ | claims ─▶ verdicts)* ─▶ Close
//! ```
//!
//! It is range-based set reconciliation (Meyer, arXiv 2212.13567): names in order, ranges of them compared by a fingerprint,
//! differing ones split and compared again. What is different is the fingerprint: two sums over a field from which, once a range
//! differs in one name only, that name's *tag* can be computed. So ranges need to be split only until differences lie apart, not until few
//! names are left, and the bytes per difference do not depend on how many names are held.
//!
//! Under a key drawn by both sides anew each time, every name has a tag t, a random function of the name; every record a value v, a random
//! function of name, rank and keep-until. The sum of a range is (Σ v, Σ v·t) over the field of integers modulo 2^61 − 1. The
//! difference of both sides' sums is (0, 0) if they hold the same. If one name alone differs, it is (w, w·t) with w ≠ 0, and the quotient is
//! its tag: whoever holds a name of that tag in that range knows which it is. If several differ, the quotient is as good as
//! random, and a name of that tag is found in vain once in 2^61 tries.
//!
//! **Chosen names do not help.** A sum without a key falls to anyone who may choose what is summed: equal sums of different sets
//! are computed (k-tree, Wagner 2002), and a record hides behind others. Here who chooses names and records sees neither the key
//! nor any tag, value or sum: they pass between the two providers only, under TLS. So to him v and t are random whatever he chose; for any two
//! different sets, (Σ v) is equal with probability 2^-61, and prints of 48 bits with 2^-48: per range, not per guess, because there is nothing
//! to try guesses against, and under another key the next time. Whoever knows the key is one of the two, and needs no trick to
//! leave something out. Ranges are split by the bits of the name first, which anyone can choose, but from [`Grid`] on by the bits of the
//! tag, so names that lie close together cost scanning and no rounds.
//!
//! **Memory** is the grid: at most 2^16 sums, filled by one scan over the store in order; later scans read only the buckets of
//! ranges that differ. **Work** is bounded on both sides by [`limits`]: rounds, cells, records read, names found. Who goes
//! beyond is cut, and the log is played as if nobody had compared.
//!
//! 1. [`field`]: sums, and what they give away;
//! 2. [`key`]: what is summed of a record;
//! 3. [`cells`]: ranges, and what is kept of them;
//! 4. [`initiator`], [`responder`]: the two sides;
//! 5. [`limits`]: how much is too much;
//! 6. [`when`]: when it is done at all.

pub mod cells;
pub mod field;
pub mod initiator;
pub mod key;
pub mod limits;
pub mod responder;
pub mod when;

#[cfg(test)]
mod tests;

pub use cells::{Grid, Range};
pub use initiator::Initiator;
pub use key::Item;
pub use responder::Responder;
pub use when::{Seen, is_worth_it};
