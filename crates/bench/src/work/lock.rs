//! The lock recipe: a client takes a lock that nobody holds, and gives it back.
//!
//! Three requests, each sent when the one before is answered: create a sequential ephemeral below
//! the lock, list the lock to see that it is the lowest, delete it. Every connection has a lock of
//! its own, so that a cycle is what the recipe costs and not what waiting costs.

use hdrhistogram::Histogram;
use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::{CreateRequest, PathWatch, RequestHeader};
use oxkeeper_proto::{CreateMode, ErrorCode, OPEN_ACL_UNSAFE, OpCode, Reader, Request, StringList};

use crate::engine::{Clock, Reply, Work};
use crate::layout::Layout;
use crate::tally::latency_histogram;
use crate::template::Template;

/// Names of the requests of a cycle, in their order.
pub const KINDS: &[&str] = &["create", "list", "delete"];

const CREATE: u8 = 0;
const LIST: u8 = 1;
/// The kind whose replies are the cycles completed.
pub const DELETE: u8 = 2;

/// Where a connection is in its cycle.
#[derive(Default)]
struct Place {
    /// The request that is sent next; nothing while one is in flight.
    next: Option<u8>,
    /// Path of its ephemeral, as the reply to the create had it, with the length before it.
    path: Vec<u8>,
    started_ns: u64,
}

/// Cycles of the recipe over the leaves of a [`Layout`], which are the locks.
pub struct LockWork {
    layout: Layout,
    create: Template,
    list: Template,
    places: Vec<Place>,
    clock: Clock,
    /// Time of whole cycles, in nanoseconds.
    pub cycles: Histogram<u64>,
    /// Cycles that began before this count as warm-up.
    pub from_ns: u64,
}

impl LockWork {
    /// Cycles for `conns` connections, each with a lock of its own as far as there are leaves.
    pub fn new(layout: &Layout, conns: usize, clock: Clock) -> LockWork {
        let lock = layout.leaf_path();
        let create = Template::new(&Request::Create(CreateRequest {
            op: OpCode::CREATE,
            path: format!("{lock}/lock-").into(),
            data: Some(&[]),
            acl: OPEN_ACL_UNSAFE,
            flags: CreateMode::EphemeralSequential.flags(),
            ttl_ms: -1,
        }));
        let list = Request::GetChildren(PathWatch { path: lock.into(), watch: false });
        let place = || Place { next: Some(CREATE), ..Place::default() };
        LockWork {
            layout: layout.clone(),
            create,
            list: Template::new(&list),
            places: (0..conns).map(|_| place()).collect(),
            clock,
            cycles: latency_histogram(),
            from_ns: 0,
        }
    }
}

/// Whether the ephemeral with this path is the lowest of `names`: whether its owner has the lock.
fn is_lowest(path: &[u8], body: &[u8]) -> bool {
    let Some(own) = path.rsplit(|byte| *byte == b'/').next() else { return false };
    let Ok(names) = StringList::decode(&mut Reader::new(body)) else { return false };
    names.iter().min().is_some_and(|lowest| lowest.as_bytes() == own)
}

impl Work for LockWork {
    fn kinds(&self) -> &[&'static str] {
        KINDS
    }

    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        let leaf = conn as u64 % self.layout.named();
        let place = &mut self.places[conn];
        let kind = place.next.take()?;
        let layout = &self.layout;
        match kind {
            CREATE => {
                place.started_ns = self.clock.now_ns();
                self.create.stamp(out, xid, |hole| layout.leaf_number(leaf, hole));
            }
            LIST => self.list.stamp(out, xid, |hole| layout.leaf_number(leaf, hole)),
            _ => {
                let start = begin_frame(out);
                RequestHeader { xid, op: OpCode::DELETE }.encode(out);
                out.extend_from_slice(&place.path);
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                end_frame(out, start);
            }
        }
        Some(kind)
    }

    fn reply(&mut self, reply: &Reply<'_>, now_ns: u64) -> ErrorCode {
        let place = &mut self.places[reply.conn];
        let mut err = reply.err;
        // A cycle that fails begins again; its error is counted.
        place.next = Some(CREATE);
        match reply.kind {
            CREATE if err.is_ok() => {
                place.path.clear();
                place.path.extend_from_slice(reply.body);
                place.next = Some(LIST);
            }
            LIST => {
                if err.is_ok() && !is_lowest(&place.path, reply.body) {
                    err = ErrorCode::RUNTIME_INCONSISTENCY;
                }
                place.next = Some(DELETE);
            }
            DELETE if err.is_ok() && place.started_ns >= self.from_ns => {
                self.cycles.saturating_record(now_ns.saturating_sub(place.started_ns));
            }
            _ => {}
        }
        err
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;
    use oxkeeper_proto::Put;
    use oxkeeper_proto::connect::split_frame;

    /// The next request of the only connection.
    fn next(work: &mut LockWork) -> Option<(OpCode, Vec<u8>)> {
        let mut out = Vec::new();
        work.next(0, 1, &mut out)?;
        let (frame, _) = split_frame(&out, 1 << 20).unwrap().unwrap();
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        Some((header.op, reader.rest().to_vec()))
    }

    fn names(names: &[&str]) -> Vec<u8> {
        let mut body = (names.len() as i32).to_be_bytes().to_vec();
        names.iter().for_each(|name| body.put_string(name));
        body
    }

    #[test]
    fn a_cycle_creates_lists_and_deletes_what_it_created() {
        let layout = Layout::sized(Shape::Wide, "/b", 1);
        let mut work = LockWork::new(&layout, 1, Clock::start());
        assert_eq!(next(&mut work).unwrap().0, OpCode::CREATE);
        assert!(next(&mut work).is_none(), "one request at a time");
        let mut body = Vec::new();
        body.put_string("/b/p00000000/n00000000/lock-0000000007");
        let listed = names(&["lock-0000000009", "lock-0000000007"]);
        let reply = |kind, body| Reply { conn: 0, kind, err: ErrorCode::OK, body };
        work.reply(&reply(CREATE, &body), 5);
        assert_eq!(next(&mut work).unwrap().0, OpCode::GET_CHILDREN);
        let err = work.reply(&reply(LIST, &listed), 6);
        assert!(err.is_ok());
        let (op, sent) = next(&mut work).unwrap();
        assert_eq!((op, &sent[..body.len()]), (OpCode::DELETE, &body[..]));
        work.reply(&reply(DELETE, &[]), u64::MAX);
        assert_eq!(work.cycles.len(), 1);
        assert_eq!(next(&mut work).unwrap().0, OpCode::CREATE);
    }

    #[test]
    fn a_lock_that_another_holds_is_an_error() {
        let layout = Layout::sized(Shape::Wide, "/b", 1);
        let mut work = LockWork::new(&layout, 1, Clock::start());
        next(&mut work);
        let mut body = Vec::new();
        body.put_string("/b/p00000000/n00000000/lock-0000000007");
        work.reply(&Reply { conn: 0, kind: CREATE, err: ErrorCode::OK, body: &body }, 5);
        next(&mut work);
        let listed = names(&["lock-0000000003", "lock-0000000007"]);
        let reply = Reply { conn: 0, kind: LIST, err: ErrorCode::OK, body: &listed };
        assert_eq!(work.reply(&reply, 6), ErrorCode::RUNTIME_INCONSISTENCY);
    }
}
