//! Bytes to types and back: everything that crosses a socket or a file.
//!
//! This room knows ZooKeeper's formats and nothing else. Requests, transactions and their lists
//! borrow from the bytes they came in; only decoding can fail, and it says whose bytes were wrong.
//! The formats themselves are drawn in `docs/wire.md` and `docs/disk.md`.
//!
//! | module | holds |
//! |---|---|
//! | [`codec`] | jute's primitives |
//! | [`ids`] | [`Zxid`], [`SessionId`], [`Sid`] |
//! | [`data`] | `Stat`, ACLs, lists |
//! | [`op`], [`error_code`] | operation numbers, create modes, outcomes |
//! | [`request`], [`response`], [`connect`] | the client protocol |
//! | [`txn`] | what the log holds |
//! | [`stream`] | records on a stream without lengths |
//! | [`quorum_auth`] | SASL between servers |
//! | [`notification`] | the election port: hello, votes |
//! | [`packet`] | the quorum port: proposals, acks and all else between leader and learner |
//! | [`admin_word`] | the four-letter words |
//! | [`limits`] | bounds, each with its reason |

pub mod admin_word;
pub mod codec;
pub mod connect;
pub mod data;
pub mod error_code;
pub mod ids;
pub mod limits;
pub mod notification;
pub mod op;
pub mod packet;
pub mod quorum_auth;
pub mod request;
pub mod response;
pub mod stream;
pub mod txn;

pub use admin_word::AdminWord;
pub use codec::{DecodeError, Put, Reader};
pub use data::{Acl, AclList, OPEN_ACL_UNSAFE, Stat, StatPersisted, StringList, perms};
pub use error_code::ErrorCode;
pub use ids::{SessionId, Sid, Zxid};
pub use notification::{Hello, Notification, PeerState};
pub use op::{CreateMode, OpCode};
pub use packet::{Capabilities, LearnerInfo, Packet, PacketKind};
pub use quorum_auth::QuorumAuth;
pub use request::{Class, MultiOp, Request};
pub use stream::Split;
pub use txn::{Payload, Txn, TxnDigest, TxnHeader};
