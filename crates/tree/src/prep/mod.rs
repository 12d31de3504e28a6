//! Requests become transactions.
//!
//! Preparing is where a write is judged: against the tree *and* everything proposed before it
//! ([`Overlay`]), so that what follows in the pipeline already counts. The outcome is always one
//! payload (header, record, digest), ready for the log and for peers: a refused request is an
//! `error` transaction, for the order of a session's replies hangs on it. After this nothing can
//! fail any more; applying is arithmetic.
//!
//! The order of checks and the codes are those of `PrepRequestProcessor`, because clients see
//! them. Whether the session may ask at all (known, not closing, not moved) is judged before, by
//! whoever owns the sessions. Three things differ from Java on purpose:
//!
//! - a create whose operation and flags disagree is BADARGUMENTS;
//! - a transaction too large for any reader of the log is refused with MARSHALLINGERROR;
//! - digests hold for closeSession and for the root under all spellings too.

mod create;
mod multi;
mod quota;
mod session;
mod write;

use oxkeeper_proto::codec::patch_int;
use oxkeeper_proto::{ErrorCode, OpCode, Put, Request, SessionId, TxnDigest, TxnHeader, Zxid};

use crate::acl_rules::{self, AuthId, Schemes};
use crate::ephemeral_type::OwnerRules;
use crate::overlay::{Found, Key, Overlay};
use crate::path;
use crate::tree::Tree;

/// What the server's configuration says about writes. Constant while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether TTL znodes are allowed; the same as the tree's.
    pub owners: OwnerRules,
    /// Permissions are not checked (`zookeeper.skipACL`).
    pub skip_acl: bool,
    /// Hard quotas refuse (`zookeeper.enforceQuota`).
    pub enforce_quota: bool,
    /// Transactions carry the tree's digest (`zookeeper.digest.enabled`).
    pub digest_enabled: bool,
    /// closeSession lists what it removes (`zookeeper.closeSessionTxn.enabled`).
    pub close_session_txn: bool,
    /// reconfig is not refused at once (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// The schemes that lists may name.
    pub schemes: Schemes,
    /// The largest payload a reader of the log accepts, bytes: `jute.maxbuffer` +
    /// `zookeeper.jute.maxbuffer.extrasize`.
    pub entry_bytes_max: usize,
}

impl Default for Rules {
    /// ZooKeeper's defaults.
    fn default() -> Self {
        Rules {
            owners: OwnerRules::default(),
            skip_acl: false,
            enforce_quota: false,
            digest_enabled: true,
            close_session_txn: true,
            reconfig_enabled: false,
            schemes: Schemes::default(),
            entry_bytes_max: oxkeeper_proto::limits::FIELD_BYTES_MAX_DEFAULT,
        }
    }
}

/// Who asks, and the place and time the transaction gets.
#[derive(Debug, Clone, Copy)]
pub struct PrepContext<'a> {
    /// The session that asks; [`SessionId::NONE`] for the server itself.
    pub session: SessionId,
    /// The request's xid; 0 for the server itself.
    pub cxid: i32,
    /// The transaction's id: the one after the last prepared.
    pub zxid: Zxid,
    /// Wall clock, ms.
    pub time_ms: i64,
    /// The identities of the connection.
    pub auth: &'a [AuthId],
    /// Why the session may own no znodes, if it may not: the ensemble does not know it.
    pub ephemerals_refused: Option<ErrorCode>,
}

/// How a request fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The operation in the payload's header: the request's, or [`OpCode::ERROR`].
    pub op: OpCode,
    /// The code in the `error` transaction, OK if there is none.
    pub error: ErrorCode,
    /// The code of the operation that failed inside a multi, OK if none did. The multi is a
    /// transaction all the same and its reply's header says OK.
    pub multi_failure: ErrorCode,
}

/// The outcome of a check: a code refuses the request, or the operation within its multi.
type Checked<T = ()> = Result<T, ErrorCode>;

impl Overlay {
    /// Judges a client's write and appends its payload to `out`. A request that is no write
    /// becomes an `error` transaction with UNIMPLEMENTED.
    ///
    /// `ctx.zxid` must be the one after the last prepared, and [`Overlay::applied`] must have been
    /// told of everything `tree` has seen.
    pub fn prep(
        &mut self,
        tree: &Tree,
        rules: &Rules,
        ctx: &PrepContext<'_>,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Prepared {
        if matches!(request, Request::CloseSession) {
            return self.prep_close_session(tree, rules, ctx, ctx.session, out);
        }
        self.payload(tree, rules, ctx, request.op(), out, |prep| match request {
            Request::Create(create) => prep.create(create.op, create),
            Request::Delete(delete) => prep.delete(delete),
            Request::SetData(set) => prep.set_data(set),
            Request::SetAcl(set) => prep.set_acl(set),
            Request::Multi(multi) => prep.multi(multi),
            // Standalone: only a leader has a configuration to change, and it judges the change
            // before it calls `prep_reconfig`.
            Request::Reconfig(_) if !prep.rules.reconfig_enabled => {
                Err(ErrorCode::RECONFIG_DISABLED)
            }
            _ => Err(ErrorCode::UNIMPLEMENTED),
        })
    }

