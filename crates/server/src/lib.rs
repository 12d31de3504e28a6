//! The host of one server: sockets, files, clocks, threads, signals.
//!
//! [`serve`] boots a tree from its files and runs the node over it until a signal or a failure ends
//! it. Everything that touches the outside world is here; what the server *does* is decided in
//! `oxkeeper-node`, which knows nothing of this room.
//!
//! ```text
//!  accept ─► connections ─► Front ─┐ one I/O thread; more of them with more cores
//!                                  ├─► Core ─► log thread ─► (synced) ─► apply ─► replies
//!                           Front ─┘         └► snapshot thread
//! ```

mod admin;
pub mod boot;
mod client_port;
pub mod clock;
mod connection;
mod descriptors;
pub mod dynamic_config;
pub mod election_port;
mod ensemble;
mod ensemble_settings;
mod fan_out;
pub mod history_thread;
mod host_stats;
mod io_thread;
pub mod log_thread;
pub mod logging;
mod mailbox;
pub mod member;
mod peer_sockets;
mod put_off;
pub mod quorum_port;
mod seldom;
mod serve;
mod settings;
mod snapshot_in;
pub mod snapshot_link;
pub mod snapshot_thread;
pub mod tree_lock;

#[cfg(feature = "wrong")]
pub use oxkeeper_tree::wrong;
pub use peer_sockets::UnresolvedNames;
pub use serve::{Ready, serve};

use oxkeeper_config::ExitCode;

/// Why a server did not start, or ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// One line that says what to do.
    pub message: String,
    /// ZooKeeper's exit code for it.
    pub code: ExitCode,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}
