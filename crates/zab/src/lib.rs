//! Agreement as a value: who leads an ensemble, and what it has committed.
//!
//! An ensemble's members elect a leader on one port and follow it on another. Both protocols are
//! Apache ZooKeeper's, byte for byte, because any other member may be one of Apache's servers.
//! Nothing in here does I/O, reads a clock or draws a number: packets, moments and reports of the
//! disk come in, and what is to be sent, stored or awaited comes out. The same values run under
//! the real host and under a simulator.
//!
//! # Election
//! [`quorum`] holds the ensemble's configuration and says which sets of servers decide.
//! [`vote`] compares ballots. [`election`] is FastLeaderElection: rounds of votes until a quorum
//! agrees, and the answers that settled servers give to those still looking. [`links`] decides
//! which of two crossing connections between a pair of servers stays, and what is sent on it.
//!
//! # Broadcast
//! [`peer`] is a server's whole part in its ensemble: it runs the election, takes the role that it
//! decides and goes back to it; its essay says how a node uses all this. [`leader`] and [`learner`]
//! are the two sides of ZAB, [`sync_plan`] how a learner gets the leader's history. What outlives a
//! role, history above all, is in [`ledger`] and [`cursors`]; what goes in and out, in
//! [`messages`]. [`reconfig`] judges what a client wants the ensemble to become.
//!
//! # Among ours
//! What goes beyond Apache's rules is said only to servers that said they know it: a leader that
//! stops hands over (`leader::handover`), both sides notice soon that the other is lost
//! (`leader::pulse`, [`running`]), and ensembles tell each other apart (`leader::ensemble`).

pub mod cursors;
pub mod election;
pub mod leader;
pub mod learner;
pub mod ledger;
pub mod links;
pub mod messages;
pub mod peer;
pub mod quorum;
pub mod reconfig;
pub mod running;
pub mod settings;
pub mod sync_plan;
pub mod vote;
pub mod wrong;

pub use messages::{
    Disk, Effect, Entry, Epochs, Forward, Input, LinkId, LogSurvey, Outgoing, Recovered, State,
    SyncToken, Verdict, Why,
};
pub use peer::Peer;
pub use settings::Settings;
