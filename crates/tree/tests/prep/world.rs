//! A tree with its overlay, and a client that asks.
//!
//! Preparing and applying are apart, as in a server with transactions under way: a test says when
//! the oldest ones are applied. Applying always checks that the tree became what the transaction's
//! digest foretold, so no test has to ask for that.

use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::request::{
    CreateRequest, MultiRequest, PathVersion, SetAclRequest, SetDataRequest,
};
use oxkeeper_proto::{
    Acl, AclList, ErrorCode, MultiOp, OPEN_ACL_UNSAFE, OpCode, Payload, Reader, Request, SessionId,
    Zxid,
};
use oxkeeper_tree::prep::{PrepContext, Prepared, Rules};
use oxkeeper_tree::{AuthId, Changes, Overlay, OwnerRules, Tree, TreeOptions};

pub const SESSION: SessionId = SessionId(0x100_0000_0000_0001);
pub const OTHER: SessionId = SessionId(0x100_0000_0000_0002);

/// Everything on one server that a write meets.
pub struct World {
    pub tree: Tree,
    pub overlay: Overlay,
    pub rules: Rules,
    pub zxid: Zxid,
    pub time_ms: i64,
    pub session: SessionId,
    pub auth: Vec<AuthId>,
    /// Prepared but not applied, oldest first.
    pub under_way: Vec<Vec<u8>>,
    /// Every payload, for those who keep them.
    pub history: Vec<Vec<u8>>,
    /// The bodies of the replies of what was applied.
    pub replies: Vec<(ErrorCode, Vec<u8>)>,
}

/// An outcome: what the payload says.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub prepared: Prepared,
    pub payload: Vec<u8>,
}

impl Outcome {
    pub fn decoded(&self) -> Payload<'_> {
        Payload::decode(&self.payload).expect("what we write can be read")
    }
}

impl World {
    pub fn new() -> World {
        World::with(Rules { owners: extended(), ..Rules::default() })
    }

