//! One log entry's payload: transaction header, record, digest.
//!
//! Holds whatever comes: nothing panics, a multi's sub-transactions can be walked, and what was
//! decoded encodes to bytes that decode to the same, once its texts have been repaired.

use oxkeeper_proto::{Payload, Txn};

/// One payload.
pub fn run(data: &[u8]) {
    let Ok(payload) = Payload::decode(data) else { return };
    if let Txn::Multi(multi) = &payload.txn {
        let _ = multi.failure();
        let _ = multi.iter().count();
    }
    let mut once = Vec::new();
    payload.encode(&mut once);
    let second = Payload::decode(&once).expect("our own bytes decode");
    assert_eq!(second.header, payload.header);
    let mut twice = Vec::new();
    second.encode(&mut twice);
    assert_eq!(Payload::decode(&twice).expect("our own bytes decode"), second);
}
