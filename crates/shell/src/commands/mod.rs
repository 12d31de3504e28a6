//! The commands of ZooKeeper's shell, by what they touch. What they print is ZooKeeper's; `--json`
//! and what `help` shows beyond ZooKeeper's usage is ours.

pub mod acls;
pub mod config;
pub mod quotas;
pub mod read;
pub mod sessions;
pub mod watches;
pub mod write;

use crate::failure::Failure;
use crate::path;
use crate::table::{Id, Spec};

/// Checks the path of a command before anything is done.
///
/// # Errors
/// What is wrong with it. Where ZooKeeper's shell has its own way with a wrong path, the command
/// does that itself.
pub fn check_paths(spec: &Spec, first: &str) -> Result<(), Failure> {
    match spec.id {
        // Looks at its options first, or makes another path of it.
        Id::Create | Id::SetQuota | Id::DelQuota | Id::ListQuota | Id::Set | Id::DeleteAll => {
            Ok(())
        }
        _ => path::check(first),
    }
}
