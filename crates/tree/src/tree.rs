//! The committed state (skeleton).

use oxkeeper_proto::{ErrorCode, Payload, SessionId, Stat, StatPersisted, Zxid};

use crate::acl_table::AclHandle;
use crate::changes::Changes;
use crate::ephemeral_type::{EphemeralType, OwnerRules};

/// What a tree is told when it is made.
#[derive(Debug, Clone, Copy)]
pub struct TreeOptions {
    /// Keeps clients from choosing names that collide. Random in a server, fixed in a simulation.
    pub hash_seed: u64,
    /// `zookeeper.digest.enabled`.
    pub digest_enabled: bool,
    /// How owners are read.
    pub owner_rules: OwnerRules,
}

impl Default for TreeOptions {
    fn default() -> Self {
        TreeOptions { hash_seed: 0, digest_enabled: true, owner_rules: OwnerRules::default() }
    }
}

/// The committed state.
#[derive(Debug)]
pub struct Tree {
    acl: AclHandle,
}

/// A znode.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    tree: &'a Tree,
}

/// A quota and what is used of it. −1 stands for no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaView {
    /// The znode it is set on.
    pub root: String,
    /// Limits.
    pub limits: QuotaStats,
    /// Committed usage; its hard limits mean nothing.
    pub stats: QuotaStats,
}

/// The text of a limits or stats znode (`StatsTrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStats {
    /// Znodes, −1 if unset.
    pub count: i64,
    /// Bytes of data, −1 if unset.
    pub bytes: i64,
    /// Znodes that may not be exceeded, −1 if unset.
    pub count_hard_limit: i64,
    /// Bytes that may not be exceeded, −1 if unset.
    pub byte_hard_limit: i64,
}

impl Tree {
    /// A fresh tree.
    pub fn new(_options: TreeOptions) -> Tree {
        unimplemented!()
    }
    /// The znode at a path. `""` is the root too.
    pub fn node(&self, _path: &str) -> Option<NodeRef<'_>> {
        unimplemented!()
    }
    /// The tree's digest.
    pub fn digest(&self) -> i64 {
        unimplemented!()
    }
    /// The last transaction applied.
    pub fn last_zxid(&self) -> Zxid {
        unimplemented!()
    }
    /// Sessions with their timeouts in ms, by id.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, i32)> {
        std::iter::empty()
    }
    /// The timeout of a session in ms.
    pub fn session_timeout_ms(&self, _session: SessionId) -> Option<i32> {
        unimplemented!()
    }
    /// Paths owned by a session, sorted.
    pub fn ephemerals(&self, _session: SessionId) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
    /// The quota that counts for a path.
    pub fn quota_for(&self, _path: &str) -> Option<QuotaView> {
        unimplemented!()
    }
    /// Applies a transaction.
    pub fn apply(
        &mut self,
        _payload: &Payload<'_>,
        _changes: &mut Changes,
        _reply: Option<&mut Vec<u8>>,
    ) -> ErrorCode {
        unimplemented!()
    }
}

impl<'a> NodeRef<'a> {
    /// What a client is told.
    pub fn stat(&self) -> Stat {
        unimplemented!()
    }
    /// What is stored.
    pub fn persisted(&self) -> StatPersisted {
        unimplemented!()
    }
    /// Children now.
    pub fn num_children(&self) -> usize {
        unimplemented!()
    }
    /// The data.
    pub fn data(&self) -> Option<&'a [u8]> {
        unimplemented!()
    }
    /// The list.
    pub fn acl(&self) -> &'a AclHandle {
        &self.tree.acl
    }
    /// CRC-32 over path and data.
    pub fn data_crc(&self) -> u32 {
        unimplemented!()
    }
    /// What kind of znode.
    pub fn ephemeral_type(&self) -> EphemeralType {
        unimplemented!()
    }
    /// Names of the children, in no order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> {
        std::iter::empty()
    }
}
