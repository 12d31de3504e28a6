//! A watch fires for the first change after the answer that left it, once if it is of the kind that
//! fires once, and before any answer that could show the change.
//!
//! Each connection is gone through in the order in which it was heard, with a table of its watches
//! as the manual describes them. An answer at zxid *z* says that the server was at *z*: all events
//! up to there must have come by then, and none twice. Events of one transaction may come in any
//! order. What setWatches tells at once bears no zxid and must be exactly what was missed.

use std::collections::BTreeSet;

use oxkeeper_proto::response::EventType;
use oxkeeper_proto::{ErrorCode, Zxid};

use super::Case;
use crate::asked::{Asked, Rewatch};
use crate::history::{Conn, Heard};
use crate::model::{Change, parent_of};

type Told = (EventType, String);

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (number, conn) in case.history.conns.iter().enumerate() {
        let mut ear = Ear { case, number, ..Ear::new(case) };
        ear.listen(conn);
        breaches.append(&mut ear.breaches);
    }
    breaches
}

/// The watches of one connection, on the server's side.
#[derive(Debug, Default)]
struct Table {
    data: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Table {
    fn is_empty(&self) -> bool {
        [&self.data, &self.child, &self.persistent, &self.recursive]
            .iter()
            .all(|watches| watches.is_empty())
    }

    /// Whom a change is told to.
    fn fire(&mut self, change: &Change, told: &mut Vec<Told>) {
        let path = &change.path;
        let mut hears = self.data.remove(path);
        hears |= change.event == EventType::NodeDeleted && self.child.remove(path);
        hears |= self.persistent.contains(path) || self.recursive_above(path);
        if hears {
            told.push((change.event, path.clone()));
        }
        if change.event != EventType::NodeDataChanged {
            let parent = parent_of(path);
            if self.child.remove(parent) | self.persistent.contains(parent) {
                told.push((EventType::NodeChildrenChanged, parent.to_owned()));
            }
        }
    }

    fn recursive_above(&self, path: &str) -> bool {
        let mut at = path;
        loop {
            if self.recursive.contains(at) {
                return true;
            }
            if at == "/" {
                return false;
            }
            at = parent_of(at);
        }
    }

    /// removeWatches of all kinds: whether there was one.
    fn remove(&mut self, path: &str) -> bool {
        let all = [&mut self.data, &mut self.child, &mut self.persistent, &mut self.recursive];
        all.map(|watches| watches.remove(path)).contains(&true)
    }
}

/// One connection, gone through.
struct Ear<'a> {
    case: &'a Case<'a>,
    number: usize,
    table: Table,
    /// Every event up to here has been heard.
    upto: Zxid,
    /// Events of one transaction that are being heard.
    group: (Zxid, Vec<Told>),
    /// Events without a zxid.
    missed: Vec<Told>,
    breaches: Vec<String>,
}

