//! The peers: real ZooKeeper, and the real clients that Oxkeeper must satisfy.
//!
//! Nothing proves a server like the programs it was written for. This module fetches them, pinned,
//! by the package managers their users use (Maven, pip), keeps them in one cache directory, starts
//! servers (Apache's or ours, behind one type) and runs foreign programs against whichever of them:
//!
//! * [`Peers::ensure`] makes the cache complete: Apache ZooKeeper and Curator from `peers/java`,
//!   kazoo from `peers/kazoo`; on a bare Debian machine also the JDK, Maven and Python's venv.
//! * [`Peers::apache`] adds an older [`Release`] of the server, for ensembles of several.
//! * [`ServerUnderTest`] starts a server on a data directory and a port, and [`RunningServer`]
//!   stops, kills and restarts it. The same `zoo.cfg` keys go to both kinds.
//! * [`run`] runs one [`Program`] against an address and returns its checks by name.
//! * [`java_dump`] lets Apache's own classes read a data directory, to compare with what we wrote.
//!
//! Everything here blocks: these are test drivers, and a thread that waits for a JVM costs nothing.

mod dump;
mod install;
mod program;
mod releases;
mod server;
mod system;

pub use dump::{DumpedAcl, DumpedSession, DumpedZnode, JavaDump, java_dump};
pub use install::Peers;
pub use program::{CheckResult, Program, record_shell, run, run_matching};
pub use releases::{Apache, Release};
pub use server::{
    RunningServer, ServerUnderTest, Signal, StartOpts, four_letter_word, four_letter_word_within,
    free_port,
};
