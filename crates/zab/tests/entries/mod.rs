//! Transactions as they stand in a log, for tests that put them there.
//!
//! The agreement looks into none but reconfigurations: of all others the zxid is all that counts.

use bytes::Bytes;
use oxkeeper_proto::txn::SetDataTxn;
use oxkeeper_proto::{OpCode, SessionId, Txn, TxnHeader, Zxid};
use oxkeeper_zab::Entry;
use oxkeeper_zab::quorum::QuorumVerifier;

/// One that changes nothing.
pub fn entry(zxid: Zxid) -> Entry {
    Entry { zxid, payload: Bytes::from(header(zxid, OpCode::ERROR)) }
}

/// A reconfiguration, whose zxid is the configuration's version.
pub fn reconfiguration(config: &QuorumVerifier) -> Entry {
    let zxid = Zxid(config.version());
    let mut payload = header(zxid, OpCode::RECONFIG);
    let text = config.to_string();
    let set =
        SetDataTxn { path: "/zookeeper/config".into(), data: Some(text.as_bytes()), version: -1 };
    Txn::SetData(set).encode(&mut payload);
    Entry { zxid, payload: Bytes::from(payload) }
}

fn header(zxid: Zxid, op: OpCode) -> Vec<u8> {
    let mut bytes = Vec::new();
    TxnHeader { session: SessionId(1), cxid: 0, zxid, time_ms: 0, op }.encode(&mut bytes);
    bytes
}
