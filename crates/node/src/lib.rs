//! One whole server as a value: inputs in, effects out.
//!
//! A server is a [`Core`] and its [`Front`]s. The core prepares and orders writes and keeps the
//! sessions' clock; each Front owns the connections of one I/O thread and answers their reads from
//! the tree in [`Shared`]. Neither does I/O, reads a clock or starts a thread: the host brings
//! bytes and moments and carries out [`Effect`]s. The same values run under the real host and under
//! a simulator.
//!
//! # The promise about order
//! The host applies transactions one by one ([`Core::apply_next`]) and brings each, in order, to
//! every Front ([`Front::committed`]) before that Front reads the tree again. An event therefore
//! precedes any reply that could show its change, and registering a watch needs no lock.

pub mod admin;
pub mod core;
pub mod front;
pub mod limits;
pub mod messages;
pub mod metrics;
pub mod settings;
pub mod stats;

pub use crate::core::Core;
pub use crate::front::{AdminRequest, ConnState, ConnView, Front, Shared};
pub use crate::messages::{
    AuthSet, Batch, Committed, ConnId, CoreLink, Effect, FrontId, Now, Outcome, OutcomeKind,
    OwnedToCore, Peer, ToCore, ToFront,
};
pub use crate::settings::Settings;
