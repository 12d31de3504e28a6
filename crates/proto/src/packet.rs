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

mod ours;

use std::borrow::Cow;
use std::fmt;

use crate::codec::{DecodeError, Put, Reader};
use crate::connect::{begin_frame, end_frame};
use crate::ids::{SessionId, Sid, Zxid};
use crate::limits::IDENTITIES_BYTES_MAX;
use crate::op::OpCode;
use crate::stream::Split;
use crate::txn::TxnHeader;

pub use ours::{Capabilities, Ours};

/// The number that names a packet's type, open: any value may arrive (`Leader`'s constants).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketKind(pub i32);

macro_rules! packet_kinds {
    ($($name:ident = $value:literal, $java:literal;)*) => {
        #[allow(missing_docs)]
        impl PacketKind {
            $(pub const $name: PacketKind = PacketKind($value);)*

            /// ZooKeeper's name of the type, ours of one of our own, `None` for any other.
            pub fn name(self) -> Option<&'static str> {
                match self { $(PacketKind::$name => Some($java),)* _ => Ours::name(self) }
            }

            /// Every type that ZooKeeper 3.9 knows.
            pub const ALL: &'static [PacketKind] = &[$(PacketKind::$name),*];
        }
    };
}

packet_kinds! {
    REQUEST = 1, "REQUEST";
    PROPOSAL = 2, "PROPOSAL";
    ACK = 3, "ACK";
    COMMIT = 4, "COMMIT";
    PING = 5, "PING";
    REVALIDATE = 6, "REVALIDATE";
    SYNC = 7, "SYNC";
    INFORM = 8, "INFORM";
    COMMIT_AND_ACTIVATE = 9, "COMMITANDACTIVATE";
    NEW_LEADER = 10, "NEWLEADER";
    FOLLOWER_INFO = 11, "FOLLOWERINFO";
    UP_TO_DATE = 12, "UPTODATE";
    DIFF = 13, "DIFF";
    TRUNC = 14, "TRUNC";
    SNAP = 15, "SNAP";
    OBSERVER_INFO = 16, "OBSERVERINFO";
    LEADER_INFO = 17, "LEADERINFO";
    ACK_EPOCH = 18, "ACKEPOCH";
    INFORM_AND_ACTIVATE = 19, "INFORMANDACTIVATE";
}

impl fmt::Display for PacketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "packet of unknown type {}", self.0),
        }
    }
}

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
    /// What only members of ours say, and only to each other.
    Ours(Ours),
    /// A type that ZooKeeper 3.9 does not know: to be logged and ignored.
    Unknown {
        /// The number.
        kind: PacketKind,
        /// As received.
        zxid: Zxid,
        /// As received; null and empty differ.
        data: Option<&'a [u8]>,
        /// As received.
        identities: Option<Identities<'a>>,
    },
}

/// The string, with its length before it, that ends the raw snapshot behind [`Packet::Snap`].
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

/// A packet that cannot be understood. What follows it in the stream cannot be found either: the
/// connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad {kind}: {source}")]
pub struct PacketError {
    /// The type that the packet claims to be.
    pub kind: PacketKind,
    /// What is wrong with it.
    pub source: DecodeError,
}

impl<'a> Packet<'a> {
    /// The fewest bytes that a packet has: everything null.
    pub const BYTES_MIN: usize = 20;

