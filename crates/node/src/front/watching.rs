//! Requests about watches: addWatch, checkWatches, removeWatches, setWatches.
//!
//! Watches belong to the Front that owns the connection, so these never leave its thread; only
//! setWatches looks at the tree, to tell at once what its client has missed.

use oxkeeper_proto::codec::Put;
use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::data::StringList;
use oxkeeper_proto::request::{PathKind, SetWatchesRequest};
use oxkeeper_proto::response::{EventType, ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, StatPersisted, Zxid};
use oxkeeper_tree::watch::{ConnKey, WatchKind, WatcherType};

use super::read::ReadContext;

/// addWatch. The znode need not exist and no permission is asked for; the body is an error code.
pub(super) fn add_watch(
    context: &mut ReadContext<'_>,
    add: &PathKind<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let kind = WatchKind::from_add_mode(add.kind).ok_or(ErrorCode::MARSHALLING_ERROR)?;
    context.watch(&add.path, kind)?;
    out.put_int(0);
    Ok(())
}

/// checkWatches: whether this connection has such a watch.
pub(super) fn check_watches(
    context: &mut ReadContext<'_>,
    check: &PathKind<'_>,
) -> Result<(), ErrorCode> {
    let kind = WatcherType::from_code(check.kind).ok_or(ErrorCode::MARSHALLING_ERROR)?;
    let key = ConnKey(context.id.slot);
    if context.watches.contains(key, &check.path, kind) {
        Ok(())
    } else {
        Err(ErrorCode::NO_WATCHER)
    }
}

/// removeWatches.
pub(super) fn remove_watches(
    context: &mut ReadContext<'_>,
    remove: &PathKind<'_>,
) -> Result<(), ErrorCode> {
    let kind = WatcherType::from_code(remove.kind).ok_or(ErrorCode::MARSHALLING_ERROR)?;
    let key = ConnKey(context.id.slot);
    if context.watches.remove(key, &remove.path, kind) {
        Ok(())
    } else {
        Err(ErrorCode::NO_WATCHER)
    }
}

/// setWatches and setWatches2, after a reconnect: what happened since the client's last zxid
/// becomes an event now, the rest is armed (`DataTree.setWatches`). These events carry no zxid and
/// are not filtered by ACL.
pub(super) fn set_watches(
    context: &mut ReadContext<'_>,
    set: &SetWatchesRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let since = set.relative_zxid;
    each(context, out, set.data, WatchKind::Data, |stat| match stat {
        None => Some(EventType::NodeDeleted),
        Some(stat) if stat.mzxid > since => Some(EventType::NodeDataChanged),
        Some(_) => None,
    })?;
    each(context, out, set.exist, WatchKind::Data, |stat| stat.map(|_| EventType::NodeCreated))?;
    each(context, out, set.child, WatchKind::Child, |stat| match stat {
        None => Some(EventType::NodeDeleted),
        Some(stat) if stat.pzxid > since => Some(EventType::NodeChildrenChanged),
        Some(_) => None,
    })?;
    for (list, kind) in
        [(set.persistent, WatchKind::Persistent), (set.recursive, WatchKind::Recursive)]
    {
        for path in list.iter().flat_map(|list| list.iter()) {
            context.watch(&path, kind)?;
        }
    }
    Ok(())
}

fn each(
    context: &mut ReadContext<'_>,
    out: &mut Vec<u8>,
    paths: StringList<'_>,
    kind: WatchKind,
    missed: impl Fn(Option<StatPersisted>) -> Option<EventType>,
) -> Result<(), ErrorCode> {
    for path in paths.iter() {
        let name = if path.is_empty() { "/" } else { &path };
        match missed(context.shared.tree.node(name).map(|node| node.persisted())) {
            Some(event) => {
                put_event(out, event, &path);
                context.stats.packets_sent += 1;
            }
            None => context.watch(&path, kind)?,
        }
    }
    Ok(())
}

fn put_event(out: &mut Vec<u8>, event: EventType, path: &str) {
    let start = begin_frame(out);
    ReplyHeader { xid: xid::NOTIFICATION, zxid: Zxid(-1), err: ErrorCode::OK }.encode(out);
    WatcherEvent { event, path: path.into() }.encode(out);
    end_frame(out, start);
}
