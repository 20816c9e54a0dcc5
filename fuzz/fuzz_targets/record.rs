//! A payload, however strange, is refused or means one thing: what is read is written the same, but for what is passed over.
#![no_main]

use dialtone_shared::{Record, SignedRecord};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedRecord::decode(bytes.to_vec().into()) {
        assert_eq!(signed.bytes(), bytes);
        let _ = signed.verify();
    }
    if let Ok(record) = Record::decode_payload(bytes) {
        let again = record.encode_payload().expect("what is read may be written");
        assert!(again == bytes || again.len() < bytes.len());
        assert_eq!(Record::decode_payload(&again).as_ref(), Ok(&record));
    }
});
