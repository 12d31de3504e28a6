//! Events for many at once: sent by two threads where there are two CPUs.
//!
//! What a change costs that a thousand clients watch is a thousand times `send`, and nearly all of
//! that is the kernel's. On a machine that has one I/O thread but another CPU, half of that time
//! the other one has nothing to do. So the I/O thread puts what it would send into a heap of
//! *parcels*, from which it and a helper take, a few at a time, until none is left. A connection
//! whose events are in a parcel has nothing else sent meanwhile ([`Front::lend`]): the order of
//! what a client gets is the Front's as ever.
//!
//! Between two handfuls the I/O thread serves others. What a socket does not take, and what is
//! wrong with it, is left to the connection's own task: it gets its events back.

use std::mem;
use std::sync::Arc;
use std::thread::{self, Thread};

use oxkeeper_node::{ConnId, Front};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::mailbox::Mailbox;

/// Watchers below which waking another thread costs more than it saves: sending to them takes half
/// a millisecond.
pub const MANY: usize = 128;

/// Parcels taken at once by the helper: the last handful of one keeps the other waiting.
const HANDFUL: usize = 16;

/// Parcels that the I/O thread sends before it looks after others: some 500 µs.
const PER_TURN: usize = 128;

/// Parcels after which the helper tells what became of them.
const TOLD_AFTER: usize = 128;

/// The events for one connection.
#[derive(Debug)]
struct Parcel {
    id: ConnId,
    socket: Arc<TcpStream>,
    bytes: Vec<u8>,
    sent: usize,
}

impl Parcel {
    fn send(&mut self) {
        self.sent = self.socket.try_write(&self.bytes).unwrap_or(0);
    }
}

#[derive(Debug, Default)]
struct Heap {
    parcels: Vec<Parcel>,
    over: bool,
}

/// Who sends beside the I/O thread.
#[derive(Debug)]
enum Helper {
    /// Nobody.
    None,
    /// One that is started when there is work: a thread's memory is a tenth of an empty server's.
    /// It reports to this mailbox.
    Wanted(Arc<Mailbox>),
    Here(Thread),
}

/// One I/O thread's parcels.
#[derive(Debug)]
pub struct FanOut {
    heap: Arc<Mutex<Heap>>,
    helper: Helper,
    /// Being filled or sent by the I/O thread; kept for its memory.
    mine: Vec<Parcel>,
}

impl FanOut {
    /// Without a helper: the I/O thread sends all of it.
    pub fn alone() -> FanOut {
        FanOut { heap: Arc::default(), helper: Helper::None, mine: Vec::new() }
    }

    /// With a helper that reports to the I/O thread's mailbox.
    pub fn with_helper(mailbox: Arc<Mailbox>) -> FanOut {
        let helper = Helper::Wanted(mailbox);
        FanOut { heap: Arc::default(), helper, mine: Vec::new() }
    }

    /// Wakes the helper, or starts it. If it cannot be started there is none.
    fn call(&mut self) {
        if let Helper::Wanted(mailbox) = &self.helper {
            let (heap, mailbox) = (Arc::clone(&self.heap), Arc::clone(mailbox));
            let helper = thread::Builder::new().name("fan-out".into()).spawn(move || {
                while help(&heap, &mailbox) {
                    thread::park();
                }
            });
            self.helper = helper.map_or(Helper::None, |it| Helper::Here(it.thread().clone()));
        } else if let Helper::Here(thread) = &self.helper {
            thread.unpark();
        }
    }

    /// Puts a connection's events on the heap, if that is all there is to do for it.
    pub fn take(&mut self, front: &mut Front, id: ConnId, socket: &Arc<TcpStream>) -> bool {
        let Some(bytes) = front.lend(id) else { return false };
        self.mine.push(Parcel { id, socket: Arc::clone(socket), bytes, sent: 0 });
        if self.mine.len() == MANY {
            self.begin();
        }
        true
    }

    /// Lets the sending begin of what was put there.
    pub fn begin(&mut self) {
        if self.mine.is_empty() {
            return;
        }
        // Taken from the end: the first come first.
        self.mine.reverse();
        let mut heap = self.heap.lock();
        if heap.parcels.is_empty() {
            mem::swap(&mut heap.parcels, &mut self.mine);
        } else {
            heap.parcels.splice(..0, self.mine.drain(..));
        }
        drop(heap);
        self.call();
    }

    /// Sends some, if there is anything to send. Then, whether there is more.
    pub fn step(&mut self, front: &mut Front) -> Option<bool> {
        let more = take(&self.heap, PER_TURN, &mut self.mine);
        if self.mine.is_empty() {
            return None;
        }
        for mut parcel in self.mine.drain(..) {
            parcel.send();
            front.take_back(parcel.id, parcel.bytes, parcel.sent);
        }
        Some(more)
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        self.heap.lock().over = true;
        if let Helper::Here(thread) = &self.helper {
            thread.unpark();
        }
    }
}

/// Moves up to `count` parcels from the heap. True if there are more.
fn take(heap: &Mutex<Heap>, count: usize, into: &mut Vec<Parcel>) -> bool {
    let mut heap = heap.lock();
    let rest = heap.parcels.len().saturating_sub(count);
    into.extend(heap.parcels.drain(rest..).rev());
    rest > 0
}

/// Sends until the heap is empty. False when there is nobody left to help.
fn help(heap: &Mutex<Heap>, mailbox: &Mailbox) -> bool {
    let mut sent = Vec::new();
    loop {
        let before = sent.len();
        let more = take(heap, HANDFUL, &mut sent);
        sent[before..].iter_mut().for_each(Parcel::send);
        // Clients on this machine, and the log, need this CPU as much: who waits for it comes
        // first, and at a moment when nobody's events are held.
        thread::yield_now();
        if sent.len() >= TOLD_AFTER || !more {
            tell(mailbox, mem::take(&mut sent));
        }
        if !more {
            return !heap.lock().over;
        }
    }
}

fn tell(mailbox: &Mailbox, sent: Vec<Parcel>) {
    if !sent.is_empty() {
        mailbox.put_work(Box::new(move |thread| thread.events_sent(Sent(sent))));
    }
}

/// What the helper has done with its parcels.
#[derive(Debug)]
pub struct Sent(Vec<Parcel>);

impl Sent {
    /// Gives them back to the Front.
    pub fn settle(self, front: &mut Front) {
        for parcel in self.0 {
            front.take_back(parcel.id, parcel.bytes, parcel.sent);
        }
    }
}
