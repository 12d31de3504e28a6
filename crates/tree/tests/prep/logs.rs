//! Logs that ZooKeeper wrote: asked for the same, we write the same bytes.
//!
//! A log holds transactions, not requests, but nearly every request can be told from what became
//! of it. Each is asked again at the same time by the same session, and the payload must be the
//! logged one, digest included, however deep the pipeline.

use oxkeeper_proto::request::{
    CreateRequest, MultiRequest, PathVersion, SetAclRequest, SetDataRequest,
};
use oxkeeper_proto::{ErrorCode, MultiOp, OpCode, Payload, Reader, Request, Txn};
use oxkeeper_tree::prep::{PrepContext, Prepared, Rules};
use oxkeeper_tree::{AuthId, Changes, Overlay, Tree, TreeOptions};

use crate::world::extended;

/// The payloads of a log file: a header of 16 bytes, then checksum, length, payload, end mark.
pub fn payloads(log: &'static [u8]) -> Vec<&'static [u8]> {
    let mut rest = &log[16..];
    let mut out = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(12) {
        let len = i32::from_be_bytes(head[8..].try_into().unwrap()) as usize;
        if len == 0 {
            break;
        }
        out.push(&tail[..len]);
        assert_eq!(tail[len], b'B');
        rest = &tail[len + 1..];
    }
    out
}

/// The operation that a record inside a multi came from.
fn op<'a>(kind: OpCode, txn: Txn<'a>) -> MultiOp<'a> {
    match request(kind, txn) {
        Some(Request::Create(create)) => MultiOp::Create(create),
        Some(Request::Delete(delete)) => MultiOp::Delete(delete),
        Some(Request::SetData(set)) => MultiOp::SetData(set),
        Some(Request::Check(check)) => MultiOp::Check(check),
        other => panic!("{kind}: {other:?}"),
    }
}

/// The request that a record came from, the versions made those that had to match.
fn request<'a>(kind: OpCode, txn: Txn<'a>) -> Option<Request<'a>> {
    Some(match txn {
        Txn::Create(create) => Request::Create(CreateRequest {
            op: create.op,
            flags: match create.op {
                OpCode::CREATE_CONTAINER => 4,
                OpCode::CREATE_TTL => 5,
                _ => i32::from(create.ephemeral),
            },
            path: create.path,
            data: create.data,
            acl: create.acl,
            ttl_ms: create.ttl_ms,
        }),
        Txn::Delete(path) if kind == OpCode::DELETE => {
            Request::Delete(PathVersion { path, version: -1 })
        }
        Txn::SetData(set) if kind == OpCode::SET_DATA => Request::SetData(SetDataRequest {
            path: set.path,
            data: set.data,
            version: set.version.wrapping_sub(1),
        }),
        Txn::SetAcl(set) => Request::SetAcl(SetAclRequest {
            path: set.path,
            acl: set.acl,
            version: set.version - 1,
        }),
        Txn::Check(check) => {
            Request::Check(PathVersion { path: check.path, version: check.version - 1 })
        }
        _ => return None,
    })
}

struct Replay {
    tree: Tree,
    overlay: Overlay,
    rules: Rules,
    under_way: Vec<Vec<u8>>,
    compared: usize,
}