impl<'a> Ear<'a> {
    fn new(case: &'a Case<'a>) -> Ear<'a> {
        Ear {
            case,
            number: 0,
            table: Table::default(),
            upto: Zxid::ZERO,
            group: (Zxid::ZERO, Vec::new()),
            missed: Vec::new(),
            breaches: Vec::new(),
        }
    }

    fn listen(&mut self, conn: &Conn) {
        for (_, heard) in &conn.heard {
            match heard {
                Heard::Session { .. } | Heard::Refused | Heard::Stray { .. } => {}
                Heard::Event { zxid: Zxid(-1), event, path } => {
                    self.missed.push((*event, path.clone()));
                }
                Heard::Event { zxid, event, path } => {
                    if *zxid != self.group.0 {
                        self.close_group();
                        self.group.0 = *zxid;
                    }
                    if *zxid <= self.upto {
                        self.breach(format!("{event:?} {path} of {zxid} comes at {}", self.upto));
                    } else {
                        self.group.1.push((*event, path.clone()));
                    }
                }
                Heard::Reply(op) => self.reply(*op),
            }
        }
        self.end();
    }

    fn breach(&mut self, what: String) {
        self.breaches.push(format!("conn {}: {what}", self.number));
    }

    /// Everything up to `zxid` has happened and must have been told.
    fn advance(&mut self, zxid: Zxid) {
        let Ear { case, .. } = *self;
        if zxid <= self.upto {
            return;
        }
        for step in case.truth.between(self.upto, zxid) {
            self.upto = step.zxid;
            if self.table.is_empty() && self.group.0 != self.upto {
                continue;
            }
            let mut expected = Vec::new();
            for change in &step.changes {
                self.table.fire(change, &mut expected);
            }
            let mut heard = Vec::new();
            if self.group.0 == self.upto {
                heard.append(&mut self.group.1);
            }
            if !same(&mut expected, &mut heard) {
                let at = self.upto;
                self.breach(format!("heard {heard:?} of {at} by {zxid} instead of {expected:?}"));
            }
        }
        self.upto = zxid;
        if self.group.0 <= zxid && !self.group.1.is_empty() {
            let told = std::mem::take(&mut self.group);
            self.breach(format!("{told:?} of no transaction"));
        }
    }

    fn close_group(&mut self) {
        if !self.group.1.is_empty() {
            self.advance(self.group.0);
        }
    }

    fn reply(&mut self, number: usize) {
        let op = &self.case.history.ops[number];
        let Some(reply) = &op.reply else { return };
        self.close_group();
        self.advance(reply.zxid);
        let ok = reply.err.is_ok();
        let absent = reply.err == ErrorCode::NO_NODE;
        match &op.asked {
            Asked::SetWatches(set) if ok => self.rewatched(number, set),
            _ if !self.missed.is_empty() => {
                let missed = std::mem::take(&mut self.missed);
                self.breach(format!("{missed:?} without a setWatches, before op {number}"));
            }
            Asked::RemoveWatches(path) => {
                let removed = self.table.remove(path);
                let right = if removed { ErrorCode::OK } else { ErrorCode::NO_WATCHER };
                if reply.err != right {
                    let err = reply.err;
                    self.breach(format!("op {number} removes from {path}: {err}, not {right}"));
                }
            }
            Asked::GetData(path, true) if ok => drop(self.table.data.insert(path.clone())),
            Asked::Exists(path, true) if ok || absent => {
                self.table.data.insert(path.clone());
            }
            Asked::GetChildren(path, true) | Asked::GetChildren2(path, true) if ok => {
                self.table.child.insert(path.clone());
            }
            Asked::AddWatch(path, false) if ok => {
                self.table.persistent.insert(path.clone());
            }
            Asked::AddWatch(path, true) if ok => {
                self.table.recursive.insert(path.clone());
            }
            _ => {}
        }
    }

    fn rewatched(&mut self, number: usize, set: &Rewatch) {
        let Some(rewatched) = self.case.truth.rewatched.get(&number) else { return };
        let mut heard = std::mem::take(&mut self.missed);
        let mut expected = rewatched.missed.clone();
        if !same(&mut expected, &mut heard) {
            self.breach(format!("op {number} tells {heard:?} instead of {expected:?}"));
        }
        self.table.data.extend(rewatched.data.iter().cloned());
        self.table.child.extend(rewatched.child.iter().cloned());
        self.table.persistent.extend(set.persistent.iter().cloned());
        self.table.recursive.extend(set.recursive.iter().cloned());
    }

    /// The connection ended, perhaps in the middle of a transaction's events: those that came must
    /// be among those due.
    fn end(&mut self) {
        let (zxid, heard) = std::mem::take(&mut self.group);
        if heard.is_empty() {
            return;
        }
        self.advance(Zxid(zxid.0 - 1));
        let mut expected = Vec::new();
        for change in self.case.truth.step(zxid).iter().flat_map(|step| &step.changes) {
            self.table.fire(change, &mut expected);
        }
        for told in &heard {
            match expected.iter().position(|due| due == told) {
                Some(at) => drop(expected.swap_remove(at)),
                None => self.breach(format!("{told:?} of {zxid} is not due")),
            }
        }
    }
}

/// Whether both are the same in some order.
fn same(expected: &mut [Told], heard: &mut [Told]) -> bool {
    let order = |told: &Told| (told.0.code(), told.1.clone());
    expected.sort_by_key(order);
    heard.sort_by_key(order);
    expected == heard
}
