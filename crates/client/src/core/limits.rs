//! Bounds of one client, each with its reason.
//!
//! Whoever talks to a server that is slow, or a proxy that lies, pays with a refused request or a
//! dropped connection and never with memory without end.
//!
//! ```
//! use oxkeeper_client::core::limits::Limits;
//! use oxkeeper_client::core::{Client, Config, ConnectString, Refused};
//! use oxkeeper_proto::Request;
//!
//! let mut config = Config::new(ConnectString::parse("zk1")?);
//! config.limits = Limits { pending_max: 1, ..Limits::default() };
//! let mut client = Client::new(config, 7);
//! assert!(client.submit(0, Request::WhoAmI.into()).is_ok());
//! assert!(matches!(client.submit(0, Request::WhoAmI.into()), Err(Refused::Full(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use oxkeeper_proto::limits::FRAME_BYTES_MAX_DEFAULT;

/// What one client holds at most.
///
/// ```
/// use oxkeeper_client::Limits;
///
/// let small = Limits { pending_max: 100, ..Limits::default() };
/// assert!(small.pending_max < Limits::default().pending_max);
/// assert_eq!(small.reply_bytes_max, 64 << 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that wait for an answer or for a connection. Beyond it `submit` refuses, so that a
    /// stuck server costs its clients a bounded amount of memory.
    pub pending_max: usize,
    /// Bytes of those requests.
    pub pending_bytes_max: usize,
    /// Bytes of one request: what servers accept by default (`jute.maxbuffer`). A larger one would
    /// cost the connection, and with it the outcome of everything under way.
    pub request_bytes_max: usize,
    /// Bytes of one reply. Java clients take no more than 1 MiB and then cannot list a directory
    /// that has grown large; a listing may be longer than any request.
    pub reply_bytes_max: usize,
    /// Registered watches, counted per watcher and path.
    pub watches_max: usize,
    /// Identities to prove on every connection.
    pub auth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pending_max: 1 << 16,
            pending_bytes_max: 64 << 20,
            request_bytes_max: FRAME_BYTES_MAX_DEFAULT,
            reply_bytes_max: 64 << 20,
            watches_max: 1 << 20,
            auth_max: 64,
        }
    }
}

/// Lengths of paths in one setWatches add up to about this, well below what a server takes as one
/// frame (`ClientCnxn.SET_WATCHES_MAX_LENGTH`).
///
/// ```
/// use oxkeeper_client::Limits;
/// use oxkeeper_client::core::limits::REARM_BYTES;
///
/// assert!(REARM_BYTES * 2 < Limits::default().request_bytes_max);
/// ```
pub const REARM_BYTES: usize = 128 * 1024;

/// A connection that has sent nothing for this long sends a ping whatever its timeout
/// (`ClientCnxn.SendThread`, `MAX_SEND_PING_INTERVAL`).
///
/// ```
/// use oxkeeper_client::core::limits::PING_INTERVAL_MAX_US;
///
/// assert_eq!(PING_INTERVAL_MAX_US, 10 * 1_000_000, "10 s, however long the session timeout");
/// ```
pub const PING_INTERVAL_MAX_US: u64 = 10_000_000;

/// Hosts in one connect string.
///
/// ```
/// use oxkeeper_client::ConnectStringError;
/// use oxkeeper_client::core::{ConnectString, limits::HOSTS_MAX};
///
/// let many = "zk,".repeat(HOSTS_MAX + 1);
/// let error = ConnectString::parse(&many).expect_err("too many");
/// assert_eq!(error, ConnectStringError::TooManyHosts(HOSTS_MAX + 1));
/// ```
pub const HOSTS_MAX: usize = 1024;
