//! A client of ZooKeeper's protocol, of Oxkeeper and of Apache ZooKeeper alike.
//!
//! What a client must get right has nothing to do with sockets: which session it has and for how
//! long, which request an answer belongs to, whether a lost request happened, which watches are
//! armed and who is told. All of that is a value, [`core::Client`]: it is fed bytes and moments and
//! asked for effects. Whatever owns the sockets and the clock is its host; a simulator is as good a
//! host as a runtime, and the same inputs give the same effects, byte for byte.

pub mod core;
