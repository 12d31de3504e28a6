//! The quorum port: everything between a leader and its learners.
//!
//! Both directions are a plain stream of `QuorumPacket` records, `type:int zxid:long data:buffer
//! authinfo:list<Id>`, with no length before them. What `data` holds depends on the type; past this
//! module there is no raw type and no raw data any more, but one [`Packet`] variant per type.
//! Payloads borrow from the bytes that they came in.
//!
//! After [`Packet::Snap`] the leader sends a raw snapshot that ends with the string `BenWasHere`;
//! the stream goes on with packets behind it. The snapshot is not this module's business.
//!
//! Members of ours recognise each other by [`Capabilities`], bytes behind the fields of LearnerInfo
//! and LEADERINFO that Apache's servers never look at.

use std::borrow::Cow;

use crate::ids::{SessionId, Sid, Zxid};
use crate::op::OpCode;

/// The number that names a packet's type, open: any value may arrive (`Leader`'s constants).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketKind(pub i32);

/// What a learner says of itself when it connects (`LearnerInfo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnerInfo<'a> {
    /// Its server id.
    pub sid: Sid,
    /// [`LearnerInfo::PROTOCOL_VERSION`]; smaller ones speak an older ZAB.
    pub protocol_version: i32,
    /// The version of its active configuration: the zxid that made it, 0 for the one in the file.
    pub config_version: i64,
    /// Bytes behind the last field: see [`Capabilities::from_trailing`]. Empty from Apache's.
    pub trailing: &'a [u8],
}

/// A client's request on its way from a learner to the leader. Data of REQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardedRequest<'a> {
    /// The client's session.
    pub session: SessionId,
    /// The client's xid; 0 for createSession and for what the learner itself asks.
    pub cxid: i32,
    /// The operation.
    pub op: OpCode,
    /// The request's body as the client sent it, see [`crate::Request::decode`].
    pub body: &'a [u8],
    /// Whom the connection has proved to be; `None` when the learner itself asks.
    pub identities: Option<Identities<'a>>,
}

/// One (scheme, id) that a connection has proved (`Id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The authentication scheme.
    pub scheme: Option<Cow<'a, str>>,
    /// The identity within the scheme.
    pub id: Option<Cow<'a, str>>,
}

/// A list of identities, still encoded: count and elements, checked when it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identities<'a> {
    raw: &'a [u8],
}

/// The sessions heard from on a learner since its last answer, still encoded: (session:long
/// timeout_ms:int) each, with no count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TouchedSessions<'a> {
    raw: &'a [u8],
}

/// A packet of the quorum port. L→ marks what a learner sends, →L what it receives.
///
/// Fields that ZooKeeper fills with a constant (zxid −1 or 0) are not kept. *Entry* is a whole
/// transaction as it stands in the log, see [`crate::Payload`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// L→ A client's write, or sync.
    Request(ForwardedRequest<'a>),
    /// →L A transaction put to the vote.
    Proposal {
        /// The transaction's.
        zxid: Zxid,
        /// The transaction.
        entry: &'a [u8],
    },
    /// L→ The transaction is on disk; with the zxid of NEWLEADER: so is the whole history.
    Ack {
        /// What is acknowledged.
        zxid: Zxid,
    },
    /// →L A proposal is accepted.
    Commit {
        /// The proposal's.
        zxid: Zxid,
    },
    /// →L Are you there? and the answer L→.
    Ping {
        /// The last one proposed; echoed.
        zxid: Zxid,
        /// `None` →L; L→ who was heard from.
        touched: Option<TouchedSessions<'a>>,
    },
    /// L→ A session wants to move here: is it alive? (REVALIDATE)
    Revalidate {
        /// The session.
        session: SessionId,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// →L The answer; same type on the wire, told apart by its length.
    Revalidated {
        /// The session.
        session: SessionId,
        /// It lives, and the asker owns it now.
        valid: bool,
    },
    /// →L Everything that was outstanding when the oldest pending sync arrived is committed.
    Sync,
    /// →L To observers: a committed transaction.
    Inform {
        /// The transaction's.
        zxid: Zxid,
        /// The transaction.
        entry: &'a [u8],
    },
    /// →L A reconfiguration is accepted.
    CommitAndActivate {
        /// The proposal's.
        zxid: Zxid,
        /// Who leads from now on.
        designated_leader: Sid,
    },
    /// →L The end of the synchronisation, to be acknowledged once it is durable.
    NewLeader {
        /// The first zxid of the new epoch: counter 0.
        zxid: Zxid,
        /// The last configuration seen; the text of `/zookeeper/config`.
        config: Option<Cow<'a, str>>,
    },
    /// L→ First words of a voter. The zxid is its accepted epoch with counter 0.
    FollowerInfo {
        /// Accepted epoch.
        zxid: Zxid,
        /// Who it is.
        info: LearnerInfo<'a>,
    },
    /// →L A quorum has acknowledged: serve.
    UpToDate,
    /// →L The missing transactions follow.
    Diff {
        /// The last one committed.
        zxid: Zxid,
    },
    /// →L Forget everything behind this zxid.
    Trunc {
        /// The last one to keep.
        zxid: Zxid,
    },
    /// →L A raw snapshot follows.
    Snap {
        /// The last transaction in it.
        zxid: Zxid,
    },
    /// L→ First words of an observer.
    ObserverInfo {
        /// Accepted epoch.
        zxid: Zxid,
        /// Who it is.
        info: LearnerInfo<'a>,
    },
    /// →L The new epoch.
    LeaderInfo {
        /// The new epoch with counter 0.
        zxid: Zxid,
        /// [`LearnerInfo::PROTOCOL_VERSION`].
        protocol_version: i32,
        /// As in [`LearnerInfo`].
        trailing: &'a [u8],
    },
    /// L→ The epoch is accepted.
    AckEpoch {
        /// The last logged zxid.
        zxid: Zxid,
        /// The current epoch; −1 if this epoch had been accepted before: counts for nothing.
        current_epoch: i32,
    },
    /// →L To observers: a committed reconfiguration.
    InformAndActivate {
        /// The transaction's.
        zxid: Zxid,
        /// Who leads from now on.
        designated_leader: Sid,
        /// The transaction.
        entry: &'a [u8],
    },
    /// A type that ZooKeeper 3.9 does not know: to be logged and ignored.
    Unknown {
        /// The number.
        kind: PacketKind,
        /// As received.
        zxid: Zxid,
        /// As received; null and empty differ.
        data: Option<&'a [u8]>,
    },
}

/// What a member of ours can do beyond Apache's rules, and which ensemble it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// One bit per ability, see the constants. Unknown bits are ignored.
    pub bits: u64,
    /// A number drawn at random when the ensemble was first formed; 0 if not known yet.
    pub ensemble_id: u128,
}

impl LearnerInfo<'_> {
    /// What every server since 3.4 says.
    pub const PROTOCOL_VERSION: i32 = 0x10000;
}

impl<'a> Identities<'a> {
    /// The encoded bytes, count included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

impl<'a> TouchedSessions<'a> {
    /// The encoded bytes, 12 per session.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}
