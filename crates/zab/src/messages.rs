//! What the host and a peer say to each other: inputs, effects and why things ended.
//!
//! # The three rules of an effect
//! The host carries effects out in the order in which they come. Those that touch the disk
//! ([`Effect::Append`], [`Effect::SaveEpochs`], [`Effect::SaveEnsembleId`], [`Effect::Truncate`],
//! [`Effect::ReceiveSnapshot`], [`Effect::Reload`]) are one queue: a later one never overtakes an
//! earlier one, and each is reported by a [`Disk`] input when it would survive a power cut. Nothing
//! in this crate that relies on a write leaves before that report, so the host keeps no list of
//! held-back messages.
//!
//! # Generations
//! TRUNC and SNAP replace history instead of extending it. Each of them, and each reload after one
//! that was broken off, has a generation; a report that carries an older one is dropped.

use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::notification::PeerState;
use oxkeeper_proto::packet::{
    ForwardedRequest, Identities, LearnerInfo, Ours, Packet, TouchedSessions,
};
use oxkeeper_proto::{OpCode, SessionId, Sid, Zxid};

use crate::quorum::QuorumVerifier;
use crate::vote::{Configs, Vote};

/// One connection on the quorum port. The host numbers them and uses no number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A transaction as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order.
    pub zxid: Zxid,
    /// Header, record and digest, see [`oxkeeper_proto::Payload`].
    pub payload: Bytes,
}

/// The two promises of a server (`acceptedEpoch` and `currentEpoch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// The newest epoch whose leader was promised to be followed.
    pub accepted: u32,
    /// The newest epoch whose initial history is in the log.
    pub current: u32,
}

/// What stands on disk when a server starts.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The last transaction of log or snapshot; all up to it are in the tree.
    pub last_logged: Zxid,
    /// The promises.
    pub epochs: Epochs,
    /// The last transactions of the log, as many as the committed window takes; they end with
    /// `last_logged` or are missing.
    pub tail: Vec<Entry>,
    /// False for a database that was empty and may have held more (`db.autocreate=false` without
    /// the file `initialize`), until [`Effect::SaveTrust`]: it counts for nothing until it was
    /// synchronised, and what it may have promised does not matter any more (ZOOKEEPER-2325).
    pub trusted: bool,
    /// What `/zookeeper/config` holds in the tree, before anything is put there; empty if nothing.
    pub config: String,
}

impl Default for Recovered {
    /// A new server.
    fn default() -> Self {
        Recovered {
            last_logged: Zxid::ZERO,
            epochs: Epochs::default(),
            tail: Vec::new(),
            trusted: true,
            config: String::new(),
        }
    }
}

/// A request on its way from a learner to its leader, see
/// [`ForwardedRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The client's session.
    pub session: SessionId,
    /// Its xid.
    pub cxid: i32,
    /// What.
    pub op: OpCode,
    /// The body, as the client sent it.
    pub body: Bytes,
    /// Encoded identities, checked by whoever encoded them; `None` for the server's own requests.
    pub identities: Option<Bytes>,
}

/// Something happened. Packets come by [`crate::Peer::packet`], because they borrow.
#[derive(Debug, Clone)]
pub enum Input {
    /// Someone outside has settled who leads: this server itself, or the one to connect to. Ends
    /// an election that is under way; nothing unless this server is looking.
    Elected(Sid),
    /// Leading: someone connected to the quorum port. Learning: [`Effect::Dial`] or
    /// [`Effect::DialObserverMaster`] worked.
    Linked(LinkId),
    /// Following: an observer connected to the observer master's port
    /// (`observerMasterPort`).
    ObserverLinked(LinkId),
    /// [`Effect::Dial`] or [`Effect::DialObserverMaster`] failed.
    DialFailed(Sid),
    /// A connection ended, for whatever reason but our own [`Effect::Close`].
    Unlinked(LinkId),
    /// Bytes of a snapshot, or of a packet that is not whole yet, come in: that nothing else is
    /// heard on this link means nothing.
    Progress(LinkId),
    /// A write is on disk, or a read came back.
    Disk(Disk),
    /// For a link that asked with [`Effect::OpenSnapshot`]: this file will be streamed.
    SnapshotOpened {
        /// Who asked.
        link: LinkId,
        /// The last transaction in it.
        zxid: Zxid,
    },
    /// For a link that asked with [`Effect::SurveyLog`]; `None` if the log does not reach back so
    /// far.
    LogSurveyed {
        /// Who asked.
        link: LinkId,
        /// What stands around the learner's last transaction.
        survey: Option<LogSurvey>,
    },
    /// For a link that asked with [`Effect::ReadLog`]: the next transactions, at least one. The
    /// host may wait with it until the link has sent most of what it was given.
    LogRead {
        /// Who asked.
        link: LinkId,
        /// In order, without gaps.
        entries: Vec<Entry>,
    },
    /// The log or snapshot that a link asked for is gone or cannot be read.
    HistoryUnavailable(LinkId),
}

