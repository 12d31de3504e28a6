//! Requests under way: which were sent and wait for their reply, which wait for a connection.
//!
//! Replies come in the order of requests, so a queue is all the table there is; the xid only proves
//! that both sides count alike.

use std::collections::VecDeque;

use oxkeeper_proto::OpCode;

use super::limits::Limits;
use super::outcome::{Refused, Ticket};
use super::watches::{WatchKind, Watcher};

/// What a reply does to the watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnReply {
    Nothing,
    /// Registers `found` if the request succeeded, `absent` if there was no such znode.
    Register {
        watcher: Watcher,
        path: Box<str>,
        found: WatchKind,
        absent: Option<WatchKind>,
    },
    /// Removes what the server agreed to remove.
    Remove {
        which: Option<Watcher>,
        path: Box<str>,
        kinds: &'static [WatchKind],
    },
}

impl OnReply {
    /// The path at which this will register somebody.
    fn registers_at(&self) -> Option<&str> {
        match self {
            OnReply::Register { path, .. } => Some(path),
            OnReply::Nothing | OnReply::Remove { .. } => None,
        }
    }
}

/// A request of the user's.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) op: OpCode,
    /// Its paths passed by the chroot.
    pub(crate) absolute: bool,
    pub(crate) on_reply: OnReply,
}

/// What a reply is awaited for.
#[derive(Debug)]
pub(crate) enum What {
    User(Asked),
    /// A piece of setWatches.
    Rearm {
        last: bool,
    },
    CloseSession,
}

/// A request that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) xid: i32,
    pub(crate) sent_us: u64,
    pub(crate) bytes: usize,
    pub(crate) what: What,
}

/// A request that waits for a connection: its whole frame, the xid still to be filled in.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) asked: Asked,
    pub(crate) frame: Vec<u8>,
}

/// See the module's essay.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) sent: VecDeque<Sent>,
    pub(crate) waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Of all above, those that will register a watcher if they succeed.
    registering: usize,
    next_xid: i32,
}

impl Pending {
    pub(crate) fn new() -> Pending {
        Pending {
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            registering: 0,
            next_xid: 1,
        }
    }

    /// The number of the next request: positive, and after the largest the first again
    /// (`ClientCnxn.getXid`). Far fewer are under way than there are numbers.
    pub(crate) fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        xid
    }

    #[cfg(test)]
    pub(crate) fn set_next_xid(&mut self, xid: i32) {
        self.next_xid = xid;
    }

    /// Whether one more request of this many bytes fits.
    pub(crate) fn admit(&self, limits: &Limits, bytes: usize) -> Result<(), Refused> {
        if bytes > limits.request_bytes_max {
            return Err(Refused::TooLarge { bytes, max: limits.request_bytes_max });
        }
        if self.sent.len() + self.waiting.len() >= limits.pending_max {
            return Err(Refused::Full("requests under way"));
        }
        if self.bytes + bytes > limits.pending_bytes_max {
            return Err(Refused::Full("bytes of requests under way"));
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn push_sent(&mut self, sent: Sent) {
        self.count(&sent.what, sent.bytes);
        self.sent.push_back(sent);
    }

    pub(crate) fn push_waiting(&mut self, waiting: Waiting) {
        self.bytes += waiting.frame.len();
        self.registering += usize::from(waiting.asked.on_reply.registers_at().is_some());
        self.waiting.push_back(waiting);
    }

    pub(crate) fn pop_sent(&mut self) -> Option<Sent> {
        let sent = self.sent.pop_front()?;
        self.bytes -= sent.bytes;
        if let What::User(asked) = &sent.what {
            self.registering -= usize::from(asked.on_reply.registers_at().is_some());
        }
        Some(sent)
    }

    pub(crate) fn pop_waiting(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.uncount(&waiting);
        Some(waiting)
    }

    /// Takes back a request that was not sent.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> bool {
        let found = self.waiting.iter().position(|waiting| waiting.asked.ticket == ticket);
        let Some(waiting) = found.and_then(|at| self.waiting.remove(at)) else { return false };
        self.uncount(&waiting);
        true
    }

    /// Requests that will register a watcher if they succeed.
    pub(crate) fn registering(&self) -> usize {
        self.registering
    }

    /// True if a request that was sent will register somebody at this path.
    pub(crate) fn registers_at(&self, path: &str) -> bool {
        self.registering > 0
            && self.sent.iter().any(|sent| match &sent.what {
                What::User(asked) => asked.on_reply.registers_at() == Some(path),
                What::Rearm { .. } | What::CloseSession => false,
            })
    }

    fn count(&mut self, what: &What, bytes: usize) {
        self.bytes += bytes;
        if let What::User(asked) = what {
            self.registering += usize::from(asked.on_reply.registers_at().is_some());
        }
    }

    fn uncount(&mut self, waiting: &Waiting) {
        self.bytes -= waiting.frame.len();
        self.registering -= usize::from(waiting.asked.on_reply.registers_at().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ticket: u64, bytes: usize) -> Waiting {
        let path = "/a".into();
        let on_reply =
            OnReply::Register { watcher: Watcher(1), path, found: WatchKind::Data, absent: None };
        let op = OpCode::GET_DATA;
        let asked = Asked { ticket: Ticket(ticket), op, absolute: false, on_reply };
        Waiting { asked, frame: vec![0; bytes] }
    }

    #[test]
    fn numbers_wrap_without_becoming_special() {
        let mut pending = Pending::new();
        pending.set_next_xid(i32::MAX - 1);
        let taken: Vec<_> = (0..4).map(|_| pending.take_xid()).collect();
        assert_eq!(taken, [i32::MAX - 1, i32::MAX, 1, 2]);
    }

    #[test]
    fn what_leaves_is_no_longer_counted() {
        let limits = Limits { pending_max: 2, pending_bytes_max: 100, ..Limits::default() };
        let mut pending = Pending::new();
        pending.push_waiting(waiting(1, 60));
        assert_eq!(pending.admit(&limits, 41), Err(Refused::Full("bytes of requests under way")));
        assert_eq!(pending.admit(&limits, 40), Ok(()));
        pending.push_waiting(waiting(2, 10));
        assert_eq!(pending.admit(&limits, 1), Err(Refused::Full("requests under way")));
        assert!(!pending.registers_at("/a"), "not sent yet");
        assert!(pending.cancel(Ticket(1)) && !pending.cancel(Ticket(1)));
        let Some(Waiting { asked, frame }) = pending.pop_waiting() else { panic!("one is left") };
        let (xid, bytes) = (pending.take_xid(), frame.len());
        pending.push_sent(Sent { xid, sent_us: 0, bytes, what: What::User(asked) });
        assert!(pending.registers_at("/a") && pending.registering() == 1);
        assert!(pending.pop_sent().is_some());
        assert!(!pending.registers_at("/a") && pending.registering() == 0);
        assert_eq!(pending.admit(&limits, 100), Ok(()));
    }
}
