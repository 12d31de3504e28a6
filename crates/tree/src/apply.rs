//! What each transaction does (`DataTree.processTxn`).
//!
//! Applying is total. A transaction was decided when it was proposed, so here it works – unless the
//! tree came from a snapshot taken while writes went on, which may already hold what is replayed
//! now. The rules for that are the server's crash recovery: creating what exists takes over the
//! list and the parent's counters, deleting what is gone still moves the parent's pzxid, counters
//! only go up, and everything else that does not fit is passed over. The outcome is the same on
//! every member.

use std::borrow::Cow;

use oxkeeper_proto::txn::{CreateTxn, MultiTxn, SetAclTxn, SetDataTxn};
use oxkeeper_proto::{
    AclList, ErrorCode, OpCode, Payload, Put, SessionId, StatPersisted, StringList, Txn, TxnDigest,
    TxnHeader, Zxid,
};

use crate::changes::{AclHandle, Change, ChangeKind, Changes};
use crate::digest::PreparedCrcs;
use crate::dir::{Children, Dir};
use crate::ephemeral_type::EphemeralType;
use crate::limits::NAME_BYTES_MAX;
use crate::path;
use crate::quota::{self, QuotaNode, StatsText};
use crate::run::Place;
use crate::tree::{Loc, Parent, Tree, java_len};
use crate::wrong::{self, Wrong};
use crate::znode::{Header, Node};

/// A znode to be.
pub(crate) struct NewNode<'a> {
    pub path: &'a str,
    pub data: Option<&'a [u8]>,
    pub acl: AclList<'a>,
    pub owner: i64,
    /// The parent's counter afterwards, −1 for one more.
    pub parent_cversion: i32,
    pub zxid: Zxid,
    pub time_ms: i64,
    /// CRC over path and data, if it is known.
    pub crc: Option<u32>,
}

impl Tree {
    /// Applies a transaction, adds what it changed to `changes` and, if asked, the body of the
    /// reply to `reply`: the path of a create, path and stat of a create2 (container and TTL too),
    /// the stat of a setData or setACL, text and stat of a reconfig, the whole response of a multi;
    /// nothing otherwise, and
    /// nothing on an error. The result is the code for the reply's header; a multi that failed says
    /// so in its body and is OK here, as on the wire.
    ///
    /// A digest in the payload is compared with the tree's; a difference is counted in
    /// [`Tree::stats`] and changes nothing.
    pub fn apply(
        &mut self,
        payload: &Payload<'_>,
        changes: &mut Changes,
        reply: Option<&mut Vec<u8>>,
    ) -> ErrorCode {
        self.apply_prepared(payload, &mut PreparedCrcs::default(), changes, reply)
    }

    /// The same where the transaction was prepared: with what [`Overlay::prepared_crcs`] has of it.
    ///
    /// [`Overlay::prepared_crcs`]: crate::Overlay::prepared_crcs
    pub fn apply_prepared(
        &mut self,
        payload: &Payload<'_>,
        crcs: &mut PreparedCrcs,
        changes: &mut Changes,
        mut reply: Option<&mut Vec<u8>>,
    ) -> ErrorCode {
        let header = &payload.header;
        let code = match &payload.txn {
            Txn::Multi(multi) => {
                self.apply_multi(header, multi, crcs, changes, reply);
                ErrorCode::OK
            }
            Txn::CloseSession(listed) => {
                self.close_session(header.session, *listed, header.zxid, changes);
                ErrorCode::OK
            }
            Txn::CreateSession(timeout_ms) => {
                self.sessions.insert(header.session, *timeout_ms);
                ErrorCode::OK
            }
            txn => {
                let crc = crcs.take(header.zxid, 0);
                self.apply_one(header, header.op, txn, crc, changes, &mut reply)
            }
        };
        self.last_zxid = self.last_zxid.max(header.zxid);
        self.check_digest(header.zxid, payload.digest);
        code
    }