/// Reports of the disk, in the order of the effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The log is on disk up to and with this transaction.
    Synced(Zxid),
    /// Both epochs are.
    EpochsSaved(Epochs),
    /// The ensemble's number is.
    EnsembleIdSaved(u128),
    /// The log was cut, and log and tree end here.
    Truncated {
        /// As in the effect.
        generation: u64,
        /// The last transaction left.
        last: Zxid,
    },
    /// The received snapshot is the server's whole history, in the tree and durably: the file,
    /// its name, and no log that recovery could put behind it.
    SnapshotInstalled {
        /// As in the effect.
        generation: u64,
    },
    /// Memory was dropped and read again.
    Reloaded {
        /// As in the effect.
        generation: u64,
        /// The last transaction found.
        last: Zxid,
    },
    /// Something could not be written: this server's word is worth nothing until it is restarted.
    Failed,
}

/// Where the log on disk stands around a learner's last transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSurvey {
    /// The last logged transaction that is not behind the learner's.
    pub at_or_before: Zxid,
    /// The first one behind the learner's.
    pub after: Zxid,
    /// Size of the log files from there on.
    pub log_bytes: u64,
    /// Size of the newest snapshot.
    pub snapshot_bytes: u64,
}

/// What the host must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Connect to this server's quorum port, then report [`Input::Linked`].
    Dial(Sid),
    /// Connect to the port at which this server serves observers (`observerMasterPort`), then
    /// report [`Input::Linked`].
    DialObserverMaster(Sid),
    /// Send a packet.
    Send(LinkId, Outgoing),
    /// Hang up once everything sent before is on its way.
    Close(LinkId, Drop),
    /// Open the newest snapshot for this link, and keep it and the log behind it from being purged
    /// while the link lives. If none reaches `at_least`, write one first.
    OpenSnapshot {
        /// Who needs it.
        link: LinkId,
        /// The last transaction of ours that the learner may have acknowledged. It gives up its own
        /// log for the snapshot; an older one would take away what it is counted for, until the
        /// rest has followed, and a crash in between would lose it.
        at_least: Zxid,
    },
    /// Stream the opened snapshot and its signature to the link, before anything sent later.
    SendSnapshot(LinkId),
    /// See [`LogSurvey`].
    SurveyLog {
        /// Who asks.
        link: LinkId,
        /// The learner's last transaction.
        peer: Zxid,
    },
    /// Read some transactions of the log.
    ReadLog {
        /// Who asks.
        link: LinkId,
        /// Those behind this one.
        after: Zxid,
        /// Up to and with this one; fewer will do.
        to: Zxid,
    },
    /// Add a transaction to the log; it waits in memory until it is committed.
    Append(Entry),
    /// The same for an observer that keeps no log: memory alone.
    Hold(Entry),
    /// Write both epochs, accepted before current.
    SaveEpochs(Epochs),
    /// Keep the number that this ensemble is known by, durably, in a file of our own beside the
    /// epochs; [`crate::Settings::ensemble_id`] at the next start.
    SaveEnsembleId(u128),
    /// Forget that the data was lost ([`Recovered::trusted`]): it is whole again, and from the next
    /// start on it counts. Not reported back; who forgets it late counts late.
    SaveTrust,
    /// Cut the log behind this transaction and build the tree anew from what is left.
    Truncate {
        /// To be reported back.
        generation: u64,
        /// The last transaction to keep.
        to: Zxid,
    },
    /// A raw snapshot follows on this link: store it, load it, install it.
    ReceiveSnapshot {
        /// To be reported back.
        generation: u64,
        /// Where it comes from.
        link: LinkId,
        /// The last transaction in it.
        zxid: Zxid,
    },
    /// Memory cannot be trusted: read it anew from disk. Abandons a snapshot being received.
    Reload {
        /// To be reported back.
        generation: u64,
    },
    /// Apply the appended transactions up to and with this one.
    Commit(Zxid),
    /// Apply all that was appended, without answering anyone: the role is over, and a log is taken
    /// at its word as it is at a start.
    FastForward(Zxid),
    /// A configuration was proposed: keep its text beside the active one (`.dynamic.next`).
    ConfigSeen(Arc<QuorumVerifier>),
    /// Others need a proposed configuration, of which this server's history knows nothing: its
    /// members can be reached, and nothing is kept of it.
    ConfigHeard(Arc<QuorumVerifier>),
    /// A configuration is in force.
    ConfigActive(Arc<QuorumVerifier>),
    /// Tell a server of a vote, on the election port; it replaces one that is not sent yet.
    Notify {
        /// To whom.
        to: Sid,
        /// What we do.
        state: PeerState,
        /// Our vote.
        vote: Vote,
        /// The texts of our configurations.
        configs: Configs,
    },
    /// This server's state. Anything but the state before stops serving clients.
    State(State),
    /// The state before it may now serve clients: the epoch is established.
    Serve {
        /// The epoch.
        epoch: u32,
    },
    /// A sync that the node asked for is complete.
    Synced(SyncToken),
    /// The leader asks who was heard from: answer with [`crate::Peer::answer_ping`].
    AskTouched {
        /// To be echoed.
        zxid: Zxid,
    },
    /// Stop the server.
    Fatal(Fatal),
}

