//! Recipes: what people build on a coordination service, built once, on the client's public
//! interface, and laid out in the tree as Curator or kazoo lay it out.
//!
//! | wanted | here |
//! |---|---|
//! | one at a time; many readers and one writer | [`Mutex`], [`ReadWriteLock`] |
//! | so many at a time; several locks as one | [`Semaphore`], [`MultiLock`] |
//! | a leader | [`Election`] |
//! | wait for a way to be free, or for each other | [`Barrier`], [`DoubleBarrier`] |
//! | hand out work | [`Queue`], [`PriorityQueue`], [`DelayQueue`] |
//! | hand out work that must be done | [`LockingQueue`] |
//! | count, change and share a value | [`Counter`], [`AtomicValue`], [`SharedValue`] |
//! | keep data at hand | [`NodeCache`], [`TreeCache`] |
//! | who is there | [`Group`] |
//! | keep a znode there | [`PersistentNode`], [`PersistentTtlNode`] |
//! | find services | [`Registry`] |
//! | share things out | [`Partitioner`] |
//! | run jobs at their time | [`Scheduler`] |
//!
//! Three things hold for all of them.
//!
//! **Fencing.** Nobody can be told in time that its session has expired. So everything that is held
//! has a [`Token`] that grows with each holder, and an operation to check it in the tree; see
//! [`Mutex`].
//!
//! **Dropping is safe.** A future that is dropped, or a guard, leaves no znode behind: what is left
//! of it is taken away beside, for as long as the session lives, and ends with the session at last.
//!
//! **Lost connections are waited for.** What can be asked again is asked again. What may have
//! happened is found out by looking, after a `sync`; where looking cannot tell, the error says
//! [`Error::Unsure`]. Only the session's end is final; recipes that outlive it take [`Sessions`].
//!
//! Layouts, byte by byte: `docs/recipes.md`.
//!
//! ```
//! # use oxkeeper_client::Client;
//! # use oxkeeper_recipes::{Counter, Mutex};
//! # oxkeeper_scratch::example(async |servers| {
//! let zk = Client::connect(&servers).await?; // "zk1,zk2,zk3"
//! let guard = Mutex::new(&zk, "/locks/report").acquire().await?;
//! assert_eq!(Counter::new(&zk, "/reports").add(1).await?, 1);
//! guard.release().await?;
//! # Ok(())
//! # });
//! ```

mod background;
mod barrier;
mod client_port;
mod contender;
mod cron;
mod discovery;
mod election;
mod error;
mod group;
mod keeper;
mod locking_queue;
mod multi_lock;
mod mutex;
mod node_cache;
mod order;
mod partitioner;
mod persistent;
pub mod port;
mod queue;
mod rwlock;
mod scheduler;
mod semaphore;
mod sessions;
mod tree_cache;
mod value;

pub use barrier::{Barrier, DoubleBarrier, Inside};
pub use contender::{Hold, Participant, Token};
pub use cron::{Schedule, ScheduleError};
pub use discovery::{Provider, Registry, ServiceInstance, ServiceType};
pub use election::{Election, ElectionLayout, LeaderLatch, Leadership, Led, Role};
pub use error::Error;
pub use group::{Group, GroupLayout, Member};
pub use keeper::Keeper;
pub use locking_queue::{Claim, LockingQueue};
pub use multi_lock::{MultiGuard, MultiLock};
pub use mutex::{Guard, Mutex};
pub use node_cache::{Cached, Node, NodeCache, SharedValue};
pub use order::Layout;
pub use partitioner::{Part, Partitioner, Share};
pub use persistent::{PersistentNode, PersistentTtlNode};
pub use queue::{DelayQueue, Item, PriorityQueue, Queue, QueueLayout};
pub use rwlock::ReadWriteLock;
pub use scheduler::{HandOver, Job, Missed, Scheduler, Tick, Worker, WorkerState};
pub use semaphore::{Lease, Semaphore};
pub use sessions::Sessions;
pub use tree_cache::{Change, Changes, TreeCache};
pub use value::{AtomicValue, Counter, CounterLayout};