    /// Appends an `error` transaction: for a request that was refused elsewhere, or whose body
    /// could not be decoded (MARSHALLINGERROR).
    pub fn prep_error(
        &mut self,
        ctx: &PrepContext<'_>,
        code: ErrorCode,
        out: &mut Vec<u8>,
    ) -> Prepared {
        header(ctx, OpCode::ERROR).encode(out);
        out.put_int(code.0);
        Prepared { op: OpCode::ERROR, error: code, multi_failure: ErrorCode::OK }
    }

    /// Appends the removal of a container or TTL znode whose time has come, unless it is no longer
    /// empty (NOTEMPTY), gone (NONODE) or has become something else (BADVERSION). Nobody's
    /// permission is needed.
    pub fn prep_delete_container(
        &mut self,
        tree: &Tree,
        rules: &Rules,
        ctx: &PrepContext<'_>,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.payload(tree, rules, ctx, OpCode::DELETE_CONTAINER, out, |prep| {
            prep.delete_container(path)
        })
    }

    /// Appends a change of the ensemble's configuration to `text`, which the leader has found to be
    /// possible. What is left to judge is whether the client may write to `/zookeeper/config`
    /// (NOAUTH).
    pub fn prep_reconfig(
        &mut self,
        tree: &Tree,
        rules: &Rules,
        ctx: &PrepContext<'_>,
        text: &str,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.payload(tree, rules, ctx, OpCode::RECONFIG, out, |prep| prep.reconfig(text))
    }

    /// Appends header, record and digest, or an `error` transaction in their place.
    fn payload(
        &mut self,
        tree: &Tree,
        rules: &Rules,
        ctx: &PrepContext<'_>,
        op: OpCode,
        out: &mut Vec<u8>,
        record: impl FnOnce(&mut Prep<'_, '_>) -> Checked,
    ) -> Prepared {
        self.begin(tree, rules.digest_enabled);
        let start = out.len();
        header(ctx, op).encode(out);
        let mut prep =
            Prep { overlay: self, tree, rules, ctx, out, start, multi_failure: ErrorCode::OK };
        if let Err(code) = record(&mut prep) {
            out.truncate(start);
            return self.prep_error(ctx, code, out);
        }
        let multi_failure = prep.multi_failure;
        if rules.digest_enabled {
            self.put_digest(out);
        }
        Prepared { op, error: ErrorCode::OK, multi_failure }
    }

    fn put_digest(&self, out: &mut Vec<u8>) {
        TxnDigest { version: TxnDigest::VERSION, tree_digest: self.tree_digest() }.encode(out);
    }
}

fn header(ctx: &PrepContext<'_>, op: OpCode) -> TxnHeader {
    TxnHeader { session: ctx.session, cxid: ctx.cxid, zxid: ctx.zxid, time_ms: ctx.time_ms, op }
}

/// One request on its way. Its methods check first, then append the record, and touch the overlay
/// last, when nothing can refuse any more: only a multi ever has to take something back.
struct Prep<'p, 'a> {
    overlay: &'p mut Overlay,
    tree: &'a Tree,
    rules: &'a Rules,
    ctx: &'a PrepContext<'a>,
    out: &'p mut Vec<u8>,
    /// Where the payload begins in `out`.
    start: usize,
    multi_failure: ErrorCode,
}

impl<'a> Prep<'_, 'a> {
    /// The znode at a path, or NONODE.
    fn node(&self, key: Key<'_>) -> Checked<Found<'a>> {
        self.overlay.find(self.tree, key).ok_or(ErrorCode::NO_NODE)
    }

    /// Checks one permission on a znode, or NOAUTH.
    fn permit(&self, found: &Found<'_>, perm: i32) -> Checked {
        let acl = self.overlay.acl(found);
        if acl.is_open() || self.rules.skip_acl {
            return Ok(());
        }
        match acl_rules::permits(acl.list(), perm, self.ctx.auth, self.rules.schemes) {
            true => Ok(()),
            false => Err(ErrorCode::NO_AUTH),
        }
    }

    /// Appends a path that was validated: it holds no character that is written differently.
    fn put_path(&mut self, path: &str) {
        self.out.put_buffer(Some(path.as_bytes()));
    }

    /// Refuses what makes the payload larger than a reader of the log accepts. A multi is measured
    /// as it grows.
    fn fits(&self) -> Checked {
        let bytes = self.out.len() - self.start + TxnDigest::BYTES;
        match bytes <= self.rules.entry_bytes_max {
            true => Ok(()),
            false => Err(ErrorCode::MARSHALLING_ERROR),
        }
    }
}

/// The version after a change, or BADVERSION (`checkAndIncVersion`).
fn next_version(current: i32, expected: i32) -> Checked<i32> {
    match expected == -1 || expected == current {
        true => Ok(current.wrapping_add(1)),
        false => Err(ErrorCode::BAD_VERSION),
    }
}

/// Splits a path that may be deleted, or BADARGUMENTS (`getParentPathAndValidate`).
fn deletable(path: &str) -> Checked<&str> {
    match path::split(path) {
        Some((parent, _)) if !path.contains('\0') && !path::is_special(path) => Ok(parent),
        _ => Err(ErrorCode::BAD_ARGUMENTS),
    }
}

/// Checks a path that is written to, or BADARGUMENTS.
fn writable(path: &str) -> Checked {
    path::validate(path).map_err(|_| ErrorCode::BAD_ARGUMENTS)
}