    /// Splits the first packet off `bytes`. Nothing is allocated for it, texts with broken UTF-8
    /// apart. `data_bytes_max` bounds its data, as `jute.maxbuffer` and its extra size do in Java
    /// ([`crate::limits::FIELD_BYTES_MAX_DEFAULT`]).
    ///
    /// # Errors
    /// Lengths beyond their bounds, and data too short for the type. Bytes behind the last field of
    /// data are ignored, where they are not kept as `trailing`.
    pub fn split(
        bytes: &'a [u8],
        data_bytes_max: usize,
    ) -> Result<Split<'a, Packet<'a>>, PacketError> {
        let Some(kind) = bytes.first_chunk::<4>().filter(|_| bytes.len() >= Self::BYTES_MIN) else {
            return Ok(Split::Incomplete { needed: Self::BYTES_MIN - bytes.len() });
        };
        let kind = PacketKind(i32::from_be_bytes(*kind));
        let mut reader = Reader::with_field_max(&bytes[4..], data_bytes_max);
        match Fields::decode(kind, &mut reader) {
            Ok(fields) => match fields.packet() {
                Ok(packet) => Ok(Split::Whole(packet, reader.rest())),
                Err(source) => Err(PacketError { kind, source }),
            },
            Err(DecodeError::Truncated { needed }) => Ok(Split::Incomplete { needed }),
            Err(source) => Err(PacketError { kind, source }),
        }
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.kind().0);
        out.put_long(self.zxid().0);
        self.encode_data(out);
        match self {
            Packet::Request(ForwardedRequest { identities: Some(list), .. })
            | Packet::Unknown { identities: Some(list), .. } => out.extend_from_slice(list.raw),
            _ => out.put_int(-1),
        }
    }

    fn encode_data(&self, out: &mut Vec<u8>) {
        match self {
            Packet::Request(request) => put_data(out, |out| {
                out.put_long(request.session.0);
                out.put_int(request.cxid);
                out.put_int(request.op.0);
                out.extend_from_slice(request.body);
            }),
            Packet::Proposal { entry, .. } | Packet::Inform { entry, .. } => {
                out.put_buffer(Some(entry));
            }
            Packet::Ping { touched, .. } => out.put_buffer(touched.map(|sessions| sessions.raw)),
            Packet::Revalidate { session, timeout_ms } => put_data(out, |out| {
                out.put_long(session.0);
                out.put_int(*timeout_ms);
            }),
            Packet::Revalidated { session, valid } => put_data(out, |out| {
                out.put_long(session.0);
                out.put_bool(*valid);
            }),
            Packet::CommitAndActivate { designated_leader, .. } => {
                out.put_buffer(Some(&designated_leader.0.to_be_bytes()));
            }
            Packet::NewLeader { config, .. } => {
                out.put_buffer(config.as_deref().map(str::as_bytes));
            }
            Packet::FollowerInfo { info, .. } | Packet::ObserverInfo { info, .. } => {
                put_data(out, |out| info.encode(out));
            }
            Packet::LeaderInfo { protocol_version, trailing, .. } => put_data(out, |out| {
                out.put_int(*protocol_version);
                out.extend_from_slice(trailing);
            }),
            Packet::AckEpoch { current_epoch, .. } => {
                out.put_buffer(Some(&current_epoch.to_be_bytes()));
            }
            Packet::InformAndActivate { designated_leader, entry, .. } => put_data(out, |out| {
                out.put_long(designated_leader.0);
                out.extend_from_slice(entry);
            }),
            Packet::Ours(ours) => ours.encode_data(out),
            Packet::Unknown { data, .. } => out.put_buffer(*data),
            Packet::Ack { .. }
            | Packet::Commit { .. }
            | Packet::Sync
            | Packet::UpToDate
            | Packet::Diff { .. }
            | Packet::Trunc { .. }
            | Packet::Snap { .. } => out.put_buffer(None),
        }
    }

    /// The packet's type.
    pub fn kind(&self) -> PacketKind {
        match self {
            Packet::Request(_) => PacketKind::REQUEST,
            Packet::Proposal { .. } => PacketKind::PROPOSAL,
            Packet::Ack { .. } => PacketKind::ACK,
            Packet::Commit { .. } => PacketKind::COMMIT,
            Packet::Ping { .. } => PacketKind::PING,
            Packet::Revalidate { .. } | Packet::Revalidated { .. } => PacketKind::REVALIDATE,
            Packet::Sync => PacketKind::SYNC,
            Packet::Inform { .. } => PacketKind::INFORM,
            Packet::CommitAndActivate { .. } => PacketKind::COMMIT_AND_ACTIVATE,
            Packet::NewLeader { .. } => PacketKind::NEW_LEADER,
            Packet::FollowerInfo { .. } => PacketKind::FOLLOWER_INFO,
            Packet::UpToDate => PacketKind::UP_TO_DATE,
            Packet::Diff { .. } => PacketKind::DIFF,
            Packet::Trunc { .. } => PacketKind::TRUNC,
            Packet::Snap { .. } => PacketKind::SNAP,
            Packet::ObserverInfo { .. } => PacketKind::OBSERVER_INFO,
            Packet::LeaderInfo { .. } => PacketKind::LEADER_INFO,
            Packet::AckEpoch { .. } => PacketKind::ACK_EPOCH,
            Packet::InformAndActivate { .. } => PacketKind::INFORM_AND_ACTIVATE,
            Packet::Ours(ours) => ours.kind(),
            Packet::Unknown { kind, .. } => *kind,
        }
    }

    /// The zxid that stands on the wire; a constant where the type has none of its own.
    pub fn zxid(&self) -> Zxid {
        match self {
            Packet::Request(_)
            | Packet::Revalidate { .. }
            | Packet::Revalidated { .. }
            | Packet::UpToDate => Zxid(-1),
            Packet::Sync => Zxid::ZERO,
            Packet::Ours(ours) => ours.zxid(),
            Packet::Proposal { zxid, .. }
            | Packet::Ack { zxid }
            | Packet::Commit { zxid }
            | Packet::Ping { zxid, .. }
            | Packet::Inform { zxid, .. }
            | Packet::CommitAndActivate { zxid, .. }
            | Packet::NewLeader { zxid, .. }
            | Packet::FollowerInfo { zxid, .. }
            | Packet::Diff { zxid }
            | Packet::Trunc { zxid }
            | Packet::Snap { zxid }
            | Packet::ObserverInfo { zxid, .. }
            | Packet::LeaderInfo { zxid, .. }
            | Packet::AckEpoch { zxid, .. }
            | Packet::InformAndActivate { zxid, .. }
            | Packet::Unknown { zxid, .. } => *zxid,
        }
    }
}

