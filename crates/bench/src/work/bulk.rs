//! Creating or deleting a whole [`Layout`] in multis: bulk load, and tidying up after it.

use std::collections::VecDeque;
use std::ops::Range;

use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::{MultiOp, MultiRequest, PathVersion, RequestHeader};
use oxkeeper_proto::{ErrorCode, OpCode};

use super::multi_outcome;
use crate::engine::{Reply, Work};
use crate::layout::Layout;
use crate::session::create_request;

/// Whether a [`BulkWork`] makes znodes or removes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Parents first.
    Create,
    /// Children first.
    Delete,
}

/// One pass over the groups of a layout: every connection takes its share of them, in order.
pub struct BulkWork {
    layout: Layout,
    direction: Direction,
    batch: usize,
    value: Vec<u8>,
    /// Groups that nobody has begun.
    groups: Range<u64>,
    /// Paths of the groups that each connection has begun.
    pending: Vec<VecDeque<String>>,
    in_flight: usize,
    /// Multis that failed, and the outcome of the last.
    pub failed: Option<(u64, ErrorCode)>,
}

impl BulkWork {
    /// A pass for `conns` connections with `batch` znodes per multi.
    pub fn new(
        layout: &Layout,
        direction: Direction,
        batch: usize,
        value_bytes: usize,
        conns: usize,
    ) -> Self {
        BulkWork {
            layout: layout.clone(),
            direction,
            batch,
            value: vec![0; value_bytes],
            groups: 0..layout.groups(),
            pending: vec![VecDeque::new(); conns],
            in_flight: 0,
            failed: None,
        }
    }

    /// Fills up a connection's queue to at least one batch, if there are groups left.
    fn refill(&mut self, conn: usize) {
        while self.pending[conn].len() < self.batch {
            let Some(group) = self.groups.next() else { return };
            let paths = self.layout.group(group);
            match self.direction {
                Direction::Create => self.pending[conn].extend(paths),
                Direction::Delete => self.pending[conn].extend(paths.into_iter().rev()),
            }
        }
    }
}

impl Work for BulkWork {
    fn kinds(&self) -> &[&'static str] {
        &["multi"]
    }

    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        self.refill(conn);
        let queue = &mut self.pending[conn];
        if queue.is_empty() {
            return None;
        }
        let count = queue.len().min(self.batch);
        let start = begin_frame(out);
        RequestHeader { xid, op: OpCode::MULTI }.encode(out);
        let (value, direction) = (&self.value, self.direction);
        let ops = queue.iter().take(count).map(|path| match direction {
            Direction::Create => MultiOp::Create(create_request(path, value)),
            Direction::Delete => {
                MultiOp::Delete(PathVersion { path: path.as_str().into(), version: -1 })
            }
        });
        MultiRequest::encode_ops(out, ops);
        end_frame(out, start);
        queue.drain(..count);
        self.in_flight += 1;
        Some(0)
    }

    fn reply(&mut self, reply: &Reply<'_>, _now_ns: u64) -> ErrorCode {
        self.in_flight -= 1;
        let err = multi_outcome(reply.err, reply.body);
        if !err.is_ok() {
            let before = self.failed.map_or(0, |(count, _)| count);
            self.failed = Some((before + 1, err));
        }
        err
    }

    fn finished(&self) -> bool {
        self.in_flight == 0 && self.groups.is_empty() && self.pending.iter().all(VecDeque::is_empty)
    }
}