    fn apply_one(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        txn: &Txn<'_>,
        crc: Option<u32>,
        changes: &mut Changes,
        reply: &mut Option<&mut Vec<u8>>,
    ) -> ErrorCode {
        let outcome = match txn {
            Txn::Create(create) => self.apply_create(header, op, create, crc, changes).map(|()| {
                if let Some(out) = reply {
                    out.put_string(&create.path);
                    if op != OpCode::CREATE
                        && let Some(loc) = self.locate(&create.path)
                    {
                        self.put_stat(loc, &create.path, out);
                    }
                }
            }),
            Txn::Delete(path) => self.delete_node(path, header.zxid, changes),
            Txn::SetData(set) => self.set_data(header, set, crc, changes).map(|loc| {
                if let Some(out) = reply {
                    // Who reconfigures is told the configuration that it came to.
                    if op == OpCode::RECONFIG {
                        out.put_buffer(set.data);
                    }
                    self.put_stat(loc, &set.path, out);
                }
            }),
            Txn::SetAcl(set) => self.set_acl(set).map(|loc| {
                if let Some(out) = reply {
                    self.put_stat(loc, &set.path, out);
                }
            }),
            Txn::Error(code) => Err(*code),
            // A check alone stands in logs of old servers; sessions and multis cannot be nested.
            Txn::Check(_) | Txn::CreateSession(_) | Txn::CloseSession(_) | Txn::Multi(_) => Ok(()),
        };
        outcome.err().unwrap_or(ErrorCode::OK)
    }

    /// Appends what a client is told of a znode that was just found or changed.
    fn put_stat(&self, loc: Loc, path: &str, out: &mut Vec<u8>) {
        let node = self.node_at(loc);
        let children = match node.has_dir() {
            true => self.children_of(path).map_or(0, Children::len),
            false => 0,
        };
        self.stat_of(node, children).encode(out);
    }

    /// All or nothing: one failed operation, and none was done.
    fn apply_multi(
        &mut self,
        header: &TxnHeader,
        multi: &MultiTxn<'_>,
        crcs: &mut PreparedCrcs,
        changes: &mut Changes,
        mut reply: Option<&mut Vec<u8>>,
    ) {
        let failed = multi.failure().is_some();
        let mut behind_failure = false;
        for (nth, (op, txn)) in multi.iter().enumerate() {
            if failed {
                let undone = !behind_failure && !matches!(txn, Txn::Error(_));
                if wrong::is(Wrong::FailedMultiHalfApplied) && undone {
                    self.apply_one(header, op, &txn, None, changes, &mut None);
                }
                let code = match txn {
                    Txn::Error(code) => {
                        behind_failure = true;
                        code
                    }
                    _ if behind_failure => ErrorCode::RUNTIME_INCONSISTENCY,
                    _ => ErrorCode::OK,
                };
                if let Some(out) = &mut reply {
                    put_error_result(out, code);
                }
                continue;
            }
            let Some(result) = multi_result(op) else { break };
            let start = reply.as_ref().map(|out| out.len());
            if let Some(out) = &mut reply {
                put_multi_header(out, result, false, ErrorCode::OK.0);
            }
            let crc = crcs.take(header.zxid, nth as u32);
            let code = self.apply_one(header, op, &txn, crc, changes, &mut reply);
            if let (false, Some(out), Some(start)) = (code.is_ok(), &mut reply, start) {
                out.truncate(start);
                put_error_result(out, code);
            }
        }
        if let Some(out) = &mut reply {
            put_multi_header(out, -1, true, -1);
        }
    }

    fn apply_create(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        create: &CreateTxn<'_>,
        crc: Option<u32>,
        changes: &mut Changes,
    ) -> Result<(), ErrorCode> {
        // The flags of the request are not in the record: the operation decides.
        let kind = match op {
            OpCode::CREATE_CONTAINER => EphemeralType::Container,
            OpCode::CREATE_TTL => EphemeralType::Ttl(create.ttl_ms),
            _ if create.ephemeral => EphemeralType::Ephemeral(header.session),
            _ => EphemeralType::Persistent,
        };
        let new = NewNode {
            path: &create.path,
            data: create.data.or(wrong::is(Wrong::NullDataEmpty).then_some(&[])),
            acl: create.acl,
            owner: kind.owner().ok_or(ErrorCode::BAD_ARGUMENTS)?,
            parent_cversion: create.parent_cversion,
            zxid: header.zxid,
            time_ms: header.time_ms,
            crc,
        };
        let outcome = self.create_node(&new, changes);
        if outcome == Err(ErrorCode::NODE_EXISTS) && op == OpCode::CREATE {
            self.repair_parent(&new);
        }
        outcome
    }

