//! Answers that take long: listing a directory of a million children, counting everything below a
//! path.
//!
//! A job works in steps of bounded cost, between which everybody else is served. What it lists was
//! fixed when its turn came; writing the names down is what takes time. Until the reply is complete
//! the connection's later requests wait in the gate, and events for it are kept behind the reply: a
//! client that hears of a watch before it knows that it has one forgets the event.

use oxkeeper_proto::codec::Put;
use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::response::ReplyHeader;
use oxkeeper_proto::{ErrorCode, OpCode, Stat, Zxid};
use oxkeeper_tree::read::{ChildList, DescendantCount};

use super::{Front, Phase, Shared};
use crate::limits;
use crate::messages::{ConnId, CoreLink, Now};

/// What is left to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Write down the names from this run of the list on, then the stat if asked for.
    Listing { list: ChildList, next: usize, stat: Option<Stat> },
    /// Count.
    Count(DescendantCount),
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Job {
    pub task: Task,
    pub xid: i32,
    pub op: OpCode,
    pub zxid: Zxid,
    pub at_us: u64,
    /// The frame so far.
    frame: Vec<u8>,
    /// Events that came meanwhile, and replies to writes that were asked behind this.
    pub after: Vec<u8>,
    /// Among those the one to closeSession: the connection ends with this answer.
    pub closes: bool,
}

impl Job {
    pub fn new(task: Task, xid: i32, op: OpCode, zxid: Zxid, at_us: u64) -> Box<Job> {
        let mut frame = Vec::new();
        begin_frame(&mut frame);
        ReplyHeader { xid, zxid, err: ErrorCode::OK }.encode(&mut frame);
        if let Task::Listing { list, .. } = &task {
            frame.put_int(list.len() as i32);
        }
        Box::new(Job { task, xid, op, zxid, at_us, frame, after: Vec::new(), closes: false })
    }

    /// Goes on for a while. True once the frame is complete.
    fn step(&mut self, shared: &Shared) -> bool {
        match &mut self.task {
            Task::Listing { list, next, stat } => {
                let until = (*next + limits::LISTED_RUNS_PER_STEP).min(list.parts());
                for part in *next..until {
                    list.encode_part(part, &mut self.frame);
                }
                *next = until;
                if until < list.parts() {
                    return false;
                }
                if let Some(stat) = stat {
                    stat.encode(&mut self.frame);
                }
            }
            Task::Count(count) => match count.step(&shared.tree, limits::COUNTED_DIRS_PER_STEP) {
                Some(total) => self.frame.put_int(total),
                None => return false,
            },
        }
        end_frame(&mut self.frame, 4);
        true
    }

    /// The reply, for `out` if there is nothing in it yet, without copying.
    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) {
        if out.is_empty() {
            *out = std::mem::take(&mut self.frame);
        } else {
            out.extend_from_slice(&self.frame);
        }
        out.extend_from_slice(&self.after);
    }
}

impl Front {
    /// Takes one step of the answers that take long. True if there is more to do.
    pub fn work(&mut self, shared: &Shared, now: Now, link: &mut impl CoreLink) -> bool {
        let Some(id) = self.jobs.pop_front() else { return false };
        let Some(job) = self.conn_mut(id).and_then(|conn| conn.job.as_mut()) else {
            return !self.jobs.is_empty();
        };
        if job.step(shared) {
            self.finish_job(shared, now, id, link);
        } else {
            self.jobs.push_back(id);
        }
        !self.jobs.is_empty()
    }

    /// True if [`Front::work`] has something to do.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    fn finish_job(&mut self, shared: &Shared, now: Now, id: ConnId, link: &mut impl CoreLink) {
        let Some(conn) = self.conn_mut(id) else { return };
        let Some(job) = conn.job.take() else { return };
        let (xid, op, zxid, at_us) = (job.xid, job.op, job.zxid, job.at_us);
        let before = conn.out.len();
        if job.closes {
            conn.phase = Phase::Closing;
        }
        job.finish(&mut conn.out);
        let bytes = conn.out.len() - before;
        let took_ms = now.mono_us.saturating_sub(at_us) / 1000;
        conn.stats.sent += 1;
        conn.stats.answered(op, xid, zxid, took_ms, now.mono_ms());
        self.stats.answered(op, took_ms, bytes);
        self.mark_dirty(id);
        self.run_gate(shared, now, id, link);
    }
}
