//! What preparing costs: `cargo run --release -p oxkeeper-tree --example prep_cost`.
//!
//! Trees of ten thousand and of a million znodes of 100 bytes, written at random with a pipeline
//! of 500. Printed is the time per request of preparing alone (decoding included), and of applying
//! what was prepared. In the large tree nearly every znode is a miss of the cache, which whoever
//! comes first pays. With any argument, only the small one.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it measures: it needs a clock

use std::time::{Duration, Instant};

use oxkeeper_proto::request::{CreateRequest, MultiRequest, PathVersion, SetDataRequest};
use oxkeeper_proto::{MultiOp, OPEN_ACL_UNSAFE, OpCode, Payload, Reader, Request, SessionId, Zxid};
use oxkeeper_tree::prep::{PrepContext, Rules};
use oxkeeper_tree::{AuthId, Changes, Overlay, Tree, TreeOptions};

const DEPTH: usize = 500;
const DATA: [u8; 100] = [b'x'; 100];

struct Bench {
    tree: Tree,
    overlay: Overlay,
    rules: Rules,
    auth: Vec<AuthId>,
    zxid: Zxid,
    preparing: Duration,
    applying: Duration,
}

fn create(path: &str, flags: i32) -> CreateRequest<'_> {
    CreateRequest {
        op: OpCode::CREATE,
        path: path.into(),
        data: Some(&DATA),
        acl: OPEN_ACL_UNSAFE,
        flags,
        ttl_ms: -1,
    }
}

impl Bench {
    /// Prepares and applies in turns of one pipeline's depth.
    fn run(&mut self, requests: &[Vec<u8>], op: OpCode) {
        let mut payloads = Vec::new();
        let mut ends = Vec::new();
        let mut changes = Changes::new();
        for batch in requests.chunks(DEPTH) {
            payloads.clear();
            ends.clear();
            let start = Instant::now();
            for body in batch {
                self.zxid = self.zxid.next();
                let ctx = PrepContext {
                    session: SessionId(1),
                    cxid: 1,
                    zxid: self.zxid,
                    time_ms: self.zxid.0,
                    auth: &self.auth,
                    ephemerals_refused: None,
                };
                let request = Request::decode(op, &mut Reader::new(body)).unwrap().unwrap();
                let Bench { overlay, tree, rules, .. } = self;
                let prepared = overlay.prep(tree, rules, &ctx, &request, &mut payloads);
                assert!(prepared.error.is_ok() && prepared.multi_failure.is_ok());
                ends.push(payloads.len());
            }
            self.preparing += start.elapsed();
            let start = Instant::now();
            let mut from = 0;
            changes.clear();
            for &end in &ends {
                let payload = Payload::decode(&payloads[from..end]).unwrap();
                self.tree.apply(&payload, &mut changes, None);
                self.overlay.applied(payload.header.zxid);
                from = end;
            }
            self.applying += start.elapsed();
        }
    }

    fn measure(
        &mut self,
        what: &str,
        op: OpCode,
        requests: impl Iterator<Item = Request<'static>>,
    ) {
        let bodies: Vec<Vec<u8>> = requests
            .map(|request| {
                let mut body = Vec::new();
                request.encode(&mut body);
                body
            })
            .collect();
        (self.preparing, self.applying) = (Duration::ZERO, Duration::ZERO);
        self.run(&bodies, op);
        let each = |time: Duration| time.as_nanos() as usize / bodies.len();
        println!("{what:<28}{:>8} ns{:>8} ns", each(self.preparing), each(self.applying));
    }
}

/// A znode's path, spread over the tree so that the next is far from the last.
fn path(at: usize, width: usize) -> String {
    let at = at * 7919 % (width * width);
    format!("/bench/parent-{}/child-{}", at / width, at % width)
}

fn main() {
    tree_of(100, 10_000);
    if std::env::args().nth(1).is_none() {
        tree_of(1000, 300_000);
    }
}

fn tree_of(width: usize, some: usize) {
    let path = |at| path(at, width);
    let mut bench = Bench {
        tree: Tree::new(TreeOptions::default()),
        overlay: Overlay::new(1),
        rules: Rules::default(),
        auth: vec![AuthId::new("ip", "127.0.0.1")],
        zxid: Zxid::ZERO,
        preparing: Duration::ZERO,
        applying: Duration::ZERO,
    };
    println!("{:<28}{:>11}{:>11}", format!("{} znodes", width * width), "prep", "apply");
    let parents = (0..width).map(|at| format!("/bench/parent-{at}"));
    let parents = std::iter::once("/bench".to_owned()).chain(parents);
    let new = |path: String, flags| {
        let path = path.into();
        Request::Create(CreateRequest { path, ..create("", flags) })
    };
    bench.measure("create a parent", OpCode::CREATE, parents.map(|path| new(path, 0)));
    let all = (0..width * width).map(path);
    bench.measure("create, fresh", OpCode::CREATE, all.map(|path| new(path, 0)));
    let set = |path: String| {
        Request::SetData(SetDataRequest { path: path.into(), data: Some(&DATA), version: -1 })
    };
    bench.measure("set, spread", OpCode::SET_DATA, (0..some).map(|at| set(path(at))));
    bench.measure("set, 64 paths", OpCode::SET_DATA, (0..some).map(|at| set(path(at % 64))));
    let delete = |path: String| Request::Delete(PathVersion { path: path.into(), version: -1 });
    bench.measure("delete", OpCode::DELETE, (0..some).map(|at| delete(path(at))));
    bench.measure("create, again", OpCode::CREATE, (0..some).map(|at| new(path(at), 0)));
    let locks = (0..some).map(|at| new(format!("/bench/parent-{}/lock-", at % width), 3));
    bench.measure("create, sequential ephemeral", OpCode::CREATE, locks);
    let multis = (0..some / 10).map(|at| {
        let ops = (0..10).map(|op| {
            let path = path(at * 10 + op).into();
            MultiOp::SetData(SetDataRequest { path, data: Some(&DATA), version: -1 })
        });
        let mut body = Vec::new();
        MultiRequest::encode_ops(&mut body, ops);
        let body: &'static [u8] = body.leak();
        Request::Multi(MultiRequest::decode(&mut Reader::new(body)).unwrap())
    });
    bench.measure("multi of 10 sets", OpCode::MULTI, multis);
}
