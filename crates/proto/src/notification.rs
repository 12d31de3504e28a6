//! The election port: who is there, and whom they vote for.
//!
//! One connection joins each pair of servers and serves both directions. Whoever opened it says
//! [`Hello`], without a length before it; after that both sides send messages of
//! `length:int, payload`, each a [`Notification`]. Of two connections the one opened by the server
//! with the larger id stays, which is not this module's business.
//!
//! The bytes come from anybody who can reach the port, before anything is known about them. So
//! every length has a bound from [`crate::limits`], nothing is allocated before it is checked, and
//! what cannot be understood costs the message (a notification) or the connection (a hello, a
//! length), never more: `QuorumCnxManager`, `FastLeaderElection.Messenger.WorkerReceiver`.

use std::borrow::Cow;

use crate::ids::{Sid, Zxid};

/// What a server does at the moment (`QuorumPeer.ServerState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// Looking for a leader.
    Looking,
    /// Follows one, and votes.
    Following,
    /// Leads.
    Leading,
    /// Follows one, without a vote.
    Observing,
}

/// One server's vote, as told to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// What the sender does.
    pub state: PeerState,
    /// Whom it votes for; its leader if it is not looking. [`Sid::NONE`] from a looking observer.
    pub leader: Sid,
    /// The last logged zxid behind the vote, as it was when the vote was cast.
    pub zxid: Zxid,
    /// The sender's round of election, its logical clock. Starts at 0 with every process.
    pub election_epoch: i64,
    /// The epoch behind the vote. Without it in the message (before 3.4): that of the zxid.
    pub peer_epoch: i64,
    /// The form of the message: 0 if it did not say, 1 without, 2 with the configuration.
    pub version: i32,
    /// The sender's configuration, the text of `/zookeeper/config`. From version 2 on.
    pub config: Option<Cow<'a, str>>,
}

/// How a hello is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HelloForm {
    /// The id alone (3.4).
    Bare,
    /// One address (`PROTOCOL_VERSION_V1`).
    V1,
    /// All addresses (`PROTOCOL_VERSION_V2`, since 3.6 with `multiAddress.enabled`).
    V2,
}

/// A host, as a name or an IP address without brackets, and a port. Names are kept as names: they
/// are resolved anew at every dial and compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The host.
    pub host: Box<str>,
    /// The TCP port.
    pub port: u16,
}

/// The first words on a connection to the election port (`QuorumCnxManager.InitialMessage`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// How it was or is to be written.
    pub form: HelloForm,
    /// Who opened the connection.
    pub sid: Sid,
    /// Where the sender's own election port is, wildcards left out. A hint only: whoever sends a
    /// hello can claim anything. Empty: take the configured ones.
    pub addresses: Vec<Address>,
}
