//! What ZooKeeper's shell lacks: commands on whole subtrees.
//!
//! Subtrees may be larger than memory. Everything here reads them as a [stream](walk::Walk) with a
//! bounded number of requests under way, and writes what it makes of it as it comes.

pub mod archive;
pub mod copy;
pub mod diff;
pub mod export;
pub mod find;
pub mod follow;
pub mod glob;
pub mod import;
pub mod json;
pub mod node;
pub mod plant;
pub mod top;
pub mod tree;
pub mod walk;
