//! Every connection leaves a watch on every znode of a layout, once: memory of watches.

use oxkeeper_proto::Request;
use oxkeeper_proto::request::PathWatch;

use crate::engine::{Reply, Work};
use crate::layout::Layout;
use crate::template::Template;
use oxkeeper_proto::ErrorCode;

/// One pass of watch-leaving reads.
pub struct SweepWork {
    layout: Layout,
    exists: Template,
    next_leaf: Vec<u64>,
    unanswered: u64,
}

impl SweepWork {
    /// A pass for `conns` connections over the leaves of `layout`.
    pub fn new(layout: &Layout, conns: usize) -> SweepWork {
        let read = PathWatch { path: layout.leaf_path().into(), watch: true };
        SweepWork {
            layout: layout.clone(),
            exists: Template::new(&Request::Exists(read)),
            next_leaf: vec![0; conns],
            unanswered: layout.named() * conns as u64,
        }
    }
}

impl Work for SweepWork {
    fn kinds(&self) -> &[&'static str] {
        &["exists"]
    }

    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        let leaf = self.next_leaf[conn];
        if leaf == self.layout.named() {
            return None;
        }
        self.next_leaf[conn] = leaf + 1;
        let layout = &self.layout;
        self.exists.stamp(out, xid, |hole| layout.leaf_number(leaf, hole));
        Some(0)
    }

    fn reply(&mut self, reply: &Reply<'_>, _now_ns: u64) -> ErrorCode {
        self.unanswered -= 1;
        reply.err
    }

    fn finished(&self) -> bool {
        self.unanswered == 0
    }
}