/// What a server does (`QuorumPeer.ServerState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Looking for a leader.
    Looking,
    /// The role before is over, its writes are not: nothing may be voted yet.
    Settling(Why),
    /// Leads, or tries to.
    Leading,
    /// Follows this server.
    Following(Sid),
    /// Observes this server.
    Observing(Sid),
}

/// The node's name for a sync of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncToken(pub u64);

/// A packet to be sent, owning what it carries. [`Outgoing::as_packet`] is what to encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// REQUEST.
    Request(Box<Forward>),
    /// PROPOSAL.
    Proposal(Entry),
    /// INFORM.
    Inform(Entry),
    /// COMMIT.
    Commit(Zxid),
    /// ACK.
    Ack(Zxid),
    /// PING of a leader.
    Ping(Zxid),
    /// PING of a learner: zxid and encoded sessions.
    Pong(Zxid, Bytes),
    /// SYNC.
    Sync,
    /// REVALIDATE as an answer.
    Revalidated(SessionId, bool),
    /// REVALIDATE as a question.
    Revalidate(SessionId, i32),
    /// COMMITANDACTIVATE.
    CommitAndActivate(Zxid, Sid),
    /// INFORMANDACTIVATE.
    InformAndActivate(Entry, Sid),
    /// NEWLEADER with the text of the last seen configuration.
    NewLeader(Zxid, String),
    /// UPTODATE.
    UpToDate,
    /// DIFF.
    Diff(Zxid),
    /// TRUNC.
    Trunc(Zxid),
    /// SNAP.
    Snap(Zxid),
    /// FOLLOWERINFO or OBSERVERINFO.
    Info {
        /// Accepted epoch with counter 0.
        zxid: Zxid,
        /// OBSERVERINFO.
        observer: bool,
        /// Who.
        sid: Sid,
        /// Version of the active configuration.
        config_version: i64,
        /// Capabilities.
        trailing: Bytes,
    },
    /// LEADERINFO and capabilities.
    LeaderInfo(Zxid, Bytes),
    /// ACKEPOCH: last logged and current epoch or −1.
    AckEpoch(Zxid, i32),
    /// What only members of ours are told.
    Ours(Ours),
}

