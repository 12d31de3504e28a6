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

pub mod election;
pub mod links;
pub mod quorum;
pub mod vote;
