//! Answers that need no transaction (`FinalRequestProcessor.processRequest`).
//!
//! Each is written from the tree straight into the connection's outbox, under the read lock, and
//! a watch is set under the same lock, so that no change falls between answer and watch.

use oxkeeper_proto::codec::{Put, patch_int};
use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::data::{Acl, perms};
use oxkeeper_proto::request::{MultiHeader, MultiReadOp, MultiReadRequest, PathWatch};
use oxkeeper_proto::response::ReplyHeader;
use oxkeeper_proto::{ErrorCode, OpCode, Request, SessionId, Zxid};
use oxkeeper_tree::NodeRef;
use oxkeeper_tree::acl_rules;
use oxkeeper_tree::prep::Rules;
use oxkeeper_tree::read::DescendantCount;
use oxkeeper_tree::watch::{ConnKey, WatchKind, Watches};
use oxkeeper_tree::wrong::{self, Wrong};

use super::Shared;
use super::job::Task;
use super::listings::Listings;
use super::watching;
use crate::limits;
use crate::messages::{AuthSet, ConnId};
use crate::stats::FrontStats;

/// What a read may look at.
pub(super) struct ReadContext<'a> {
    pub shared: &'a Shared,
    pub rules: &'a Rules,
    pub watches: &'a mut Watches,
    pub stats: &'a mut FrontStats,
    pub listings: &'a mut Listings,
    pub id: ConnId,
    pub session: SessionId,
    pub auth: &'a AuthSet,
    /// Set by an answer that takes too long to be given at once.
    pub later: Option<Task>,
}

/// Appends a reply whose body `body` writes; an error leaves the header alone.
pub(super) fn reply(
    out: &mut Vec<u8>,
    xid: i32,
    zxid: Zxid,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), ErrorCode>,
) -> ErrorCode {
    let start = begin_frame(out);
    ReplyHeader { xid, zxid, err: ErrorCode::OK }.encode(out);
    let err = match body(out) {
        Ok(()) => ErrorCode::OK,
        Err(code) => {
            out.truncate(start + ReplyHeader::BYTES);
            patch_int(out, start + ReplyHeader::BYTES - 4, code.0);
            code
        }
    };
    end_frame(out, start);
    err
}

/// Appends a reply without a body.
pub(super) fn error_reply(out: &mut Vec<u8>, xid: i32, zxid: Zxid, err: ErrorCode) {
    write_reply(out, xid, zxid, err, &[]);
}

/// Appends a reply whose body is encoded already.
pub(super) fn write_reply(out: &mut Vec<u8>, xid: i32, zxid: Zxid, err: ErrorCode, body: &[u8]) {
    let body = if err.is_ok() { body } else { &[] };
    out.reserve(4 + ReplyHeader::BYTES + body.len());
    let start = begin_frame(out);
    ReplyHeader { xid, zxid, err }.encode(out);
    out.extend_from_slice(body);
    end_frame(out, start);
}

/// Answers a read. Events that setWatches causes precede its reply.
pub(super) fn answer(
    context: &mut ReadContext<'_>,
    xid: i32,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> ErrorCode {
    let zxid = context.shared.tree.last_zxid();
    if let Request::SetWatches(set) = request
        && let Err(code) = watching::set_watches(context, set, out)
    {
        error_reply(out, xid, zxid, code);
        return code;
    }
    let start = out.len();
    let err = reply(out, xid, zxid, |out| body(context, request, out));
    if context.later.is_some() {
        out.truncate(start);
    }
    err
}

fn body(
    context: &mut ReadContext<'_>,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    match request {
        Request::GetData(read) => get_data(context, read, out),
        Request::Exists(read) => exists(context, read, out),
        Request::GetChildren(read) => get_children(context, read, out, false),
        Request::GetChildren2(read) => get_children(context, read, out, true),
        Request::Ping | Request::SetWatches(_) => Ok(()),
        Request::Sync(path) => {
            out.put_opt_string(path.as_deref());
            Ok(())
        }
        Request::GetAcl(path) => get_acl(context, path, out),
        Request::MultiRead(multi) => multi_read(context, multi, out),
        Request::GetAllChildrenNumber(path) => {
            readable(context, path, perms::READ)?;
            let tree = &context.shared.tree;
            let mut count = DescendantCount::new(alias(path));
            match count.step(tree, limits::COUNTED_DIRS_PER_STEP) {
                Some(total) => out.put_int(total),
                None => context.later = Some(Task::Count(count)),
            }
            Ok(())
        }
        Request::GetEphemerals(prefix) => {
            get_ephemerals(context, prefix.as_deref(), out);
            Ok(())
        }
        Request::WhoAmI => {
            who_am_i(context, out);
            Ok(())
        }
        Request::AddWatch(add) => watching::add_watch(context, add, out),
        Request::CheckWatches(check) => watching::check_watches(context, check),
        Request::RemoveWatches(remove) => watching::remove_watches(context, remove),
        Request::Create(_)
        | Request::Delete(_)
        | Request::SetData(_)
        | Request::SetAcl(_)
        | Request::Check(_)
        | Request::Multi(_)
        | Request::Reconfig(_)
        | Request::DeleteContainer(_)
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::CreateSession
        | Request::CloseSession => Err(ErrorCode::UNIMPLEMENTED),
    }
}