impl Outgoing {
    /// The packet to encode.
    pub fn as_packet(&self) -> Packet<'_> {
        match self {
            Outgoing::Request(forward) => Packet::Request(ForwardedRequest {
                session: forward.session,
                cxid: forward.cxid,
                op: forward.op,
                body: &forward.body,
                identities: forward
                    .identities
                    .as_deref()
                    .and_then(|raw| Identities::from_raw(raw).ok()),
            }),
            Outgoing::Proposal(entry) => {
                Packet::Proposal { zxid: entry.zxid, entry: &entry.payload }
            }
            Outgoing::Inform(entry) => Packet::Inform { zxid: entry.zxid, entry: &entry.payload },
            Outgoing::Commit(zxid) => Packet::Commit { zxid: *zxid },
            Outgoing::Ack(zxid) => Packet::Ack { zxid: *zxid },
            Outgoing::Ping(zxid) => Packet::Ping { zxid: *zxid, touched: None },
            Outgoing::Pong(zxid, touched) => {
                Packet::Ping { zxid: *zxid, touched: TouchedSessions::from_raw(touched).ok() }
            }
            Outgoing::Sync => Packet::Sync,
            Outgoing::Revalidated(session, valid) => {
                Packet::Revalidated { session: *session, valid: *valid }
            }
            Outgoing::Revalidate(session, timeout_ms) => {
                Packet::Revalidate { session: *session, timeout_ms: *timeout_ms }
            }
            Outgoing::CommitAndActivate(zxid, leader) => {
                Packet::CommitAndActivate { zxid: *zxid, designated_leader: *leader }
            }
            Outgoing::InformAndActivate(entry, leader) => Packet::InformAndActivate {
                zxid: entry.zxid,
                designated_leader: *leader,
                entry: &entry.payload,
            },
            Outgoing::NewLeader(zxid, config) => {
                Packet::NewLeader { zxid: *zxid, config: Some(config.as_str().into()) }
            }
            Outgoing::UpToDate => Packet::UpToDate,
            Outgoing::Diff(zxid) => Packet::Diff { zxid: *zxid },
            Outgoing::Trunc(zxid) => Packet::Trunc { zxid: *zxid },
            Outgoing::Snap(zxid) => Packet::Snap { zxid: *zxid },
            Outgoing::Info { zxid, observer, sid, config_version, trailing } => {
                let info = LearnerInfo {
                    sid: *sid,
                    protocol_version: LearnerInfo::PROTOCOL_VERSION,
                    config_version: *config_version,
                    trailing,
                };
                if *observer {
                    Packet::ObserverInfo { zxid: *zxid, info }
                } else {
                    Packet::FollowerInfo { zxid: *zxid, info }
                }
            }
            Outgoing::LeaderInfo(zxid, trailing) => Packet::LeaderInfo {
                zxid: *zxid,
                protocol_version: LearnerInfo::PROTOCOL_VERSION,
                trailing,
            },
            Outgoing::AckEpoch(zxid, current_epoch) => {
                Packet::AckEpoch { zxid: *zxid, current_epoch: *current_epoch }
            }
            Outgoing::Ours(ours) => Packet::Ours(*ours),
        }
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more to do.
    Done,
    /// The packet is between the servers' nodes (REQUEST, REVALIDATE, the sessions in a PING): the
    /// caller still has it and hands it on, saying whom it came from.
    ForNode(Sid),
}

