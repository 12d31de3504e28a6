//! The replicated state and the rules that change it.
//!
//! [`Tree`] is what every member of an ensemble agrees on: the znodes, the sessions and what
//! follows from them. It is a value: it knows no clock, no disk and no socket. A request becomes a
//! transaction in `prep`, against the tree *plus* everything already proposed (`overlay`); a
//! transaction changes the tree in [`Tree::apply`], which is total: whatever a ZooKeeper leader may
//! have logged has an outcome here, and it is the same on every member.
//!
//! | module | holds |
//! |---|---|
//! | [`tree`] | the state and how a znode is found |
//! | `znode`, `run`, `dir` | one znode, a sorted run of handles, a directory |
//! | [`prep`], [`overlay`] | what a request becomes, against what is under way |
//! | [`acl_rules`], [`path`] | who may, and what may be a path |
//! | `apply` | what each transaction does |
//! | [`read`] | what reads need beyond a znode |
//! | [`snapshot`] | writing the state while it changes, and loading it |
//! | [`acl_table`], [`quota`], [`digest`], `idle` | what is kept beside the znodes |
//! | [`changes`] | what a batch of transactions changed, for the watches |
//! | [`watch`] | who hears of which change |
//! | [`limits`] | bounds, each with its reason |
//! | [`wrong`] | mistakes to make on purpose, compiled away |

pub mod acl_rules;
pub mod acl_table;
mod apply;
pub mod changes;
pub mod digest;
mod dir;
pub mod ephemeral_type;
mod idle;
pub mod limits;
pub mod overlay;
pub mod path;
pub mod prep;
pub mod quota;
pub mod read;
mod run;
pub mod snapshot;
pub mod tree;
pub mod watch;
pub mod wrong;
mod znode;

pub use acl_rules::{AuthId, Schemes};
pub use acl_table::AclHandle;
pub use changes::{Change, ChangeKind, Changes};
pub use digest::{PreparedCrcs, node_digest};
pub use ephemeral_type::{EphemeralType, OwnerRules};
pub use overlay::Overlay;
pub use quota::{QuotaStats, QuotaView};
pub use read::{ChildList, DescendantCount};
pub use snapshot::{Chunk, LoadError, Loaded, SnapshotBusy, SnapshotHead, SnapshotSource};
pub use tree::{NodeRef, Tree, TreeOptions, TreeStats};