    /// Adds a znode (`DataTree.createNode`).
    pub(crate) fn create_node(
        &mut self,
        new: &NewNode<'_>,
        changes: &mut Changes,
    ) -> Result<(), ErrorCode> {
        if new.path == "/" {
            return Err(ErrorCode::NODE_EXISTS);
        }
        let (parent_path, name) = split_child(new.path)?;
        let Parent { loc: parent, dir, .. } =
            *self.parent(parent_path).ok_or(ErrorCode::NO_NODE)?;
        let hash = self.hasher.hash(name.as_bytes());
        if let Some(dir) = dir
            && let Some(child) = self.dirs.get(dir).children().find(hash, name.as_bytes())
        {
            self.replace_acl(Loc::Child { dir, child }, new.path, new.acl, |_| {});
            return Err(ErrorCode::NODE_EXISTS);
        }
        let parent_acl = self.acls.handle(self.node_at(parent).acl()).clone();
        let acl = self.acls.acquire(new.acl);
        let stat = StatPersisted {
            czxid: new.zxid,
            mzxid: new.zxid,
            ctime_ms: new.time_ms,
            mtime_ms: new.time_ms,
            ephemeral_owner: new.owner,
            pzxid: new.zxid,
            ..StatPersisted::default()
        };
        let crc = self.crc_for(new.path, new.data, new.crc);
        let node = Node::new(&mut self.scratch, name, new.data, &stat, acl, crc);
        self.leave_idle(parent_path, parent);
        let cversion = match new.parent_cversion {
            -1 => self.node_at(parent).stat().cversion.wrapping_add(1),
            cversion => cversion,
        };
        self.preserve(new.path, None);
        self.attach((parent, parent_path), dir, hash, (new.path, node), |header| {
            header.raise_cversion(cversion, new.zxid)
        });
        self.own(new.path, &stat);
        self.quota_created(new, parent_path, name);
        let acl = &self.acls.handle(acl).clone();
        let (kind, path, zxid) = (ChangeKind::Created, new.path, new.zxid);
        let data_bytes = new.data.map_or(0, <[u8]>::len);
        changes.push(Change { kind, path, zxid, data_bytes, acl, parent_acl: &parent_acl });
        Ok(())
    }

    /// Puts a znode into its directory, and changes the parent's fixed part.
    pub(crate) fn attach(
        &mut self,
        (parent, parent_path): (Loc, &str),
        dir: Option<Place>,
        hash: u32,
        (path, mut node): (&str, Node),
        change: impl FnOnce(&mut Header),
    ) {
        let had_dir = self.node_at(parent).has_dir();
        self.edit(parent, parent_path, |header| {
            change(header);
            header.set_has_dir();
        });
        if !had_dir && let Loc::Child { dir, child } = parent {
            self.dirs.get_mut(dir).change(|children| children.mark(child));
        }
        if self.orphan_dirs > 0 && self.dir_place(path).is_some() {
            node.edit(Header::set_has_dir);
            self.orphan_dirs -= 1;
        }
        self.digest = self.digest.wrapping_add(self.digest_of(path, &node));
        self.znodes += 1;
        self.data_bytes += java_len(path) + node.data_len() as i64;
        self.places_moved(dir);
        match dir {
            Some(dir) => {
                let hasher = &self.hasher;
                self.dirs.get_mut(dir).change(|children| children.insert(hasher, hash, node));
            }
            None => {
                let parent_hash = self.hasher.hash(parent_path.as_bytes());
                let dir = Dir::new(parent_path, Children::One(node));
                self.dirs.insert(parent_hash, false, dir);
            }
        }
    }

    /// A create that found its znode there: the parent's counters are raised all the same
    /// (`setCversionPzxid`).
    fn repair_parent(&mut self, new: &NewNode<'_>) {
        let Some((parent_path, _)) = path::split(new.path) else { return };
        let Some(parent) = self.locate(parent_path) else { return };
        let cversion = match new.parent_cversion {
            -1 => self.node_at(parent).stat().cversion.wrapping_add(1),
            cversion => cversion,
        };
        if cversion > self.node_at(parent).stat().cversion {
            self.leave_idle(parent_path, parent);
            self.edit(parent, parent_path, |header| header.raise_cversion(cversion, new.zxid));
            self.enter_idle(parent_path, parent);
        }
    }

