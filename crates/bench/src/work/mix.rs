//! Requests of several kinds in given proportions: what most measurements are.
//!
//! A mix is a cycle of operations with each kind spread evenly, so that two runs send the same
//! sequence. Creates and deletes pair up per connection: a delete takes the oldest znode that its
//! own connection has created, and since requests of a session run in order it always finds it.

use std::collections::VecDeque;

use anyhow::{Result, bail, ensure};
use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::{
    CreateRequest, MultiOp, MultiRequest, PathVersion, PathWatch, RequestHeader, SetDataRequest,
};
use oxkeeper_proto::{CreateMode, ErrorCode, OPEN_ACL_UNSAFE, OpCode, Reader, Request};

use super::multi_outcome;
use crate::engine::{Reply, Work};
use crate::layout::Layout;
use crate::template::{HOLE, Template};

/// Operations in one multi.
const MULTI_OPS: usize = 10;

/// The longest cycle that a mix may expand to.
const CYCLE_MAX: u32 = 1000;

/// One kind of request in a mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// getData.
    Get,
    /// getData that leaves a watch.
    Watch,
    /// setData.
    Set,
    /// exists.
    Exists,
    /// getChildren of a parent.
    Children,
    /// create of a new znode.
    Create,
    /// delete of the oldest znode created on the connection (a create if there is none).
    Delete,
    /// create of a sequential ephemeral, and its delete once the name is known, in turns.
    Sequential,
    /// A multi of ten setData.
    Multi,
    /// sync.
    Sync,
}

impl Op {
    const ALL: [(&'static str, Op); 10] = [
        ("get", Op::Get),
        ("watch", Op::Watch),
        ("set", Op::Set),
        ("exists", Op::Exists),
        ("children", Op::Children),
        ("create", Op::Create),
        ("delete", Op::Delete),
        ("sequential", Op::Sequential),
        ("multi", Op::Multi),
        ("sync", Op::Sync),
    ];

    fn name(self) -> &'static str {
        Op::ALL[self as usize].0
    }
}

/// Names of the kinds, in the order of [`Op`].
pub const KINDS: &[&str] = &[
    "get",
    "watch",
    "set",
    "exists",
    "children",
    "create",
    "delete",
    "sequential",
    "multi",
    "sync",
];

/// Operations with their shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Op, u32)>);

impl Mix {
    /// Reads `get=8,set=2`; a share left out is 1.
    ///
    /// # Errors
    /// When an operation is unknown, named twice or has no share.
    pub fn parse(text: &str) -> Result<Mix> {
        let mut shares: Vec<(Op, u32)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let Some((_, op)) = Op::ALL.iter().find(|(known, _)| *known == name) else {
                bail!("{name:?} is no operation; known are {}", KINDS.join(", "));
            };
            let Ok(share @ 1..=CYCLE_MAX) = share.parse() else {
                bail!("the share of {name} must be 1 to {CYCLE_MAX}, not {share:?}");
            };
            ensure!(shares.iter().all(|(other, _)| other != op), "{name} is named twice");
            shares.push((*op, share));
        }
        Ok(Mix(shares))
    }

    /// The cycle: at every place the operation that lags furthest behind its share.
    fn cycle(&self) -> Vec<Op> {
        let total: u32 = self.0.iter().map(|(_, share)| share).sum();
        let mut credit = vec![0_i64; self.0.len()];
        let mut cycle = Vec::with_capacity(total as usize);
        for _ in 0..total {
            for (credit, (_, share)) in credit.iter_mut().zip(&self.0) {
                *credit += i64::from(*share);
            }
            // The first of equals, so that `create,delete` begins with the create.
            let most = *credit.iter().max().unwrap_or(&0);
            let chosen = credit.iter().position(|one| *one == most).unwrap_or(0);
            credit[chosen] -= i64::from(total);
            cycle.push(self.0[chosen].0);
        }
        cycle
    }

    /// The operations in it, in the order given.
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        self.0.iter().map(|(op, _)| *op)
    }

    /// The mix as it would be written.
    pub fn text(&self) -> String {
        let parts: Vec<String> =
            self.0.iter().map(|(op, share)| format!("{}={share}", op.name())).collect();
        parts.join(",")
    }
}

/// What one connection keeps.
#[derive(Default)]
struct Place {
    turn: usize,
    /// Numbers of the znodes created and not yet deleted.
    created: VecDeque<u64>,
    /// Names of sequential ephemerals, as the server has given them.
    named: VecDeque<Vec<u8>>,
}

/// The traffic of a [`Mix`] over a loaded [`Layout`].
pub struct MixWork {
    cycle: Vec<Op>,
    layout: Layout,
    places: Vec<Place>,
    templates: Vec<Template>,
    random: u64,
    next_number: u64,
}