    pub fn with(rules: Rules) -> World {
        let options = TreeOptions {
            digest_enabled: rules.digest_enabled,
            owner_rules: rules.owners,
            ..TreeOptions::default()
        };
        World {
            tree: Tree::new(options),
            overlay: Overlay::new(1),
            rules,
            zxid: Zxid::ZERO,
            time_ms: 1000,
            session: SESSION,
            auth: vec![AuthId::new("ip", "127.0.0.1")],
            under_way: Vec::new(),
            history: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Prepares, without applying.
    pub fn propose(
        &mut self,
        prep: impl FnOnce(&mut Overlay, &Tree, &Rules, &PrepContext<'_>, &mut Vec<u8>) -> Prepared,
    ) -> Outcome {
        self.zxid = self.zxid.next();
        self.time_ms += 1;
        let ctx = PrepContext {
            session: self.session,
            cxid: self.zxid.0 as i32,
            zxid: self.zxid,
            time_ms: self.time_ms,
            auth: &self.auth,
            ephemerals_refused: None,
        };
        let mut payload = Vec::new();
        let prepared = prep(&mut self.overlay, &self.tree, &self.rules, &ctx, &mut payload);
        self.under_way.push(payload.clone());
        Outcome { prepared, payload }
    }

    /// Prepares a client's request, without applying it.
    pub fn request(&mut self, request: &Request<'_>) -> Outcome {
        self.propose(|overlay, tree, rules, ctx, out| overlay.prep(tree, rules, ctx, request, out))
    }

    /// Applies the oldest so many, checking that the tree becomes what was foretold.
    pub fn apply(&mut self, count: usize) {
        for payload in self.under_way.drain(..count) {
            let payload = Payload::decode(&payload).unwrap();
            let mut reply = Vec::new();
            let mut changes = Changes::new();
            let code = self.tree.apply(&payload, &mut changes, Some(&mut reply));
            if let Some(digest) = payload.digest {
                assert_eq!(digest.tree_digest, self.tree.digest(), "foretold by {payload:?}");
            }
            self.overlay.applied(payload.header.zxid);
            self.replies.push((code, reply));
        }
    }

    /// Applies all that is under way; afterwards the overlay has nothing left to say.
    pub fn settle(&mut self) {
        self.apply(self.under_way.len());
        assert!(self.overlay.is_empty());
        assert_eq!(self.overlay.len(), 0);
    }

    /// Prepares and applies.
    pub fn ask(&mut self, request: &Request<'_>) -> Outcome {
        let outcome = self.request(request);
        self.settle();
        outcome
    }

    /// Asks for what must succeed.
    pub fn must(&mut self, request: &Request<'_>) -> Outcome {
        let outcome = self.ask(request);
        assert_eq!(outcome.prepared.error, ErrorCode::OK, "{request:?}");
        assert_eq!(outcome.prepared.multi_failure, ErrorCode::OK, "{request:?}");
        assert_eq!(self.replies.last().unwrap().0, ErrorCode::OK, "{request:?}");
        outcome
    }

    /// Asks and tells the code, having checked that a refusal is a lone `error` transaction.
    pub fn code(&mut self, request: &Request<'_>) -> ErrorCode {
        let outcome = self.ask(request);
        check_refusal(&outcome);
        outcome.prepared.error
    }
}

/// A refused request is an `error` transaction without a digest; an accepted one is not.
pub fn check_refusal(outcome: &Outcome) {
    use oxkeeper_proto::Txn;
    let payload = outcome.decoded();
    assert_eq!(payload.header.op, outcome.prepared.op);
    if outcome.prepared.error.is_ok() {
        assert_ne!(payload.header.op, OpCode::ERROR);
    } else {
        assert_eq!(payload.header.op, OpCode::ERROR);
        assert_eq!(payload.txn, Txn::Error(outcome.prepared.error));
        assert_eq!(payload.digest, None);
        assert_eq!(outcome.payload.len(), 36);
    }
}

pub fn extended() -> OwnerRules {
    OwnerRules { extended_types: true, emulate_353: false }
}

pub fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(create_op(OpCode::CREATE, path, flags, -1))
}

pub fn create_op(op: OpCode, path: &str, flags: i32, ttl_ms: i64) -> CreateRequest<'_> {
    CreateRequest { op, path: path.into(), data: Some(b"x"), acl: OPEN_ACL_UNSAFE, flags, ttl_ms }
}

pub fn create_with<'a>(path: &'a str, acl: &'a [u8]) -> Request<'a> {
    let acl = AclList::from_raw(acl).unwrap();
    Request::Create(CreateRequest { acl, ..create_op(OpCode::CREATE, path, 0, -1) })
}

pub fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete(PathVersion { path: path.into(), version })
}

pub fn set_data<'a>(path: &'a str, data: &'a [u8], version: i32) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version })
}

pub fn set_acl<'a>(path: &'a str, acl: &'a [u8], version: i32) -> Request<'a> {
    let acl = AclList::from_raw(acl).unwrap();
    Request::SetAcl(SetAclRequest { path: path.into(), acl, version })
}

pub fn acl(entries: &[(i32, &str, &str)]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(p, s, i)| Acl::new(*p, s, i)).collect();
    let mut out = Vec::new();
    encode_acl(&mut out, &entries);
    out
}

/// The body of a multi; [`multi`] makes a request of it.
pub fn multi_body<'a>(ops: impl IntoIterator<Item = MultiOp<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    MultiRequest::encode_ops(&mut out, ops);
    out
}

pub fn multi(body: &[u8]) -> Request<'_> {
    Request::Multi(MultiRequest::decode(&mut Reader::new(body)).unwrap())
}

/// An operation of a multi from a request of its own.
pub fn op(request: Request<'_>) -> MultiOp<'_> {
    match request {
        Request::Create(create) => MultiOp::Create(create),
        Request::Delete(delete) => MultiOp::Delete(delete),
        Request::SetData(set) => MultiOp::SetData(set),
        Request::Check(check) => MultiOp::Check(check),
        other => panic!("{other:?} is no part of a multi"),
    }
}

pub fn check(path: &str, version: i32) -> Request<'_> {
    Request::Check(PathVersion { path: path.into(), version })
}
