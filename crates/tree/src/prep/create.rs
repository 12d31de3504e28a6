//! create, create2, createContainer, createTTL; and the repair of lists, which setACL needs too.

use std::fmt::Write;

use oxkeeper_proto::request::CreateRequest;
use oxkeeper_proto::{AclList, CreateMode, OPEN_ACL_UNSAFE, StatPersisted, perms};

use super::*;
use crate::acl_rules::Fixed;
use crate::acl_table::AclHandle;
use crate::ephemeral_type::EphemeralType;
use crate::wrong::{self, Wrong};

/// A create with what its flags say, worked out.
struct Wanted<'r> {
    /// What is logged.
    op: OpCode,
    request: &'r CreateRequest<'r>,
    mode: CreateMode,
    owner: i64,
    acl: Fixed,
}

impl Prep<'_, '_> {
    /// `op` is what is logged; within a multi it may differ from what was sent.
    pub(super) fn create(&mut self, op: OpCode, request: &CreateRequest<'_>) -> Checked {
        let (mode, owner) = self.kind(op, request)?;
        let (parent, _) = path::split(&request.path).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        if request.path.contains('\0') {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let acl = self.fix_acl(request.acl)?;
        let parent_key = self.overlay.key(parent);
        let parent = self.node(parent_key)?;
        self.permit(&parent, perms::CREATE)?;
        let wanted = Wanted { op, request, mode, owner, acl };
        if !mode.is_sequential() {
            return self.create_at(&request.path, (parent_key, parent), &wanted);
        }
        let mut path = std::mem::take(&mut self.overlay.scratch.path);
        path.clear();
        path.push_str(&request.path);
        // Negative once the counter has run over; the sign counts as one of the ten.
        let number = match wrong::is(Wrong::SequencePerPrefix) {
            false => self.overlay.stat(&parent).cversion,
            true => self.siblings_alike(&request.path),
        };
        let _ = write!(path, "{number:010}");
        let created = self.create_at(&path, (parent_key, parent), &wanted);
        self.overlay.scratch.path = path;
        created
    }

    /// For [`Wrong::SequencePerPrefix`] alone.
    fn siblings_alike(&self, path: &str) -> i32 {
        let (parent, prefix) = path::split(path).unwrap_or_default();
        let siblings = self.tree.node(parent).into_iter().flat_map(|node| node.children());
        siblings.filter(|name| name.starts_with(prefix)).count() as i32
    }

    fn create_at(
        &mut self,
        path: &str,
        parent: (Key<'_>, Found<'_>),
        wanted: &Wanted<'_>,
    ) -> Checked {
        writable(path)?;
        let key = self.overlay.key(path);
        if self.overlay.find(self.tree, key).is_some() {
            return Err(ErrorCode::NODE_EXISTS);
        }
        if self.is_session_ephemeral(&parent.1) && !wrong::is(Wrong::ChildOfEphemeral) {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let data = wanted.request.data;
        self.check_quota(path, 1, data.map_or(0, <[u8]>::len) as i64)?;
        let parent_cversion = self.overlay.stat(&parent.1).cversion.wrapping_add(1);
        self.put_path(path);
        self.out.put_buffer(data);
        let acl = self.put_acl(wanted.acl)?;
        if wanted.op == OpCode::CREATE || wanted.op == OpCode::CREATE2 {
            self.out.put_bool(wanted.mode.is_ephemeral());
        }
        self.out.put_int(parent_cversion);
        if wanted.op == OpCode::CREATE_TTL {
            self.out.put_long(wanted.request.ttl_ms);
        }
        self.fits()?;
        let stat = StatPersisted {
            czxid: self.ctx.zxid,
            mzxid: self.ctx.zxid,
            pzxid: self.ctx.zxid,
            ctime_ms: self.ctx.time_ms,
            mtime_ms: self.ctx.time_ms,
            ephemeral_owner: wanted.owner,
            ..StatPersisted::default()
        };
        self.overlay.create(parent, key, data, stat, acl, parent_cversion);
        Ok(())
    }

    /// The kind of znode asked for and its owner field, if flags, operation and time to live go
    /// together.
    fn kind(&self, op: OpCode, request: &CreateRequest<'_>) -> Checked<(CreateMode, i64)> {
        let mode = CreateMode::from_flags(request.flags).map_err(|_| ErrorCode::BAD_ARGUMENTS)?;
        if mode.is_ttl() && !self.rules.owners.extended_types {
            return Err(ErrorCode::UNIMPLEMENTED);
        }
        let kind = match mode {
            CreateMode::Persistent | CreateMode::PersistentSequential => EphemeralType::Persistent,
            CreateMode::Ephemeral | CreateMode::EphemeralSequential => {
                EphemeralType::Ephemeral(self.ctx.session)
            }
            CreateMode::Container => EphemeralType::Container,
            CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl => {
                EphemeralType::Ttl(request.ttl_ms)
            }
        };
        let fitting = match op {
            OpCode::CREATE_TTL => mode.is_ttl(),
            OpCode::CREATE_CONTAINER => mode == CreateMode::Container,
            _ => !mode.is_ttl() && mode != CreateMode::Container,
        };
        match (kind.owner(), self.ctx.ephemerals_refused) {
            // Whose znode it would be is asked before a container is found to be nobody's.
            (_, Some(code))
                if mode.is_ephemeral() && (fitting || op == OpCode::CREATE_CONTAINER) =>
            {
                Err(code)
            }
            (Some(owner), _) if fitting => Ok((mode, owner)),
            _ => Err(ErrorCode::BAD_ARGUMENTS),
        }
    }

    /// True if the znode belongs to a session.
    pub(super) fn is_session_ephemeral(&self, found: &Found<'_>) -> bool {
        let owner = self.overlay.stat(found).ephemeral_owner;
        matches!(EphemeralType::of(owner, self.rules.owners), EphemeralType::Ephemeral(_))
    }

    /// Repairs a list into the scratch buffer, where [`Prep::put_acl`] finds it.
    pub(super) fn fix_acl(&mut self, list: AclList<'_>) -> Checked<Fixed> {
        let scratch = &mut self.overlay.scratch.acl;
        scratch.clear();
        let max = self.rules.entry_bytes_max;
        acl_rules::fix_up(list, self.ctx.auth, self.rules.schemes, max, scratch)
    }

    /// Appends the repaired list and gives the handle under which the overlay keeps it.
    pub(super) fn put_acl(&mut self, fixed: Fixed) -> Checked<AclHandle> {
        match fixed {
            Fixed::Open => {
                OPEN_ACL_UNSAFE.encode(self.out);
                Ok(AclHandle::OPEN)
            }
            Fixed::Written => {
                let raw = &self.overlay.scratch.acl;
                let list = AclList::from_raw(raw).map_err(|_| ErrorCode::MARSHALLING_ERROR)?;
                self.out.extend_from_slice(raw);
                Ok(AclHandle::new(list))
            }
        }
    }
}