impl MixWork {
    /// Traffic for `conns` connections. `part` tells threads and rounds apart: each names its own
    /// znodes, since the last creates of a round stay, and reads in its own order.
    pub fn new(mix: &Mix, layout: &Layout, value_bytes: usize, conns: usize, part: u32) -> Self {
        let cycle = mix.cycle();
        let places = (0..conns)
            // Connections begin at different places, or all would send the same kind at a time.
            .map(|conn| Place { turn: if cycle.len() > 2 { conn } else { 0 }, ..Place::default() })
            .collect();
        MixWork {
            cycle,
            layout: layout.clone(),
            places,
            templates: templates(layout, &vec![0; value_bytes], part),
            random: u64::from(part).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d,
            next_number: 0,
        }
    }

    /// A leaf, every one equally likely (xorshift64*).
    #[inline]
    fn any_leaf(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let draw = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (draw * self.layout.named()) >> 32
    }

    /// Deletes a sequential ephemeral if a name is known, else creates one.
    fn sequential(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) {
        let Some(path) = self.places[conn].named.pop_front() else {
            return self.templates[Op::Sequential as usize].stamp(out, xid, |_| 0);
        };
        let start = begin_frame(out);
        RequestHeader { xid, op: OpCode::DELETE }.encode(out);
        out.extend_from_slice(&path);
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        end_frame(out, start);
    }
}

impl Work for MixWork {
    fn kinds(&self) -> &[&'static str] {
        KINDS
    }

    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        let turn = self.places[conn].turn;
        self.places[conn].turn = turn + 1;
        let mut op = self.cycle[turn % self.cycle.len()];
        if op == Op::Delete && self.places[conn].created.is_empty() {
            op = Op::Create;
        }
        match op {
            Op::Sequential => self.sequential(conn, xid, out),
            Op::Create => {
                let number = self.next_number;
                self.next_number += 1;
                self.places[conn].created.push_back(number);
                self.templates[op as usize].stamp(out, xid, |_| number);
            }
            Op::Delete => {
                let number = self.places[conn].created.pop_front().unwrap_or(0);
                self.templates[op as usize].stamp(out, xid, |_| number);
            }
            Op::Multi => {
                let leaf = self.any_leaf();
                let (holes, named) = (self.layout.leaf_holes(), self.layout.named());
                let layout = &self.layout;
                self.templates[op as usize].stamp(out, xid, |hole| {
                    layout.leaf_number((leaf + (hole / holes) as u64) % named, hole % holes)
                });
            }
            Op::Get | Op::Watch | Op::Set | Op::Exists | Op::Children | Op::Sync => {
                let leaf = self.any_leaf();
                let layout = &self.layout;
                let template = &self.templates[op as usize];
                template.stamp(out, xid, |hole| layout.leaf_number(leaf, hole));
            }
        }
        Some(op as u8)
    }

    #[inline]
    fn reply(&mut self, reply: &Reply<'_>, _now_ns: u64) -> ErrorCode {
        if reply.kind == Op::Multi as u8 {
            return multi_outcome(reply.err, reply.body);
        }
        // Only the reply to a create carries a path, with its length before it.
        if reply.kind == Op::Sequential as u8 && !reply.body.is_empty() {
            let mut reader = Reader::new(reply.body);
            if let Ok(Some(path)) = reader.buffer() {
                self.places[reply.conn].named.push_back(reply.body[..path.len() + 4].to_vec());
            }
        }
        reply.err
    }
}