    /// Removes a znode (`DataTree.deleteNode`).
    pub(crate) fn delete_node(
        &mut self,
        path: &str,
        zxid: Zxid,
        changes: &mut Changes,
    ) -> Result<(), ErrorCode> {
        let (parent_path, name) = split_child(path)?;
        let parent = self.locate(parent_path).ok_or(ErrorCode::NO_NODE)?;
        let moved = zxid > self.node_at(parent).stat().pzxid;
        if moved && !wrong::is(Wrong::PzxidNotMoved) {
            self.edit(parent, parent_path, |header| header.raise_pzxid(zxid));
        }
        let dir = self.dir_place(parent_path).ok_or(ErrorCode::NO_NODE)?;
        let hash = self.hasher.hash(name.as_bytes());
        let children = self.dirs.get(dir).children();
        let child = children.find(hash, name.as_bytes()).ok_or(ErrorCode::NO_NODE)?;
        let loc = Loc::Child { dir, child };
        self.preserve(path, Some(loc));
        self.leave_idle(path, loc);
        self.places_moved(Some(dir));
        let node = self.dirs.get_mut(dir).change(|children| children.remove(child));
        self.detached(path, &node);
        if let Some(parent) = self.locate(parent_path) {
            self.enter_idle(parent_path, parent);
            let acl = &self.acls.handle(node.acl()).clone();
            let parent_acl = &self.acls.handle(self.node_at(parent).acl()).clone();
            let kind = ChangeKind::Deleted;
            changes.push(Change { kind, path, zxid, data_bytes: 0, acl, parent_acl });
        }
        self.acls.release(node.acl());
        if let Some(QuotaNode::Limits(root)) = QuotaNode::of(parent_path, name) {
            self.quota_roots.remove(root);
        }
        self.count_quota(path, -1, -(node.data_len() as i64));
        Ok(())
    }

    /// Takes a removed znode out of everything beside the directory it was in.
    fn detached(&mut self, path: &str, node: &Node) {
        self.digest = self.digest.wrapping_sub(self.digest_of(path, node));
        self.znodes -= 1;
        self.data_bytes -= java_len(path) + node.data_len() as i64;
        if node.has_dir()
            && let Some(own) = self.dir_place(path)
        {
            match self.dirs.get(own).children().len() {
                0 => {
                    self.places_moved(None);
                    self.dirs.remove(own);
                }
                // Children of a znode that is gone: found by their path until it comes back, as in
                // Java, and in no snapshot.
                _ => self.orphan_dirs += 1,
            }
        }
        if let EphemeralType::Ephemeral(session) = self.kind(node.owner())
            && let Some(paths) = self.ephemerals.get_mut(&session)
            && paths.remove(path)
        {
            self.ephemeral_count -= 1;
            if paths.is_empty() {
                self.ephemerals.remove(&session);
            }
        }
    }

    /// Files a new znode under its session or for the reaper.
    pub(crate) fn own(&mut self, path: &str, stat: &StatPersisted) {
        if stat.ephemeral_owner == 0 {
            return;
        }
        match self.kind(stat.ephemeral_owner) {
            EphemeralType::Ephemeral(session) => {
                if self.ephemerals.entry(session).or_default().insert(path.into()) {
                    self.ephemeral_count += 1;
                }
            }
            kind => self.idle.insert(path, kind, stat),
        }
    }

    fn leave_idle(&mut self, path: &str, loc: Loc) {
        if let Some((kind, stat)) = self.idle_key(path, loc) {
            self.idle.remove(path, kind, &stat);
        }
    }

    fn enter_idle(&mut self, path: &str, loc: Loc) {
        if let Some((kind, stat)) = self.idle_key(path, loc) {
            self.idle.insert(path, kind, &stat);
        }
    }