/// A buffer whose length is known only behind it.
fn put_data(out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_frame(out);
    data(out);
    end_frame(out, start);
}

/// A packet as jute has it (`QuorumPacket`), before its data is understood.
struct Fields<'a> {
    kind: PacketKind,
    zxid: Zxid,
    data: Option<&'a [u8]>,
    identities: Option<Identities<'a>>,
}

impl<'a> Fields<'a> {
    /// `Truncated` means that more bytes of the stream are needed.
    fn decode(kind: PacketKind, reader: &mut Reader<'a>) -> Result<Fields<'a>, DecodeError> {
        Ok(Fields {
            kind,
            zxid: Zxid(reader.i64()?),
            data: reader.buffer()?,
            identities: Identities::decode(reader)?,
        })
    }

    /// Understands the data. `Truncated` means that it is too short for its type; null is shorter
    /// than anything.
    fn packet(self) -> Result<Packet<'a>, DecodeError> {
        let zxid = self.zxid;
        let mut data = Reader::new(self.data.unwrap_or_default());
        Ok(match self.kind {
            PacketKind::REQUEST => Packet::Request(ForwardedRequest {
                session: SessionId(data.i64()?),
                cxid: data.i32()?,
                op: OpCode(data.i32()?),
                body: data.rest(),
                identities: self.identities,
            }),
            PacketKind::PROPOSAL => Packet::Proposal { zxid, entry: entry(&data)? },
            PacketKind::ACK => Packet::Ack { zxid },
            PacketKind::COMMIT => Packet::Commit { zxid },
            PacketKind::PING => Packet::Ping {
                zxid,
                touched: self.data.map(TouchedSessions::from_raw).transpose()?,
            },
            PacketKind::REVALIDATE => {
                let session = SessionId(data.i64()?);
                match data.rest().len() {
                    0..4 => Packet::Revalidated { session, valid: data.bool()? },
                    _ => Packet::Revalidate { session, timeout_ms: data.i32()? },
                }
            }
            PacketKind::SYNC => Packet::Sync,
            PacketKind::INFORM => Packet::Inform { zxid, entry: entry(&data)? },
            PacketKind::COMMIT_AND_ACTIVATE => {
                Packet::CommitAndActivate { zxid, designated_leader: Sid(data.i64()?) }
            }
            PacketKind::NEW_LEADER => {
                Packet::NewLeader { zxid, config: self.data.map(String::from_utf8_lossy) }
            }
            PacketKind::FOLLOWER_INFO => {
                Packet::FollowerInfo { zxid, info: LearnerInfo::decode(&mut data)? }
            }
            PacketKind::UP_TO_DATE => Packet::UpToDate,
            PacketKind::DIFF => Packet::Diff { zxid },
            PacketKind::TRUNC => Packet::Trunc { zxid },
            PacketKind::SNAP => Packet::Snap { zxid },
            PacketKind::OBSERVER_INFO => {
                Packet::ObserverInfo { zxid, info: LearnerInfo::decode(&mut data)? }
            }
            PacketKind::LEADER_INFO => {
                let protocol_version = data.i32()?;
                Packet::LeaderInfo { zxid, protocol_version, trailing: data.rest() }
            }
            PacketKind::ACK_EPOCH => Packet::AckEpoch { zxid, current_epoch: data.i32()? },
            PacketKind::INFORM_AND_ACTIVATE => Packet::InformAndActivate {
                zxid,
                designated_leader: Sid(data.i64()?),
                entry: entry(&data)?,
            },
            kind => match Ours::decode(kind, zxid, &mut data)? {
                Some(ours) => Packet::Ours(ours),
                None => {
                    Packet::Unknown { kind, zxid, data: self.data, identities: self.identities }
                }
            },
        })
    }
}