/// Why a link was closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Drop {
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(#[from] Violation),
    /// Nothing was heard for too long, or its acknowledgements lag.
    #[error("not heard from within the limit")]
    Silent,
    /// Our role is over.
    #[error("no longer {0}")]
    RoleOver(&'static str),
    /// The same server connected again.
    #[error("replaced by a newer connection of the same server")]
    Replaced,
    /// More connections than the limit.
    #[error("too many connections")]
    TooMany,
    /// Its history cannot be served right now; it will get a snapshot next time.
    #[error("the log that it needs cannot be read")]
    History,
    /// A voter, where a follower serves observers.
    #[error("only observers are served by a follower")]
    ObserversOnly,
    /// As many learners as are allowed are being synchronised (`LearnerSyncThrottler`).
    #[error("as many learners as may be ({max}) are being sent {what}")]
    Throttled {
        /// A snapshot, or transactions.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// It knows a configuration newer than ours.
    #[error("it has a newer configuration than this leader")]
    NewerConfig,
    /// It keeps the number of another ensemble.
    #[error("it belongs to another ensemble, {theirs:032x}; ours is {ours:032x}")]
    OtherEnsemble {
        /// What it says.
        theirs: u128,
        /// What we know.
        ours: u128,
    },
    /// It knows a longer history than ours: election should have chosen it.
    #[error("it has seen more than this leader")]
    MoreRecent,
}

/// What a peer did that ZAB forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A packet that has no place in this phase.
    #[error("unexpected {packet} while {phase}")]
    Unexpected {
        /// Its name.
        packet: &'static str,
        /// Where we were.
        phase: &'static str,
    },
    /// A transaction that does not follow the one before.
    #[error("transaction {got} does not follow {last}")]
    Gap {
        /// The last one that we have.
        last: Zxid,
        /// What came.
        got: Zxid,
    },
    /// A transaction whose header says another zxid, or that cannot be read.
    #[error("transaction {0} is not what its packet says")]
    BadEntry(Zxid),
    /// A commit out of order.
    #[error("commit of {got}, the next outstanding is {next}")]
    CommitOrder {
        /// What is to be committed next; zero for nothing.
        next: Zxid,
        /// What came.
        got: Zxid,
    },
    /// An acknowledgement of something that was never proposed.
    #[error("acknowledged {got}, proposed was {proposed}")]
    AckAhead {
        /// The last proposal.
        proposed: Zxid,
        /// What came.
        got: Zxid,
    },
    /// An epoch that is smaller than one promised before.
    #[error("epoch {got} after epoch {promised} was promised")]
    OldEpoch {
        /// The promise.
        promised: u32,
        /// What came.
        got: u32,
    },
    /// A leader that hands over says that something is committed which is not.
    #[error("handed over at {told}, committed is {committed}")]
    HandoverElsewhere {
        /// What it says.
        told: Zxid,
        /// What we know.
        committed: Zxid,
    },
    /// A position in history that the leader cannot be at.
    #[error("no history can end at {0}")]
    BadPosition(Zxid),
    /// An epoch that leaves no room for a next one: nobody can have got there.
    #[error("epoch {0:#x} cannot be real")]
    EpochTooLarge(u32),
    /// It speaks ZooKeeper 3.3's protocol.
    #[error("protocol version {0:#x} is too old")]
    Protocol(i32),
    /// Truncation to where we have no transaction.
    #[error("truncation to {to}, which is not in this log: it ended with {last}")]
    TruncatedElsewhere {
        /// The demand.
        to: Zxid,
        /// The result.
        last: Zxid,
    },
    /// More uncommitted transactions than the limit.
    #[error("too many uncommitted transactions")]
    TooMuchOutstanding,
    /// Another configuration than ours under the same version: of whoever voted differently.
    #[error("another configuration than ours has the same version {0:#x}")]
    ConfigConflict(i64),
    /// A configuration that cannot be read.
    #[error("unreadable configuration")]
    BadConfig,
}

/// Why a role ended and the next election begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The server has just started.
    #[error("started")]
    Started,
    /// Discovery or synchronisation took longer than initLimit, or than a handover may take.
    #[error("{0} took too long")]
    TooSlow(&'static str),
    /// The leader lost its quorum.
    #[error("no quorum of synchronised followers")]
    NoQuorum,
    /// The leader's own disk has not finished a write within syncLimit.
    #[error("the disk has not finished a write within syncLimit")]
    StuckDisk,
    /// A voter has promised a later epoch than the leader's: it could never follow.
    #[error("a voter has promised a later epoch")]
    Outpromised,
    /// The counter of the epoch has run out (ZOOKEEPER-1277).
    #[error("the epoch has no zxid left")]
    EpochExhausted,
    /// The connection to the leader ended or never came to be.
    #[error("the connection to the leader is lost")]
    LeaderLost,
    /// The leader was silent for too long.
    #[error("the leader was not heard from")]
    LeaderSilent,
    /// The leader keeps the number of another ensemble.
    #[error("the leader belongs to another ensemble, {theirs:032x}; ours is {ours:032x}")]
    OtherEnsemble {
        /// What it says.
        theirs: u128,
        /// What we know.
        ours: u128,
    },
    /// The leader broke the protocol.
    #[error("the leader broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// A reconfiguration changed this server's role or names another leader, which is taken as
    /// elected.
    #[error("reconfigured")]
    Reconfigured(Option<Sid>),
    /// The operator, or the host.
    #[error("asked to")]
    Asked,
    /// This server was asked to stop leading, and another took over.
    #[error("handed over to another leader")]
    HandedOver,
    /// The leader gave up in favour of this server, which is taken as elected.
    #[error("the leader has handed over to {0}")]
    Appointed(Sid),
}

/// Why the server has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The disk failed (ZOOKEEPER-3701: never go on after that).
    #[error("a write to disk failed")]
    Disk,
    /// The host reported something impossible.
    #[error("the disk reported {0}, which was never asked for")]
    Report(&'static str),
}