    /// Under what the reaper knows a znode: nothing if it is none of his or has children.
    #[inline]
    pub(crate) fn idle_key(&self, path: &str, loc: Loc) -> Option<(EphemeralType, StatPersisted)> {
        let node = self.node_at(loc);
        if node.owner() == 0 {
            return None;
        }
        let kind = self.kind(node.owner());
        let reaped = matches!(kind, EphemeralType::Container | EphemeralType::Ttl(_));
        let childless = !node.has_dir() || self.children_of(path).is_none_or(|c| c.len() == 0);
        (reaped && childless).then(|| (kind, node.stat()))
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        set: &SetDataTxn<'_>,
        crc: Option<u32>,
        changes: &mut Changes,
    ) -> Result<Loc, ErrorCode> {
        let path = &*set.path;
        let loc = self.locate(path).ok_or(ErrorCode::NO_NODE)?;
        self.leave_idle(path, loc);
        let before = self.node_at(loc).data_len() as i64;
        self.replace_data(loc, path, set.data, crc, |node| {
            node.written(set.version, header.zxid, header.time_ms)
        });
        self.enter_idle(path, loc);
        let grown = self.node_at(loc).data_len() as i64 - before;
        self.data_bytes += grown;
        let acl = &self.acls.handle(self.node_at(loc).acl()).clone();
        self.count_quota(path, 0, grown);
        let path = if path.is_empty() { "/" } else { path };
        let (kind, zxid) = (ChangeKind::DataChanged, header.zxid);
        let data_bytes = set.data.map_or(0, <[u8]>::len);
        let parent_acl = &AclHandle::OPEN;
        changes.push(Change { kind, path, zxid, data_bytes, acl, parent_acl });
        Ok(loc)
    }

    /// Sets what `/zookeeper/config` holds, without a transaction: the configuration that a server
    /// came up with, or was synchronised to, stands in no log
    /// (`ZKDatabase.initConfigInZKDatabase`). `version` is the configuration's, the zxid of the
    /// change that made it; `now_ms` the wall clock. No watch fires.
    pub fn init_config(&mut self, text: &str, version: i64, now_ms: i64) {
        self.complete();
        let header = TxnHeader {
            session: SessionId::NONE,
            cxid: 0,
            zxid: Zxid(version),
            time_ms: now_ms,
            op: OpCode::RECONFIG,
        };
        let path = Cow::Borrowed(path::CONFIG);
        let set = SetDataTxn { path, data: Some(text.as_bytes()), version: -1 };
        let written = self.set_data(&header, &set, None, &mut Changes::new());
        debug_assert!(written.is_ok(), "the znode was just made sure of");
    }

    fn set_acl(&mut self, set: &SetAclTxn<'_>) -> Result<Loc, ErrorCode> {
        let loc = self.locate(&set.path).ok_or(ErrorCode::NO_NODE)?;
        self.replace_acl(loc, &set.path, set.acl, |node| node.set_aversion(set.version));
        Ok(loc)
    }

    pub(crate) fn replace_acl(
        &mut self,
        loc: Loc,
        path: &str,
        list: AclList<'_>,
        change: impl FnOnce(&mut Header),
    ) {
        let before = self.node_at(loc).acl();
        let acl = self.acls.acquire(list);
        self.edit(loc, path, |node| {
            node.set_acl(acl);
            change(node);
        });
        self.acls.release(before);
    }

    /// Removes what sessions own that nobody knows any more, and returns how many such sessions
    /// there were. Java does the same after loading (`ZooKeeperServer.loadData`), without a
    /// transaction, as of the last one.
    pub fn remove_orphans(&mut self) -> usize {
        let unknown = |session: &SessionId| self.session_timeout_ms(*session).is_none();
        let orphans: Vec<SessionId> = self.ephemeral_owners().filter(unknown).collect();
        let mut changes = Changes::new();
        for session in &orphans {
            self.close_session(*session, None, self.last_zxid(), &mut changes);
        }
        orphans.len()
    }

    /// Ends a session: first the paths the transaction lists, then whatever else it owns here
    /// (`DataTree.killSession`).
    fn close_session(
        &mut self,
        session: SessionId,
        listed: Option<StringList<'_>>,
        zxid: Zxid,
        changes: &mut Changes,
    ) {
        self.sessions.remove(&session);
        let own = self.ephemerals.remove(&session).unwrap_or_default();
        self.ephemeral_count -= own.len();
        // What is gone already is no fault: it was deleted in the meantime, or was on the list.
        let leave = wrong::is(Wrong::CloseLeavesEphemeral);
        let left = own.iter().next().filter(|_| leave).cloned();
        let ends = |path: &str| left.as_deref() != Some(path);
        for path in listed.iter().flat_map(StringList::iter).filter(|path| ends(path)) {
            _ = self.delete_node(&path, zxid, changes);
        }
        for path in own.iter().filter(|path| ends(path)) {
            _ = self.delete_node(path, zxid, changes);
        }
    }

