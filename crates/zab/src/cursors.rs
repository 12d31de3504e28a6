//! How far history is proposed, on disk and committed, and the last committed part of it in memory.
//!
//! `synced ≤ appended` and `committed ≤ appended`; `committed ≤ synced` need not hold here, because
//! a quorum can be made of others. At a start, and after every role, `committed` is what the log
//! holds: a log is taken at its word (`ZKDatabase.fastForwardDataBase`), and it is the next
//! leader's synchronisation that cuts what was never accepted (ZOOKEEPER-2845).

use std::collections::VecDeque;

use oxkeeper_proto::Zxid;

use crate::messages::Entry;

/// The three positions. They move only through the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursors {
    /// The last transaction handed to the log.
    pub appended: Zxid,
    /// The last one reported to be on disk.
    pub synced: Zxid,
    /// The last one committed.
    pub committed: Zxid,
}

impl Cursors {
    /// All three at the end of what was found on disk.
    pub fn at(zxid: Zxid) -> Cursors {
        Cursors { appended: zxid, synced: zxid, committed: zxid }
    }

    /// Panics unless the positions are in order.
    pub fn check(&self) {
        assert!(self.synced <= self.appended, "synced beyond what was appended: {self:?}");
        assert!(self.committed <= self.appended, "committed beyond what was appended: {self:?}");
    }
}

/// True if `next` can stand behind `last` in a log: the counter goes up by one, and begins anew at
/// one in a later epoch. The bare zxid of an epoch (counter 0) is no transaction.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    if next.epoch() == last.epoch() {
        last.counter() != u32::MAX && next == last.next()
    } else {
        next.epoch() > last.epoch() && next.counter() == 1
    }
}

/// The last committed transactions (`committedLog`), bounded by number and bytes, without gaps.
#[derive(Debug, Clone)]
pub struct Window {
    /// What precedes the first entry.
    before: Zxid,
    entries: VecDeque<Entry>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Window {
    /// An empty one behind `before`.
    pub fn new(before: Zxid, count_max: usize, bytes_max: usize) -> Window {
        Window { before, entries: VecDeque::new(), bytes: 0, count_max, bytes_max }
    }

    /// The end of a log as it was found. What precedes its first transaction is not known, so that
    /// one itself is the place from which on everything is here.
    pub fn recovered(tail: Vec<Entry>, count_max: usize, bytes_max: usize) -> Option<Window> {
        let mut window = Window::new(Zxid::ZERO, count_max, bytes_max);
        let first = tail.first()?.zxid;
        tail.into_iter().for_each(|entry| window.push(entry));
        window.before = window.before.max(first);
        Some(window)
    }

    /// Everything behind this zxid is here.
    pub fn before(&self) -> Zxid {
        self.before
    }

    /// The last committed transaction, whether it is here or not.
    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.before, |entry| entry.zxid)
    }

    /// The first transaction here.
    pub fn first(&self) -> Option<Zxid> {
        self.entries.front().map(|entry| entry.zxid)
    }

    /// Adds the next one and forgets the oldest ones that are too many.
    pub fn push(&mut self, entry: Entry) {
        assert!(entry.zxid > self.last(), "{} committed after {}", entry.zxid, self.last());
        self.bytes += entry.payload.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.count_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.payload.len();
            self.before = oldest.zxid;
        }
    }

    /// Those behind `zxid`.
    pub fn after(&self, zxid: Zxid) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.entries.partition_point(|entry| entry.zxid <= zxid)..)
    }

    /// The last one that is not behind `zxid`, and the first one that is.
    pub fn around(&self, zxid: Zxid) -> (Option<Zxid>, Option<Zxid>) {
        let at = self.entries.partition_point(|entry| entry.zxid <= zxid);
        let before = at.checked_sub(1).map(|i| self.entries[i].zxid);
        (before, self.entries.get(at).map(|entry| entry.zxid))
    }

    /// Forgets everything behind `to`. If that is before the first one, forgets all.
    pub fn truncate(&mut self, to: Zxid) {
        while self.entries.back().is_some_and(|entry| entry.zxid > to) {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.payload.len();
        }
        self.before = self.before.min(to);
    }

    /// For [`crate::wrong`] alone.
    pub fn forget_last(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry.payload.len();
        }
    }

    /// Forgets all; the next one stands behind `before`.
    pub fn clear(&mut self, before: Zxid) {
        self.entries.clear();
        self.bytes = 0;
        self.before = before;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(zxid: i64) -> Entry {
        Entry { zxid: Zxid(zxid), payload: Bytes::from(vec![0; 10]) }
    }

    #[test]
    fn what_follows_what() {
        let cases = [
            // A standalone server writes epoch 0, and its log may become an ensemble's.
            (0, 1, true),
            (0, 0x1_0000_0001, true),
            (0x1_0000_0001, 0x1_0000_0002, true),
            (0x1_0000_0001, 0x1_0000_0003, false),
            (0x1_0000_0001, 0x1_0000_0001, false),
            (0x1_0000_0002, 0x1_0000_0001, false),
            (0x1_0000_0002, 0x2_0000_0001, true),
            (0x1_0000_0002, 0x2_0000_0002, false),
            (0x1_0000_0002, 0x5_0000_0001, true),
            (0x2_0000_0000, 0x2_0000_0001, true),
            (0x2_0000_0002, 0x1_0000_0001, false),
            (0x1_ffff_ffff, 0x2_0000_0000, false),
        ];
        for (last, next, expected) in cases {
            assert_eq!(follows(Zxid(last), Zxid(next)), expected, "{last:#x} then {next:#x}");
        }
    }

    #[test]
    fn the_window_keeps_the_last_within_both_bounds() {
        let mut window = Window::new(Zxid(4), 3, 1000);
        for zxid in 5..10 {
            window.push(entry(zxid));
        }
        assert_eq!(
            (window.before(), window.first(), window.last()),
            (Zxid(6), Some(Zxid(7)), Zxid(9))
        );
        assert_eq!(window.after(Zxid(7)).map(|e| e.zxid.0).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(window.around(Zxid(8)), (Some(Zxid(8)), Some(Zxid(9))));
        assert_eq!(window.around(Zxid(6)), (None, Some(Zxid(7))));
        window.truncate(Zxid(7));
        assert_eq!((window.last(), window.before()), (Zxid(7), Zxid(6)));
        window.truncate(Zxid(2));
        assert_eq!((window.last(), window.before(), window.first()), (Zxid(2), Zxid(2), None));

        let mut small = Window::new(Zxid(0), 100, 25);
        for zxid in 1..5 {
            small.push(entry(zxid));
        }
        assert_eq!(small.first(), Some(Zxid(3)));
    }
}