/// Reads know the root by two names.
fn alias(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// The znode at `path`, if it exists and one of `perm` is granted.
fn readable<'a>(
    context: &ReadContext<'a>,
    path: &str,
    perm: i32,
) -> Result<NodeRef<'a>, ErrorCode> {
    let shared: &'a Shared = context.shared;
    let node = shared.tree.node(alias(path)).ok_or(ErrorCode::NO_NODE)?;
    if context.permits(&node, perm) { Ok(node) } else { Err(ErrorCode::NO_AUTH) }
}

impl ReadContext<'_> {
    pub(super) fn permits(&self, node: &NodeRef<'_>, perm: i32) -> bool {
        self.rules.skip_acl
            || acl_rules::permits(node.acl().list(), perm, self.auth, self.rules.schemes)
    }

    pub(super) fn watch(&mut self, path: &str, kind: WatchKind) -> Result<(), ErrorCode> {
        match self.watches.add(ConnKey(self.id.slot), path, kind) {
            Ok(_) => Ok(()),
            Err(full) => {
                tracing::warn!(session = %self.session, "refusing a watch: {full}");
                self.stats.watches_refused += 1;
                Err(ErrorCode::SYSTEM_ERROR)
            }
        }
    }
}

fn get_data(
    context: &mut ReadContext<'_>,
    read: &PathWatch<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let node = readable(context, &read.path, perms::READ)?;
    if read.watch {
        context.watch(&read.path, WatchKind::Data)?;
    }
    out.put_buffer(node.data());
    node.stat().encode(out);
    context.stats.read(&read.path, node.data().map_or(0, <[u8]>::len));
    Ok(())
}

/// The watch is left even where there is no znode; the permission is checked first
/// (ZOOKEEPER-2590).
fn exists(
    context: &mut ReadContext<'_>,
    read: &PathWatch<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    if read.path.contains('\0') {
        return Err(ErrorCode::BAD_ARGUMENTS);
    }
    let node = match readable(context, &read.path, perms::READ) {
        Ok(node) => Some(node),
        Err(ErrorCode::NO_NODE) => None,
        Err(code) => return Err(code),
    };
    let lost = node.is_none() && wrong::is(Wrong::ExistsWatchLost);
    if read.watch && !lost {
        context.watch(&read.path, WatchKind::Data)?;
    }
    node.ok_or(ErrorCode::NO_NODE)?.stat().encode(out);
    context.stats.read(&read.path, 0);
    Ok(())
}

fn get_children(
    context: &mut ReadContext<'_>,
    read: &PathWatch<'_>,
    out: &mut Vec<u8>,
    with_stat: bool,
) -> Result<(), ErrorCode> {
    let node = readable(context, &read.path, perms::READ)?;
    if read.watch {
        context.watch(&read.path, WatchKind::Child)?;
    }
    if node.num_children() > limits::LISTED_AT_ONCE {
        let list = context.shared.tree.children_handles(alias(&read.path)).unwrap_or_default();
        let stat = with_stat.then(|| node.stat());
        context.later = Some(Task::Listing { list, next: 0, stat });
        return Ok(());
    }
    let before = out.len();
    out.reserve(node.num_children() * LISTED_NAME_BYTES);
    let (tree, children) = (&context.shared.tree, node.num_children());
    context.listings.encode(tree, alias(&read.path), children, || node.stat(), out);
    // Names without the length in front of each and of their number.
    let names_bytes = out.len() - before - 4 * (node.num_children() + 1);
    context.stats.read(&read.path, names_bytes);
    if with_stat {
        node.stat().encode(out);
    }
    Ok(())
}