    fn check_digest(&mut self, zxid: Zxid, digest: Option<TxnDigest>) {
        if !self.options.digest_enabled {
            return;
        }
        if let Some(loaded) = self.fuzzy_until {
            if zxid < loaded.zxid {
                return;
            }
            self.fuzzy_until = None;
            let comparable = zxid == loaded.zxid && loaded.version == TxnDigest::VERSION;
            if comparable && loaded.digest != self.digest {
                self.digest_log.record(zxid, self.digest);
                self.doubted = Some(zxid);
                return;
            }
        }
        self.digest_log.record(zxid, self.digest);
        let Some(digest) = digest.filter(|digest| digest.version == TxnDigest::VERSION) else {
            return;
        };
        self.stats.digest_agrees = digest.tree_digest == self.digest;
        if self.stats.digest_agrees {
            self.settling = 0;
            self.doubted = None;
        } else if self.settling > 0 {
            self.settling -= 1;
        } else {
            if let Some(doubted) = self.doubted.take() {
                self.mismatch(doubted);
            }
            self.mismatch(zxid);
        }
    }

    fn mismatch(&mut self, zxid: Zxid) {
        self.stats.digest_mismatches += 1;
        self.stats.first_mismatch.get_or_insert(zxid);
    }

    fn quota_created(&mut self, new: &NewNode<'_>, parent_path: &str, name: &str) {
        match QuotaNode::of(parent_path, name) {
            Some(QuotaNode::Limits(root)) => self.quota_roots.insert(root),
            Some(QuotaNode::Stats(root)) => self.recount_quota(root),
            None => {}
        }
        self.count_quota(new.path, 1, new.data.map_or(0, |data| data.len() as i64));
    }

    /// Adds to the statistics of the deepest quota on a path.
    fn count_quota(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(root) = self.quota_roots.deepest(path) else { return };
        let stats_path = quota::stats_path(root);
        let Some(loc) = self.locate(&stats_path) else { return };
        let mut text = StatsText::parse(self.node_at(loc).data());
        text.add(count, bytes);
        self.replace_data(loc, &stats_path, Some(text.format().as_bytes()), None, |_| {});
    }

    /// Writes the statistics of a quota anew from what lies below it.
    pub(crate) fn recount_quota(&mut self, root: &str) {
        let (count, bytes) = self.count_subtree(root);
        let stats_path = quota::stats_path(root);
        let Some(loc) = self.locate(&stats_path) else { return };
        let text = StatsText::of(count, bytes).format();
        self.replace_data(loc, &stats_path, Some(text.as_bytes()), None, |_| {});
    }
}

/// Parent and name of a path that a child can have. Proposers check paths; what slipped through
/// must not put a znode where nobody finds it.
fn split_child(path: &str) -> Result<(&str, &str), ErrorCode> {
    match path::split(path) {
        Some((parent, name)) if (1..=NAME_BYTES_MAX).contains(&name.len()) && parent != "/" => {
            Ok((parent, name))
        }
        _ => Err(ErrorCode::BAD_ARGUMENTS),
    }
}

/// The type a sub-transaction's result has in a multi's reply; `None` for one that cannot be there,
/// at which Java stops.
fn multi_result(op: OpCode) -> Option<i32> {
    Some(match op {
        OpCode::CREATE => OpCode::CREATE.0,
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => OpCode::CREATE2.0,
        OpCode::DELETE | OpCode::DELETE_CONTAINER => OpCode::DELETE.0,
        OpCode::SET_DATA => OpCode::SET_DATA.0,
        OpCode::CHECK => OpCode::CHECK.0,
        _ => return None,
    })
}

fn put_multi_header(out: &mut Vec<u8>, kind: i32, done: bool, err: i32) {
    out.put_int(kind);
    out.put_bool(done);
    out.put_int(err);
}

fn put_error_result(out: &mut Vec<u8>, code: ErrorCode) {
    put_multi_header(out, -1, false, code.0);
    out.put_int(code.0);
}
