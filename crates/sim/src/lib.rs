//! The simulator: whole servers with their clients, disks and networks, in one process, from one
//! seed, in virtual time.
//!
//! What runs is what ships: the node's core and Fronts, the log and snapshot workers, recovery and
//! the files. What is simulated is what they stand on: time, threads, sockets, and a disk that
//! loses power. A run is a storm, a healing and a judgement; a seed gives the same run every time,
//! byte for byte of its trace, so that whatever is found can be looked at again.
//!
//! | module | holds |
//! |---|---|
//! | [`agenda`], [`dice`], [`trace`] | virtual time, the order of events, chance, what happened |
//! | [`net`] | wires that are late, stall, are cut one way, break |
//! | [`server`] | a host for one server, and what it can do wrong on purpose |
//! | [`workload`], [`asked`] | clients and what they ask |
//! | [`world`] | all of it together, and the storm |
//! | [`history`], [`model`], [`replay`] | what was seen, and what should have been |
//! | [`invariants`] | what must hold of every run |
//! | [`report`] | a run and what is said of it |
//!
//! `storm` runs one seed or many:
//! `cargo storm --seed 7`.

pub mod agenda;
pub mod asked;
pub mod dice;
pub mod history;
pub mod invariants;
pub mod model;
pub mod net;
pub mod replay;
pub mod report;
pub mod server;
pub mod trace;
pub mod workload;
pub mod world;

pub use report::{Report, Volume};
pub use world::{Plan, World};