/// Without ADMIN the hashes of digest entries are masked.
fn get_acl(context: &mut ReadContext<'_>, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
    let node = readable(context, path, perms::READ | perms::ADMIN)?;
    let list = node.acl().list();
    if context.permits(&node, perms::ADMIN) || wrong::is(Wrong::AclUnmasked) {
        list.encode(out);
    } else {
        out.put_int(list.iter().count() as i32);
        for entry in list.iter() {
            mask_digest(entry).encode(out);
        }
    }
    node.stat().encode(out);
    Ok(())
}

fn mask_digest(mut entry: Acl<'_>) -> Acl<'_> {
    if entry.scheme.as_deref() == Some("digest")
        && let Some(id) = entry.id.as_deref()
        && let Some(colon) = id.find(':')
    {
        entry.id = Some(format!("{}:x", &id[..colon]).into());
    }
    entry
}

/// Each operation succeeds or fails alone. Java bounds nothing here; a small request that asks for
/// one large directory over and over would have it run out of memory.
fn multi_read(
    context: &mut ReadContext<'_>,
    multi: &MultiReadRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let start = out.len();
    for op in multi.iter() {
        if out.len() - start > limits::MULTI_READ_BYTES_MAX {
            tracing::warn!(session = %context.session, limit = limits::MULTI_READ_BYTES_MAX,
                "refusing a multiRead whose reply would be too large");
            return Err(ErrorCode::SYSTEM_ERROR);
        }
        let (code, path) = match &op {
            MultiReadOp::GetData(path) => (OpCode::GET_DATA, path),
            MultiReadOp::GetChildren(path) => (OpCode::GET_CHILDREN, path),
        };
        match readable(context, path, perms::READ) {
            Ok(node) => {
                MultiHeader { op: code, done: false, err: 0 }.encode(out);
                if code == OpCode::GET_DATA {
                    out.put_buffer(node.data());
                    node.stat().encode(out);
                } else {
                    context.shared.tree.encode_children(alias(path), out);
                }
            }
            Err(err) => {
                MultiHeader { op: OpCode::ERROR, done: false, err: err.0 }.encode(out);
                out.put_int(err.0);
            }
        }
    }
    MultiHeader::END.encode(out);
    Ok(())
}

/// The caller's own ephemerals whose path starts with the prefix, as text, not as a path.
fn get_ephemerals(context: &ReadContext<'_>, prefix: Option<&str>, out: &mut Vec<u8>) {
    let trimmed = prefix.map(|prefix| prefix.trim_matches(|c| c <= ' ')).unwrap_or("");
    let all = trimmed.is_empty() || trimmed == "/";
    let prefix = prefix.unwrap_or("");
    let at = out.len();
    out.put_int(0);
    let mut count = 0;
    for path in context.shared.tree.ephemerals(context.session) {
        if all || path.starts_with(prefix) {
            out.put_string(path);
            count += 1;
        }
    }
    patch_int(out, at, count);
}

/// Scheme and user of every identity (`AuthUtil.getClientInfos`). What follows the colon of a
/// digest is nobody's business.
fn who_am_i(context: &ReadContext<'_>, out: &mut Vec<u8>) {
    out.put_int(context.auth.len() as i32);
    for identity in context.auth.iter() {
        let user = match identity.scheme.as_str() {
            "digest" => identity.id.split(':').next().unwrap_or(""),
            _ => &identity.id,
        };
        out.put_string(&identity.scheme);
        out.put_string(user);
    }
}

/// Room made for one name of a listing: most fit, so the reply's buffer grows once.
const LISTED_NAME_BYTES: usize = 20;
