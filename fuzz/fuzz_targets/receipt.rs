//! Receipts and statuses of unknown origin: refused, never a panic; and a receipt has one spelling.
#![no_main]

use dialtone_shared::receipt::{Receipt, Status};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Status::verify(bytes);
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert_eq!(receipt.encode(), bytes);
        let _ = receipt.verify();
    }
});
