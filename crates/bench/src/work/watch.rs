//! One znode watched by everybody: a writer sets it, waits until the last watcher has heard, and
//! sets it again.
//!
//! Who only listens has heard when its event has *come*; it is read when all have come. A thousand
//! clients on machines of their own read at the same time and take nothing from the server; here
//! they are one thread beside it, and what that reads meanwhile would delay those still to come.
//!
//! Connection 0 writes, the others watch. Persistent watches stay; one-shot ones are left again by
//! the getData that a client sends when it hears of a change, and a round ends with the last of
//! those answered.

use std::time::Duration;

use hdrhistogram::Histogram;
use oxkeeper_proto::request::{PathKind, PathWatch, SetDataRequest};
use oxkeeper_proto::{ErrorCode, Request};

use crate::engine::{Clock, Reply, Work};
use crate::tally::latency_histogram;
use crate::template::Template;

/// How long events gather. Some thirty are sent meanwhile.
const GATHER: Duration = Duration::from_micros(100);
/// The last events of a round are looked at as they come: the time to the last of them is a figure.
const LAST_WATCHERS: usize = 32;

const SET: u8 = 0;
const ARM: u8 = 1;

/// Rounds of one set and its events.
pub struct WatchWork {
    set: Template,
    arm: Template,
    one_shot: bool,
    watchers: usize,
    /// Watches that each watcher still has to leave, 0 or 1.
    to_arm: Vec<bool>,
    armed: usize,
    heard: usize,
    set_in_flight: bool,
    set_sent: bool,
    set_at_ns: u64,
    clock: Clock,
    wake_writer: bool,
    /// Time from sending the set to the first watcher's event, in nanoseconds.
    pub to_first: Histogram<u64>,
    /// Time from sending the set to the last watcher's event, in nanoseconds.
    pub to_last: Histogram<u64>,
    /// Rounds completed.
    pub rounds: u64,
    /// Rounds that began before this count as warm-up.
    pub from_ns: u64,
}

impl WatchWork {
    /// Rounds over `path` with `watchers` watchers.
    pub fn new(
        path: &str,
        value_bytes: usize,
        watchers: usize,
        one_shot: bool,
        clock: Clock,
    ) -> Self {
        let value = vec![0; value_bytes];
        let set = SetDataRequest { path: path.into(), data: Some(&value), version: -1 };
        let arm = if one_shot {
            Request::GetData(PathWatch { path: path.into(), watch: true })
        } else {
            Request::AddWatch(PathKind { path: path.into(), kind: 0 })
        };
        WatchWork {
            set: Template::new(&Request::SetData(set)),
            arm: Template::new(&arm),
            one_shot,
            watchers,
            to_arm: vec![true; watchers],
            armed: 0,
            heard: 0,
            set_in_flight: false,
            set_sent: false,
            set_at_ns: 0,
            clock,
            wake_writer: false,
            to_first: latency_histogram(),
            to_last: latency_histogram(),
            rounds: 0,
            from_ns: 0,
        }
    }

    /// Ends the round when everybody has heard, is armed again, and the set is answered.
    fn settle(&mut self) {
        let over = self.set_sent && !self.set_in_flight && self.heard == self.watchers;
        if over && self.armed == self.watchers {
            self.set_sent = false;
            self.heard = 0;
        }
        self.wake_writer = !self.set_sent && self.armed == self.watchers;
    }
}

impl Work for WatchWork {
    fn kinds(&self) -> &[&'static str] {
        &["set", "arm"]
    }

    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        if conn > 0 {
            let to_arm = std::mem::take(&mut self.to_arm[conn - 1]);
            return to_arm.then(|| {
                self.arm.stamp(out, xid, |_| 0);
                ARM
            });
        }
        if self.set_sent || self.armed < self.watchers {
            return None;
        }
        self.set.stamp(out, xid, |_| 0);
        self.set_sent = true;
        self.set_in_flight = true;
        self.set_at_ns = self.clock.now_ns();
        Some(SET)
    }

    fn reply(&mut self, reply: &Reply<'_>, _now_ns: u64) -> ErrorCode {
        match reply.kind {
            SET => self.set_in_flight = false,
            _ => self.armed += 1,
        }
        self.settle();
        reply.err
    }

    fn event(&mut self, conn: usize, now_ns: u64) {
        self.heard += 1;
        if self.one_shot && conn > 0 {
            self.armed -= 1;
            self.to_arm[conn - 1] = true;
        }
        let since_ns = now_ns.saturating_sub(self.set_at_ns);
        if self.heard == 1 && self.set_at_ns >= self.from_ns {
            self.to_first.saturating_record(since_ns);
        }
        if self.heard == self.watchers && self.set_at_ns >= self.from_ns {
            self.to_last.saturating_record(since_ns);
            self.rounds += 1;
        }
        self.settle();
    }

    fn gathers(&self, unread: usize) -> Option<Duration> {
        let last_is_near = self.heard + unread + LAST_WATCHERS >= self.watchers;
        (self.set_sent && !last_is_near).then_some(GATHER)
    }

    /// Watchers that only listen; those that leave a watch again must read at once.
    fn leaves(&self, unread: usize) -> bool {
        !self.one_shot && self.set_sent && self.heard + unread < self.watchers
    }

    fn woken(&mut self) -> Option<usize> {
        std::mem::take(&mut self.wake_writer).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(one_shot: bool) -> WatchWork {
        let mut work = WatchWork::new("/a", 1, 100, one_shot, Clock::start());
        work.to_arm.fill(false);
        work.armed = 100;
        assert_eq!(work.next(0, 1, &mut Vec::new()), Some(SET));
        work
    }

    #[test]
    fn those_who_only_listen_are_read_when_all_have_been_told() {
        let mut work = told(false);
        assert!(work.leaves(0) && work.leaves(99) && !work.leaves(100));
        assert!(work.gathers(67).is_some() && work.gathers(68).is_none(), "the last are timed");
        // A ping's answer had been taken for an event: one is still to come, and read at once.
        (1..100).for_each(|conn| work.event(conn, 5));
        assert!(work.leaves(0) && !work.leaves(1));
        work.event(100, 7_000_000);
        assert_eq!((work.rounds, work.to_last.len()), (1, 1));
    }

    #[test]
    fn those_who_ask_again_are_read_at_once() {
        assert!(!told(true).leaves(0));
    }
}
