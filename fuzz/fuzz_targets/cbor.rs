//! The CBOR reader accepts only what the writer writes: any item is read piece by piece and written again.
#![no_main]

use dialtone_shared::cbor::{Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut whole = Reader::new(bytes);
    if whole.skip().is_ok() && whole.finish().is_ok() {
        let mut w = Writer::new();
        copy(&mut Reader::new(bytes), bytes, &mut w);
        assert_eq!(w.into_bytes(), bytes);
    }
});

/// Reads one item by its type and writes it. What was stepped over can be read.
fn copy(r: &mut Reader<'_>, bytes: &[u8], w: &mut Writer) {
    match bytes[r.position()] >> 5 {
        0 => drop(w.uint(r.uint().expect("a number"))),
        1 => {
            // The smallest of these are below i64; their spelling is their own.
            let at = r.position();
            match r.int() {
                Ok(value) => drop(w.int(value)),
                Err(_) => drop(w.raw(&bytes[at..r.position()])),
            }
        }
        2 => drop(w.bytes(r.bytes().expect("bytes"))),
        3 => drop(w.text(r.text().expect("text"))),
        4 => {
            let count = r.array().expect("an array");
            w.array(count as usize);
            (0..count).for_each(|_| copy(r, bytes, w));
        }
        5 => {
            // Maps here may have keys of any type, which only stepping over reads.
            let at = r.position();
            r.skip().expect("a map");
            w.raw(&bytes[at..r.position()]);
        }
        _ if r.null() => drop(w.null()),
        _ => drop(w.bool(r.bool().expect("true or false"))),
    }
}