impl Replay {
    fn ask(
        &mut self,
        ctx: &PrepContext<'_>,
        logged: &Payload<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Prepared> {
        let Replay { tree, overlay, rules, .. } = self;
        let op_code = logged.header.op;
        Some(match logged.txn.clone() {
            Txn::Error(code) => overlay.prep_error(ctx, code, out),
            Txn::CreateSession(timeout_ms) => {
                overlay.prep_create_session(tree, rules, ctx, timeout_ms, out)
            }
            Txn::CloseSession(_) => overlay.prep_close_session(tree, rules, ctx, ctx.session, out),
            Txn::SetData(set) if op_code == OpCode::RECONFIG => {
                let text = str::from_utf8(set.data?).ok()?;
                overlay.prep_reconfig(tree, rules, ctx, text, out)
            }
            Txn::Delete(path) if op_code == OpCode::DELETE_CONTAINER => {
                overlay.prep_delete_container(tree, rules, ctx, &path, out)
            }
            Txn::Multi(multi) => {
                let known: Vec<_> = multi
                    .iter()
                    .take_while(|(op, _)| *op != OpCode::ERROR)
                    .map(|(kind, txn)| op(kind, txn))
                    .collect();
                // What failed is not logged. A check of a znode that cannot be does as well, if
                // that is the error that was logged.
                let failed = multi.iter().count() - known.len();
                if !matches!(multi.failure(), None | Some(ErrorCode::NO_NODE)) {
                    return None;
                }
                let missing = || {
                    let path = "/no/such/znode".into();
                    MultiOp::Check(PathVersion { path, version: -1 })
                };
                let mut body = Vec::new();
                let all = known.into_iter().chain((0..failed).map(|_| missing()));
                MultiRequest::encode_ops(&mut body, all);
                let multi = MultiRequest::decode(&mut Reader::new(&body)).unwrap();
                overlay.prep(tree, rules, ctx, &Request::Multi(multi), out)
            }
            txn => overlay.prep(tree, rules, ctx, &request(op_code, txn)?, out),
        })
    }

    /// Prepares what was logged and compares. What cannot be asked for again is taken as it is,
    /// once all before it is applied.
    fn step(&mut self, logged: &'static [u8]) {
        let payload = Payload::decode(logged).unwrap();
        let header = payload.header;
        // The workload was driven by a client that could do everything.
        let auth = [AuthId::new("super", ""), AuthId::new("digest", "bob:x")];
        let ctx = PrepContext {
            session: header.session,
            cxid: header.cxid,
            zxid: header.zxid,
            time_ms: header.time_ms,
            auth: &auth,
            ephemerals_refused: None,
        };
        let mut out = Vec::new();
        let wrong = is_java_mistake(&payload);
        if wrong || self.ask(&ctx, &payload, &mut out).is_none() {
            self.apply_all();
            self.under_way.push(logged.to_vec());
            self.apply_all();
            return;
        }
        let ours = Payload::decode(&out).unwrap();
        if let (Txn::CloseSession(Some(a)), Txn::CloseSession(Some(b))) = (&ours.txn, &payload.txn)
        {
            // Java's order is that of a hash set.
            let sorted = |list: &oxkeeper_proto::StringList<'_>| {
                let mut paths: Vec<_> = list.iter().map(|p| p.into_owned()).collect();
                paths.sort();
                paths
            };
            assert_eq!(sorted(a), sorted(b), "{header:?}");
            assert_eq!(ours.digest, payload.digest, "{header:?}");
        } else {
            assert_eq!(ours, payload);
            assert_eq!(out, logged, "{header:?}");
        }
        self.compared += 1;
        self.under_way.push(out);
    }

    fn apply_all(&mut self) {
        for bytes in self.under_way.drain(..) {
            let payload = Payload::decode(&bytes).unwrap();
            self.tree.apply(&payload, &mut Changes::new(), None);
            self.overlay.applied(payload.header.zxid);
            if let Some(digest) = payload.digest.filter(|_| !is_java_mistake(&payload)) {
                assert_eq!(digest.tree_digest, self.tree.digest(), "{payload:?}");
            }
        }
    }
}

/// Operations whose flags disagreed: Java's own digests are wrong there, and we refuse them.
fn is_java_mistake(payload: &Payload<'_>) -> bool {
    let golden = [0x37, 0x38];
    matches!(payload.txn, Txn::Create(_)) && golden.contains(&payload.header.zxid.0)
}

fn replay(logs: &[&'static [u8]], depth: usize, min_compared: usize) {
    let rules = Rules { owners: extended(), ..Rules::default() };
    let options = TreeOptions { owner_rules: extended(), ..TreeOptions::default() };
    let mut replay = Replay {
        tree: Tree::new(options),
        overlay: Overlay::new(7),
        rules,
        under_way: Vec::new(),
        compared: 0,
    };
    for payload in logs.iter().flat_map(|log| payloads(log)) {
        replay.step(payload);
        if replay.under_way.len() >= depth {
            replay.apply_all();
        }
    }
    replay.apply_all();
    assert!(replay.compared >= min_compared, "only {} transactions compared", replay.compared);
}

const PLAIN: [&[u8]; 2] = [
    include_bytes!("../fixtures/3.9.5-plain.log.1"),
    include_bytes!("../fixtures/3.9.5-plain.log.81"),
];
const CONTAINERS: [&[u8]; 1] = [include_bytes!("../fixtures/3.9.5-container-gc.log.1")];

pub const ENSEMBLE: &[u8] = include_bytes!("../fixtures/3.9.5-ensemble-s1.log.100000001");

#[test]
fn a_workload_of_everything_is_written_as_java_wrote_it() {
    for depth in [1, 3, 1000] {
        replay(&PLAIN, depth, 110);
    }
}

#[test]
fn reconfigurations_are_written_as_java_wrote_them() {
    for depth in [1, 3, 1000] {
        replay(&[ENSEMBLE], depth, 13);
    }
}

#[test]
fn removed_containers_are_written_as_java_wrote_them() {
    for depth in [1, 1000] {
        replay(&CONTAINERS, depth, 5);
    }
}
