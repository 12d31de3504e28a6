//! An async client of ZooKeeper's protocol, of Oxkeeper and of Apache ZooKeeper alike.
//!
//! ```
//! use oxkeeper_client::{Client, EventType};
//!
//! # oxkeeper_scratch::example(async |servers| {
//! // "zk1:2181,zk2:2181,zk3:2181/app"
//! let zk = Client::connect(&servers).await?;
//! zk.create("/greeting", b"hello").await?;
//! let (greeting, changed) = zk.get("/greeting").watch().await?;
//! assert_eq!(greeting.text()?, "hello");
//! zk.set("/greeting", b"hello again").version(greeting.stat.version).await?;
//! assert_eq!(changed.await?.kind, EventType::NodeDataChanged);
//! zk.close().await;
//! # Ok(())
//! # });
//! ```
//!
//! A [`Client`] is a handle to one session. The session finds a server, keeps itself alive, moves
//! to another server when one is lost, proves its identities and arms its watches again, all by
//! itself; [`Client::states`] tells where it stands. What it does not hide cannot be hidden: when a
//! connection is lost, [`Error::fate`] says whether the operation happened, did not, or cannot be
//! known; and when the session is over it is over, with its ephemeral znodes.
//!
//! # How it is made
//! What a client must get right has nothing to do with sockets: which session it has and for how
//! long, which request an answer belongs to, whether a lost request happened, which watches are
//! armed and who is told. All of that is a value, [`core::Client`]: it is fed bytes and moments and
//! asked for effects. This crate's own host for it is one task on tokio; a simulator is as good a
//! host, and the same inputs give the same effects, byte for byte.

pub mod core;

mod client;
mod driver;
mod ensemble;
mod error;
mod label;
mod ops;
mod reply;
mod retry;
mod state;
mod uuid;
mod watch;

use std::future::Future;
use std::pin::Pin;

pub use client::{Builder, Client};
pub use driver::{
    Connecting, Connector, ResolvedTcp, Resolver, Resolving, Stream, SystemResolver, Tcp,
};
pub use error::{Error, ErrorKind};
pub use ops::*;
pub use reply::Reply;
pub use retry::RetryPolicy;
pub use state::{State, StateStream};
pub use watch::{AddWatchMode, OneShot, WatchEvent, WatchItem, WatchStream, WatcherKind};

pub use crate::core::{
    Backoff, Cause, ConnectStringError, Credentials, End, Fate, Host, Identity, Limits, Loss,
    PathError, Refused, Unsent, Violation, check_path,
};
pub use oxkeeper_proto::response::EventType;
pub use oxkeeper_proto::{CreateMode, ErrorCode, OpCode, SessionId, Stat, Zxid, perms};

/// One entry of an access control list: permissions ([`perms`]), scheme, identity.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{Acl, perms};
///
/// let shown: Acl = Acl::new(perms::READ | perms::WRITE, "world", "anyone");
/// zk.create("/entry", b"").acl(vec![shown.clone()]).await?;
/// assert_eq!(zk.acl("/entry").await?.0, [shown]);
/// # Ok(())
/// # });
/// ```
pub type Acl = oxkeeper_proto::Acl<'static>;

/// A future of several requests.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{BoxFuture, Error};
///
/// let work: BoxFuture<Result<(), Error>> = zk.delete_all("/not-there").into_future();
/// assert!(work.await.is_ok(), "there was nothing to delete");
/// # Ok(())
/// # });
/// ```
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