/// What is left of the data as a transaction: never shorter than its header.
fn entry<'a>(data: &Reader<'a>) -> Result<&'a [u8], DecodeError> {
    data.clone().take(TxnHeader::BYTES)?;
    Ok(data.rest())
}

impl<'a> LearnerInfo<'a> {
    /// What every server since 3.4 says.
    pub const PROTOCOL_VERSION: i32 = 0x10000;

    /// Servers before 3.5 leave out the configuration's version and are refused here.
    fn decode(reader: &mut Reader<'a>) -> Result<LearnerInfo<'a>, DecodeError> {
        Ok(LearnerInfo {
            sid: Sid(reader.i64()?),
            protocol_version: reader.i32()?,
            config_version: reader.i64()?,
            trailing: reader.rest(),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.sid.0);
        out.put_int(self.protocol_version);
        out.put_long(self.config_version);
        out.extend_from_slice(self.trailing);
    }
}

impl<'a> Identities<'a> {
    /// The fewest bytes of an identity: two lengths.
    const ELEMENT_BYTES_MIN: usize = 8;

    /// A list from bytes that [`encode_identities`] or [`Identities::raw`] produced.
    ///
    /// # Errors
    /// They are something else, or null.
    pub fn from_raw(raw: &'a [u8]) -> Result<Identities<'a>, DecodeError> {
        let (mut reader, max) = (Reader::new(raw), IDENTITIES_BYTES_MAX);
        let list = Identities::decode(&mut reader)?.ok_or(DecodeError::Length { len: -1, max })?;
        match reader.rest().len() {
            0 => Ok(list),
            left => Err(DecodeError::LeftOver { left }),
        }
    }

    /// Walks the list without keeping anything. `None` is null.
    fn decode(reader: &mut Reader<'a>) -> Result<Option<Identities<'a>>, DecodeError> {
        let start = reader.rest();
        let Some(count) = reader.count()? else { return Ok(None) };
        let max = IDENTITIES_BYTES_MAX;
        let count_max = (max - 4) / Self::ELEMENT_BYTES_MIN;
        if count > count_max {
            return Err(DecodeError::Length { len: count as i32, max: count_max });
        }
        let too_long = |len: usize| DecodeError::Length { len: len as i32, max };
        let mut walk = Reader::with_field_max(reader.rest(), max);
        for strings_behind in (0..2 * count).rev() {
            match walk.buffer() {
                Ok(_) => {
                    let len = start.len() - walk.rest().len();
                    if len > max {
                        return Err(too_long(len));
                    }
                }
                Err(DecodeError::Truncated { needed }) => {
                    let needed = needed + 4 * strings_behind;
                    // All that is there belongs to the list.
                    return Err(match start.len() + needed {
                        len if len > max => too_long(len),
                        _ => DecodeError::Truncated { needed },
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let raw = &start[..start.len() - walk.rest().len()];
        *reader = walk;
        Ok(Some(Identities { raw }))
    }

    /// The encoded bytes, count included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The identities in order.
    pub fn iter(&self) -> impl Iterator<Item = Identity<'a>> + use<'a> {
        let mut reader = Reader::new(self.raw);
        let count = reader.count().ok().flatten().unwrap_or(0);
        (0..count).map_while(move |_| {
            Some(Identity { scheme: reader.opt_string().ok()?, id: reader.opt_string().ok()? })
        })
    }
}

/// Appends a list of (scheme, id).
pub fn encode_identities(out: &mut Vec<u8>, identities: &[(&str, &str)]) {
    out.put_int(identities.len() as i32);
    for (scheme, id) in identities {
        out.put_string(scheme);
        out.put_string(id);
    }
}

impl<'a> TouchedSessions<'a> {
    const ELEMENT_BYTES: usize = 12;

    /// A list from bytes that [`TouchedSessions::raw`] or [`put_touched`] produced.
    ///
    /// # Errors
    /// The last element is cut.
    pub fn from_raw(raw: &'a [u8]) -> Result<TouchedSessions<'a>, DecodeError> {
        match raw.len() % Self::ELEMENT_BYTES {
            0 => Ok(TouchedSessions { raw }),
            cut => Err(DecodeError::Truncated { needed: Self::ELEMENT_BYTES - cut }),
        }
    }

    /// The encoded bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The sessions and their timeouts in ms.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> + use<'a> {
        self.raw.chunks_exact(Self::ELEMENT_BYTES).map(|element| {
            let (session, timeout) = element.split_at(8);
            let session = i64::from_be_bytes(session.try_into().expect("8 of 12 bytes"));
            let timeout_ms = i32::from_be_bytes(timeout.try_into().expect("4 of 12 bytes"));
            (SessionId(session), timeout_ms)
        })
    }
}

/// Appends one session to what becomes [`TouchedSessions`].
pub fn put_touched(out: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
    out.put_long(session.0);
    out.put_int(timeout_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FIELD_BYTES_MAX_DEFAULT as MAX;

    fn raw(kind: i32, data: Option<&[u8]>, behind: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_int(kind);
        out.put_long(5);
        out.put_buffer(data);
        out.extend_from_slice(behind);
        out
    }

    fn split(bytes: &[u8]) -> Result<Split<'_, Packet<'_>>, PacketError> {
        Packet::split(bytes, MAX)
    }

    fn only(bytes: &[u8]) -> Packet<'_> {
        let (packet, rest) = split(bytes).unwrap().whole().expect("whole");
        assert!(rest.is_empty());
        packet
    }

    const NULL: [u8; 4] = [0xff; 4];

    #[test]
    fn the_numbers_are_zookeepers() {
        let numbers: Vec<i32> = PacketKind::ALL.iter().map(|kind| kind.0).collect();
        assert_eq!(numbers, (1..=19).collect::<Vec<_>>());
        assert_eq!(PacketKind::INFORM_AND_ACTIVATE.to_string(), "INFORMANDACTIVATE");
        assert_eq!(PacketKind(20).to_string(), "packet of unknown type 20");
    }

    #[test]
    fn an_unknown_type_is_kept_as_it_came() {
        let mut identities = Vec::new();
        encode_identities(&mut identities, &[("ip", "::1")]);
        for kind in [0, 20, -1, i32::MAX] {
            for data in [None, Some(&b""[..]), Some(b"later")] {
                for behind in [&NULL[..], &[0; 4], &identities] {
                    let bytes = raw(kind, data, behind);
                    let packet = only(&bytes);
                    let Packet::Unknown { kind: kept, data: kept_data, .. } = packet else {
                        panic!("{packet:?}")
                    };
                    assert_eq!((kept.0, kept_data), (kind, data));
                    let mut out = Vec::new();
                    packet.encode(&mut out);
                    assert_eq!(out, bytes);
                }
            }
        }
    }

    #[test]
    fn a_question_and_an_answer_of_revalidate_are_told_apart_by_length() {
        let asked = raw(6, Some(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0x75, 0x30]), &NULL);
        assert_eq!(only(&asked), Packet::Revalidate { session: SessionId(9), timeout_ms: 30_000 });
        let answered = raw(6, Some(&[0, 0, 0, 0, 0, 0, 0, 9, 1]), &NULL);
        assert_eq!(only(&answered), Packet::Revalidated { session: SessionId(9), valid: true });
    }

    #[test]
    fn a_ping_of_the_leader_is_null_and_an_answer_about_nobody_is_empty() {
        let ping = raw(5, None, &NULL);
        assert_eq!(only(&ping), Packet::Ping { zxid: Zxid(5), touched: None });
        let answer = raw(5, Some(b""), &NULL);
        let Packet::Ping { touched: Some(touched), .. } = only(&answer) else { panic!() };
        assert_eq!(touched.iter().len(), 0);
        let mut sessions = Vec::new();
        put_touched(&mut sessions, SessionId(-2), 4000);
        put_touched(&mut sessions, SessionId(3), 6000);
        let answer = raw(5, Some(&sessions), &NULL);
        let Packet::Ping { touched: Some(touched), .. } = only(&answer) else { panic!() };
        let touched: Vec<_> = touched.iter().collect();
        assert_eq!(touched, [(SessionId(-2), 4000), (SessionId(3), 6000)]);
    }

    #[test]
    fn data_too_short_for_its_type_is_an_error_and_not_a_wait() {
        let too_short = [
            (1, 16),
            (2, 32),
            (5, 11),
            (6, 9),
            (8, 32),
            (9, 8),
            (11, 20),
            (16, 20),
            (17, 4),
            (18, 4),
            (19, 40),
        ];
        for (kind, least) in too_short {
            let data = [7; 40];
            for len in [1, least - 1] {
                let bytes = raw(kind, Some(&data[..len]), &NULL);
                let error = split(&bytes).expect_err("too short");
                assert_eq!(error.kind, PacketKind(kind));
                assert!(matches!(error.source, DecodeError::Truncated { .. }), "{error}");
            }
            let bytes = raw(kind, Some(&data[..least + least % 5]), &NULL);
            assert!(kind == 5 || split(&bytes).is_ok(), "{kind}");
            assert!(kind == 5 || split(&raw(kind, None, &NULL)).is_err(), "{kind} of null");
        }
    }

    #[test]
    fn a_packet_says_how_much_more_it_takes() {
        let mut bytes = raw(2, Some(&[1; 100]), &[]);
        bytes.extend_from_slice(&NULL);
        for cut in 0..bytes.len() {
            let Ok(Split::Incomplete { needed }) = split(&bytes[..cut]) else { panic!("{cut}") };
            assert!(needed > 0 && cut + needed <= bytes.len(), "{needed} more than {cut}");
        }
        assert_eq!(split(&bytes[..20]), Ok(Split::Incomplete { needed: 96 }));
        bytes.push(3);
        let (_, rest) = split(&bytes).unwrap().whole().unwrap();
        assert_eq!(rest, [3]);
    }

    #[test]
    fn lengths_beyond_their_bounds_are_refused_before_the_bytes_come() {
        let data = |len: i32| [&raw(2, None, &[])[..12], &len.to_be_bytes(), &NULL].concat();
        assert!(matches!(split(&data(MAX as i32)), Ok(Split::Incomplete { .. })));
        for len in [MAX as i32 + 1, i32::MAX, -2] {
            let error = split(&data(len)).unwrap_err();
            assert_eq!(error.source, DecodeError::Length { len, max: MAX });
        }
        let bound = IDENTITIES_BYTES_MAX as i32;
        for (list, refused) in [
            (vec![bound / 8 - 1], false),
            (vec![bound / 8], true),
            (vec![i32::MAX], true),
            (vec![1, bound + 1], true),
            (vec![1, bound - 11], true),
            (vec![1, bound - 12], false),
            (vec![3, bound - 28], false),
            (vec![3, bound - 27], true),
            (vec![1, -2], true),
        ] {
            let list: Vec<u8> = list.iter().flat_map(|n| n.to_be_bytes()).collect();
            let result = split(&raw(1, Some(&[0; 16]), &list)).map(|_| ());
            assert_eq!(result.is_err(), refused, "{list:?}: {result:?}");
        }
    }

    #[test]
    fn a_whole_list_of_identities_is_bounded_too() {
        let id = "x".repeat(IDENTITIES_BYTES_MAX / 2 - 20);
        let mut list = Vec::new();
        encode_identities(&mut list, &[("a", &id), ("b", &id)]);
        let bytes = raw(1, Some(&[0; 16]), &list);
        let Packet::Request(request) = only(&bytes) else { panic!() };
        assert_eq!(request.identities.unwrap().iter().count(), 2);
        assert!(Identities::from_raw(&list).is_ok() && Identities::from_raw(&list[1..]).is_err());
        list.clear();
        encode_identities(&mut list, &[("a", &id), ("b", &id), ("c", "a bit too much text here")]);
        assert!(split(&raw(1, Some(&[0; 16]), &list)).is_err());
        assert!(Identities::from_raw(&NULL).is_err());
    }
}