/// One template per [`Op`], in its order.
fn templates(layout: &Layout, value: &[u8], part: u32) -> Vec<Template> {
    let leaf = layout.leaf_path();
    let read = |path: &str, watch| PathWatch { path: path.to_owned().into(), watch };
    let set = || SetDataRequest { path: leaf.as_str().into(), data: Some(value), version: -1 };
    let new = format!("{}/new/{part}-{HOLE}", layout.root);
    let create = |path: String, mode: CreateMode| {
        Template::new(&Request::Create(CreateRequest {
            op: OpCode::CREATE,
            path: path.into(),
            data: Some(value),
            acl: OPEN_ACL_UNSAFE,
            flags: mode.flags(),
            ttl_ms: -1,
        }))
    };
    let mut multi = Vec::new();
    MultiRequest::encode_ops(&mut multi, (0..MULTI_OPS).map(|_| MultiOp::SetData(set())));
    Op::ALL
        .iter()
        .map(|(_, op)| match op {
            Op::Get => Template::new(&Request::GetData(read(&leaf, false))),
            Op::Watch => Template::new(&Request::GetData(read(&leaf, true))),
            Op::Set => Template::new(&Request::SetData(set())),
            Op::Exists => Template::new(&Request::Exists(read(&leaf, false))),
            Op::Children => {
                Template::new(&Request::GetChildren(read(&layout.parent_path(), false)))
            }
            Op::Create => create(new.clone(), CreateMode::Persistent),
            Op::Delete => {
                let delete = PathVersion { path: new.as_str().into(), version: -1 };
                Template::new(&Request::Delete(delete))
            }
            Op::Sequential => {
                create(format!("{}/new/s-", layout.root), CreateMode::EphemeralSequential)
            }
            Op::Multi => Template::from_body(OpCode::MULTI, &multi),
            Op::Sync => Template::new(&Request::Sync(Some(leaf.as_str().into()))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;
    use oxkeeper_proto::connect::split_frame;

    #[test]
    fn a_mix_is_read_and_spread_evenly() {
        let mix = Mix::parse("get=3, set").unwrap();
        assert_eq!(mix.text(), "get=3,set=1");
        assert_eq!(mix.cycle(), [Op::Get, Op::Get, Op::Set, Op::Get]);
        let pair = Mix::parse("create,delete").unwrap();
        assert_eq!(pair.cycle(), [Op::Create, Op::Delete]);
        for bad in ["", "got", "get=0", "get=x", "get,get=2", "get=1001"] {
            assert!(Mix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_operations_are_in_their_order() {
        for (index, (name, op)) in Op::ALL.iter().enumerate() {
            assert_eq!((*op as usize, KINDS[index]), (index, *name));
        }
    }

    /// The requests that a connection would send.
    fn sent(work: &mut MixWork, count: usize) -> Vec<(OpCode, Vec<u8>)> {
        let mut out = Vec::new();
        for xid in 0..count {
            work.next(0, xid as i32, &mut out).unwrap();
        }
        let mut rest = &out[..];
        let mut requests = Vec::new();
        while let Some((frame, behind)) = split_frame(rest, 1 << 20).unwrap() {
            let mut reader = Reader::new(frame);
            let header = RequestHeader::decode(&mut reader).unwrap();
            requests.push((header.op, reader.rest().to_vec()));
            rest = behind;
        }
        requests
    }

    #[test]
    fn every_operation_names_a_znode_that_was_loaded() {
        let layout = Layout::sized(Shape::Wide, "/b", 2500);
        let known: Vec<String> = (0..layout.groups()).flat_map(|g| layout.group(g)).collect();
        let mix = Mix::parse("get,watch,set,exists,children,multi,sync").unwrap();
        let mut work = MixWork::new(&mix, &layout, 20, 1, 0);
        let requests = sent(&mut work, 700);
        assert_eq!(requests.len(), 700);
        for (op, body) in &requests {
            let request = Request::decode(*op, &mut Reader::new(body)).unwrap().unwrap();
            let paths: Vec<String> = match request {
                Request::GetData(r) | Request::Exists(r) | Request::GetChildren(r) => {
                    vec![r.path.into_owned()]
                }
                Request::SetData(set) => vec![set.path.into_owned()],
                Request::Sync(path) => vec![path.unwrap().into_owned()],
                Request::Multi(multi) => {
                    assert_eq!(multi.len(), MULTI_OPS);
                    let set = |op| match op {
                        MultiOp::SetData(set) => set.path.into_owned(),
                        other => panic!("{other:?} in a multi of sets"),
                    };
                    multi.iter().map(set).collect()
                }
                other => panic!("{other:?} is not in the mix"),
            };
            assert!(paths.iter().all(|path| known.contains(path)), "{paths:?}");
        }
    }

    #[test]
    fn deletes_take_what_their_own_connection_created() {
        let layout = Layout::sized(Shape::Wide, "/b", 1);
        let mix = Mix::parse("delete,create").unwrap();
        let mut work = MixWork::new(&mix, &layout, 3, 1, 0);
        let mut alive: Vec<String> = Vec::new();
        for (op, body) in sent(&mut work, 100) {
            match Request::decode(op, &mut Reader::new(&body)).unwrap().unwrap() {
                Request::Create(create) => alive.push(create.path.into_owned()),
                Request::Delete(delete) => {
                    let at = alive.iter().position(|path| *path == delete.path).unwrap();
                    alive.remove(at);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(alive.len() <= 2, "{alive:?}");
    }

    #[test]
    fn a_sequential_is_deleted_under_the_name_it_was_given() {
        let layout = Layout::sized(Shape::Wide, "/b", 1);
        let mut work = MixWork::new(&Mix::parse("sequential").unwrap(), &layout, 3, 1, 0);
        assert_eq!(sent(&mut work, 1)[0].0, OpCode::CREATE);
        let mut body = Vec::new();
        oxkeeper_proto::Put::put_string(&mut body, "/b/new/s-0000000007");
        let kind = Op::Sequential as u8;
        work.reply(&Reply { conn: 0, kind, err: ErrorCode::OK, body: &body }, 0);
        let (op, body) = sent(&mut work, 1).remove(0);
        let delete = Request::decode(op, &mut Reader::new(&body)).unwrap().unwrap();
        let path = "/b/new/s-0000000007".into();
        assert_eq!(delete, Request::Delete(PathVersion { path, version: -1 }));
    }
}
