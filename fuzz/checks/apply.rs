//! Transactions applied to a small tree, in any order and with any content.
//!
//! Holds whatever comes: nothing panics; two members that differ in what their hashes are seeded
//! with reach the same tree, say the same in reply and report the same changes; what the tree
//! counts is what it holds; and a snapshot taken meanwhile is the tree at its beginning.

use oxkeeper_proto::txn::CreateTxn;
use oxkeeper_proto::{OPEN_ACL_UNSAFE, OpCode, Payload, SessionId, Txn, TxnHeader, Zxid};
use oxkeeper_tree::{AclHandle, ChangeKind, Changes, SnapshotHead, Tree, TreeOptions};

use crate::snapshot_file::{end, head, load};
use crate::state::{State, options, state};

const OPS: [OpCode; 14] = [
    OpCode::CREATE,
    OpCode::CREATE2,
    OpCode::CREATE_CONTAINER,
    OpCode::CREATE_TTL,
    OpCode::DELETE,
    OpCode::DELETE_CONTAINER,
    OpCode::SET_DATA,
    OpCode::SET_ACL,
    OpCode::CHECK,
    OpCode::CREATE_SESSION,
    OpCode::CLOSE_SESSION,
    OpCode::ERROR,
    OpCode::MULTI,
    OpCode::RECONFIG,
];

/// Kinds of a step beyond the operations: a whole payload, header included, and a piece of a
/// snapshot.
const WHOLE_PAYLOAD: usize = 14;
const SNAPSHOT: usize = 15;

/// The first byte chooses options. Steps follow: a byte for kind and session, a byte for the length
/// (255: all that is left), and that many bytes.
pub fn run(data: &[u8]) {
    let Some((&bits, mut rest)) = data.split_first() else { return };
    let mut members = Members::new(options(bits));
    while let [kind, len, behind @ ..] = rest {
        let len = if *len == 255 { behind.len() } else { behind.len().min((*len).into()) };
        let (body, behind) = behind.split_at(len);
        rest = behind;
        match usize::from(kind & 15) {
            WHOLE_PAYLOAD => members.apply(body),
            SNAPSHOT => members.snapshot(body.first().copied().unwrap_or(3).into()),
            op => members.step(OPS[op], i64::from(kind >> 4), body),
        }
    }
    members.finish();
}

struct Snapshot {
    head: SnapshotHead,
    file: Vec<u8>,
    /// What it has to read back as, unless it may not.
    expected: Option<State>,
}

struct Members {
    one: Tree,
    other: Tree,
    changes: [Changes; 2],
    zxid: i64,
    snapshot: Option<Snapshot>,
}

impl Members {
    /// Two members with one znode of each kind, and a quota.
    fn new(options: TreeOptions) -> Members {
        let mut members = Members {
            one: Tree::new(options),
            other: Tree::new(TreeOptions { hash_seed: 77, ..options }),
            changes: [Changes::new(), Changes::new()],
            zxid: 0,
            snapshot: None,
        };
        let limits = b"count=3,bytes=40=;byteHardLimit=50;countHardLimit=5";
        for (op, path, data, ephemeral) in [
            (OpCode::CREATE, "/a", &b"data"[..], false),
            (OpCode::CREATE, "/a/b", b"", false),
            (OpCode::CREATE2, "/e", b"", true),
            (OpCode::CREATE_CONTAINER, "/c", b"", false),
            (OpCode::CREATE_TTL, "/t", b"", false),
            (OpCode::CREATE, "/zookeeper/quota/a", b"", false),
            (OpCode::CREATE, "/zookeeper/quota/a/zookeeper_limits", limits, false),
            (OpCode::CREATE, "/zookeeper/quota/a/zookeeper_stats", b"count=2,bytes=4", false),
        ] {
            let (data, path) = (Some(data), path.into());
            let (acl, parent_cversion, ttl_ms) = (OPEN_ACL_UNSAFE, -1, 1000);
            let create = CreateTxn { op, path, data, acl, ephemeral, parent_cversion, ttl_ms };
            let mut body = Vec::new();
            Txn::Create(create).encode(&mut body);
            members.step(op, 1, &body);
        }
        members
    }

    /// A record under a header that fits.
    fn step(&mut self, op: OpCode, session: i64, body: &[u8]) {
        let (session, zxid) = (SessionId(session), Zxid(self.zxid + 1));
        let header = TxnHeader { session, cxid: 0, zxid, time_ms: 1000 + zxid.0, op };
        let mut payload = Vec::new();
        header.encode(&mut payload);
        payload.extend_from_slice(body);
        self.apply(&payload);
    }

    fn apply(&mut self, payload: &[u8]) {
        let Ok(payload) = Payload::decode(payload) else { return };
        self.zxid = self.zxid.max(payload.header.zxid.0).min(i64::MAX - 1);
        let (mut reply, mut other) = (Vec::new(), Vec::new());
        let [changes, other_changes] = &mut self.changes;
        let code = self.one.apply(&payload, changes, Some(&mut reply));
        // What is replied is of no consequence, and neither is whether anyone asks for it.
        assert_eq!(self.other.apply(&payload, other_changes, Some(&mut other)), code);
        assert_eq!(reply, other);
        assert!(listed(changes).eq(listed(other_changes)), "changes of {payload:?}");
        changes.clear();
        other_changes.clear();
    }

    /// Goes on with the snapshot under way, or begins one.
    fn snapshot(&mut self, budget: usize) {
        let Some(snapshot) = &mut self.snapshot else {
            let expected = state(&self.one);
            let plain = expected.znodes.keys().all(|path| path.chars().all(|c| c <= '\u{ffff}'));
            let begun = self.one.snapshot_begin().expect("no other is under way");
            let file = head(&begun);
            let expected = (expected.unreachable == 0 && plain).then_some(expected);
            self.snapshot = Some(Snapshot { head: begun, file, expected });
            return;
        };
        if let Some(chunk) = self.one.snapshot_next(budget) {
            return chunk.encode(&mut snapshot.file);
        }
        end(&snapshot.head, &mut snapshot.file);
        let options = self.one.options();
        let zxid = snapshot.expected.as_ref().map_or(Zxid(0), |state| state.zxid);
        let loaded = load(&snapshot.file, options, zxid).expect("what we write can be read");
        let found = state(&loaded.tree);
        if let Some(expected) = &snapshot.expected {
            assert_eq!(&found, expected, "the tree when the snapshot began");
        }
        self.snapshot = None;
    }

    fn finish(&mut self) {
        while self.snapshot.is_some() {
            self.snapshot(100);
        }
        let (one, other) = (&self.one, &self.other);
        assert_eq!(state(one), state(other));
        assert_eq!(one.stats(), other.stats());
        assert_eq!(one.acl_count(), other.acl_count());
        assert_eq!(one.ephemeral_count(), other.ephemeral_count());
        assert_eq!(one.approximate_data_bytes(), other.approximate_data_bytes());
        assert!(one.ephemeral_owners().eq(other.ephemeral_owners()));
        assert!(one.quota_paths().eq(other.quota_paths()));
    }
}

/// Changes in a form that can be compared.
fn listed(changes: &Changes) -> impl Iterator<Item = (ChangeKind, &str, Zxid, Vec<u8>, Vec<u8>)> {
    let raw = |acl: &AclHandle| acl.raw().to_vec();
    changes.iter().map(move |c| (c.kind, c.path, c.zxid, raw(c.acl), raw(c.parent_acl)))
}
