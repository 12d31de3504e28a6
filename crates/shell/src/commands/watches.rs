//! addWatch and removewatches: watches that stay until they are removed.
//!
//! What they see is told by the session, which lives longer than the command.

use oxkeeper_client::{AddWatchMode, WatcherKind};

use crate::failure::Failure;
use crate::flags::Given;
use crate::shell::{OnPath, Shell};
use crate::table;

/// `addWatch [-m mode] path`.
///
/// # Errors
/// If the mode is none, or the server refuses.
pub async fn add(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let spec = table::find("addWatch").ok_or_else(|| Failure::usage("addWatch"))?;
    let [path] = given.args.as_slice() else { return Err(spec.misused()) };
    let mode = match given.value("-m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => AddWatchMode::Recursive,
        Some("PERSISTENT") => AddWatchMode::Persistent,
        Some(_) => return Err(spec.misused()),
    };
    let session = shell.session()?;
    let stream = session.zk.add_watch(path, mode).await.on(path)?;
    session.follow(path, stream);
    Ok(())
}

/// `removewatches path [-c|-d|-a] [-l]`.
///
/// # Errors
/// If there is none of that kind.
pub async fn remove(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let kinds = [
        ("-c", WatcherKind::Children),
        ("-d", WatcherKind::Data),
        ("-p", WatcherKind::Persistent),
        ("-r", WatcherKind::Recursive),
    ];
    let kind = kinds
        .into_iter()
        .find(|(flag, _)| given.has(flag))
        .map_or(WatcherKind::Any, |(_, kind)| kind);
    let zk = shell.zk()?;
    // -l is for who has no connection; the client keeps no watch that the server has lost.
    zk.remove_watches(path, kind).await.on(path)
}
