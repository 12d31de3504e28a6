//! The next step, by chance.
//!
//! The generator knows what a client could know: which connections are open and which znodes it has
//! seen made. It learns that from the oracle's answers alone, so a replay of a seed makes the same
//! steps whatever the other server says. It leaves out what would kill or spoil the oracle: the
//! entries of `docs/deviations.md` marked *avoid*.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::rng::Rng;
use super::side::{LONG_TIMEOUT_MS, SLOTS};
use super::step::{Deviation, Password, SessionName, Step};
use crate::wire::{Acl, Blob, ConnectRequest, Request, Text, op};

#[path = "requests.rs"]
mod requests;

/// Znodes beyond this many are cleared, so that a walk stays cheap.
const ZNODES_MAX: usize = 250;
/// Operations between two comparisons of whole trees.
const WALK_EVERY: u64 = 400;
/// Steps that a session may be without a connection: far less than its timeout.
const DETACHED_MAX: usize = 40;
/// A timeout short enough to wait for, long enough that a busy machine does not cut it short.
const SHORT_TIMEOUT_MS: i32 = 2_500;

/// The random sequence.
#[derive(Debug)]
pub struct Generator {
    rng: Rng,
    next_session: SessionName,
    slots: [Option<SessionName>; SLOTS],
    detached: VecDeque<(SessionName, usize)>,
    ended: Vec<SessionName>,
    known: BTreeSet<String>,
    /// Where each slot has lately asked for a watch.
    watched: VecDeque<(usize, Text)>,
    /// The slot that requests are being made for.
    slot: usize,
    /// Whether quotas are enforced now.
    enforcing: bool,
    since_walk: u64,
    step: usize,
    queue: VecDeque<Step>,
}

impl Generator {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            next_session: super::step::CONTROL + 1,
            slots: [None; SLOTS],
            detached: VecDeque::new(),
            ended: Vec::new(),
            known: BTreeSet::new(),
            watched: VecDeque::new(),
            slot: 0,
            enforcing: false,
            since_walk: 0,
            step: 0,
            queue: VecDeque::new(),
        }
    }

    /// The next step.
    pub fn draw(&mut self) -> Step {
        self.step += 1;
        let step = self.choose();
        self.since_walk += step.ops();
        step
    }

    /// The sessions that are open, with a connection or without, and that of the control
    /// connection.
    pub fn sessions(&self) -> Vec<SessionName> {
        let live = self.slots.iter().copied().flatten();
        let detached = self.detached.iter().map(|(session, _)| *session);
        live.chain(detached).chain([super::step::CONTROL]).collect()
    }

    /// Both servers are restarted: every connection is lost, every session waits to be resumed.
    pub fn restart(&mut self, kill: bool, enforce_quota: bool) -> Step {
        for session in self.slots.iter_mut().filter_map(Option::take) {
            self.detached.push_back((session, self.step));
        }
        self.enforcing = enforce_quota;
        Step::Restart { kill, enforce_quota }
    }

    /// Learns what a step led to, from the oracle.
    pub fn learn(&mut self, step: &Step, seen: &[Value]) {
        let mut dying = None;
        match step {
            Step::Connect { slot, session, .. } | Step::Resume { slot, session, .. } => {
                self.attach(*slot, *session, seen);
            }
            Step::Send { slot, requests, .. } => {
                dying = seen
                    .iter()
                    .any(|line| line["op"] == "closeSession" && line["err"] == 0)
                    .then_some(*slot);
                if let ([Request::PathInt { op: op::DELETE, path: Some(path), .. }], Some(line)) =
                    (requests.as_slice(), seen.iter().find(|line| line["op"] == "delete"))
                    && line["err"] == 0
                {
                    self.known.remove(path);
                }
            }
            Step::Drop { slot } => self.detach(*slot, false),
            Step::Expire { session, .. } => self.ended.push(*session),
            Step::Clear { top: "/" } => self.known.clear(),
            Step::Walk => self.known = walked(seen),
            _ => {}
        }
        for line in seen {
            if line["op"] == "closed"
                && let Some(slot) =
                    line["slot"].as_u64().and_then(|slot| usize::try_from(slot).ok())
            {
                self.detach(slot, dying == Some(slot));
            }
            self.learn_created(line);
        }
    }

    fn attach(&mut self, slot: usize, session: SessionName, seen: &[Value]) {
        // Whatever was on the slot lost its connection when the step took the slot.
        self.detach(slot, false);
        // A session has one connection: the server closed the one it had, if it let us have it.
        let greeted = seen.iter().find(|line| line["op"] == "connect");
        if greeted.is_some_and(|line| line["sessionId"] != 0) {
            self.detached.retain(|(other, _)| *other != session);
            for other in self.slots.iter_mut().filter(|other| **other == Some(session)) {
                *other = None;
            }
            self.slots[slot] = Some(session);
        } else if greeted.is_some_and(|line| line["timeOut"] == 0) && self.ended.contains(&session)
        {
            self.detached.retain(|(other, _)| *other != session);
        }
    }

    fn detach(&mut self, slot: usize, ended: bool) {
        if let Some(session) = self.slots[slot].take() {
            if ended {
                self.ended.push(session);
            } else {
                self.detached.push_back((session, self.step));
            }
        }
    }

    fn learn_created(&mut self, line: &Value) {
        let made = |line: &Value| match line["op"].as_str() {
            Some("create" | "create2" | "createContainer" | "createTTL") if line["err"] == 0 => {
                line["path"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        let parts = line["results"].as_array().map_or(&[][..], Vec::as_slice);
        let whole = parts.iter().all(|part| part["op"] != "error");
        self.known.extend(made(line));
        self.known.extend(parts.iter().filter(|_| whole).filter_map(made));
        self.known.retain(|path| !path.starts_with("/zookeeper"));
    }

    // ---- steps ------------------------------------------------------------------------------

    fn choose(&mut self) -> Step {
        if let Some(step) = self.queue.pop_front() {
            return step;
        }
        if self.since_walk >= WALK_EVERY {
            self.since_walk = 0;
            if self.known.len() > ZNODES_MAX || self.rng.chance(15) {
                self.queue.push_back(Step::Clear { top: "/" });
            }
            return Step::Walk;
        }
        if let Some((session, _)) =
            self.detached.front().copied().filter(|(_, since)| since + DETACHED_MAX < self.step)
        {
            return self.resume(session, Password::Right);
        }
        let slot = self.rng.below(SLOTS);
        self.slot = slot;
        if self.slots[slot].is_none() {
            return self.occupy(slot);
        }
        match self.rng.below(1000) {
            0..10 => self.leave(slot),
            10..20 => self.renew(),
            20..30 => self.strange_handshake(),
            30..35 => self.strange_opening(),
            35..43 => Step::Bytes { slot, bytes: self.strange_frame() },
            43 => self.expire(),
            44..50 => Step::Deviate(self.deviation()),
            50..64 => self.quota(slot),
            64..150 => self.burst(slot),
            _ => {
                let requests = vec![self.request()];
                let cut = self.rng.chance(3).then(|| self.rng.below(40));
                Step::Send { slot, requests, cut }
            }
        }
    }

    fn name(&mut self) -> SessionName {
        self.next_session += 1;
        self.next_session - 1
    }

    fn occupy(&mut self, slot: usize) -> Step {
        match self.detached.front() {
            Some((session, _)) if self.rng.chance(60) => {
                let (session, read_only) = (*session, self.read_only());
                Step::Resume { slot, session, password: Password::Right, read_only }
            }
            _ => {
                let read_only = self.read_only();
                let request = ConnectRequest {
                    protocol_version: *self.rng.pick(&[0, 0, 0, 0, 1, -1]),
                    password: Blob(Some(vec![0; *self.rng.pick(&[16, 16, 16, 0, 3])])),
                    read_only,
                    ..ConnectRequest::new(LONG_TIMEOUT_MS)
                };
                Step::Connect { slot, session: self.name(), request }
            }
        }
    }

    fn read_only(&mut self) -> Option<bool> {
        *self.rng.pick(&[Some(false), Some(false), Some(true), None])
    }

    fn resume(&mut self, session: SessionName, password: Password) -> Step {
        let slot = self.slots.iter().position(Option::is_none);
        let slot = slot.unwrap_or_else(|| self.rng.below(SLOTS));
        Step::Resume { slot, session, password, read_only: self.read_only() }
    }

    /// A connection is given up, its session closed or not.
    fn leave(&mut self, slot: usize) -> Step {
        if self.rng.chance(50) {
            return Step::Drop { slot };
        }
        let mut requests = Vec::new();
        if self.rng.chance(40) && !self.enforcing {
            requests.extend((0..self.rng.below(4)).map(|_| self.pipelined()));
        }
        requests.push(Request::Bare { op: op::CLOSE_SESSION });
        Step::Send { slot, requests, cut: None }
    }

    /// A session is resumed: one without a connection, one that has one, or one that has ended.
    fn renew(&mut self) -> Step {
        let live: Vec<SessionName> = self.slots.iter().copied().flatten().collect();
        let detached: Vec<SessionName> =
            self.detached.iter().map(|(session, _)| *session).collect();
        let pool = match self.rng.below(10) {
            0..4 => live,
            4..8 => detached,
            _ => self.ended.clone(),
        };
        if pool.is_empty() {
            return self.strange_handshake();
        }
        let session = *self.rng.pick(&pool);
        let password =
            self.rng.weighted(&[(8, Password::Right), (3, Password::Wrong), (1, Password::Null)]);
        self.resume(session, password)
    }

    fn strange_handshake(&mut self) -> Step {
        let session = *self.rng.pick(&[0, 0, 0, 0, 0x1234_5678, -5, i64::MIN]);
        let passwords = [None, Some(0), Some(5), Some(16), Some(16), Some(40)];
        let request = ConnectRequest {
            protocol_version: *self.rng.pick(&[0, 0, 1, -1, i32::MAX]),
            last_zxid: *self.rng.pick(&[0, 0, 0, -1, i64::MIN]),
            timeout_ms: *self.rng.pick(&[0, -1, 1, 999, 1000, 1001, 30_000, i32::MAX, i32::MIN]),
            session,
            password: Blob(self.rng.pick(&passwords).map(|length| vec![0; length])),
            read_only: self.read_only(),
        };
        let ahead = *self.rng.pick(&[None, None, Some(0), Some(1), Some(1000), Some(-1)]);
        Step::Handshake { request, ahead }
    }

    fn strange_opening(&mut self) -> Step {
        let whole = ConnectRequest::new(4000).frame();
        let bytes = match self.rng.below(5) {
            0 => b"ruok".to_vec(),
            1 => b"isro".to_vec(),
            2 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            3 => {
                // A frame whose content ends early: its length says so.
                let keep = self.rng.below(whole.len() - 5);
                let mut frame = i32::try_from(keep).unwrap_or(0).to_be_bytes().to_vec();
                frame.extend(&whole[4..4 + keep]);
                frame
            }
            _ => i32::to_be_bytes(*self.rng.pick(&[-1, i32::MIN, i32::MAX, 1_048_576])).to_vec(),
        };
        Step::Opening { bytes: Blob(Some(bytes)) }
    }

    /// A frame that ends a connection.
    fn strange_frame(&mut self) -> Blob {
        let bytes: &[u8] = match self.rng.below(7) {
            0 => &[0xff, 0xff, 0xff, 0xff],
            1 => &[0x7f, 0xff, 0xff, 0xff],
            2 => &[0x80, 0, 0, 0],
            // One byte more than jute.maxbuffer allows.
            3 => &[0, 0x10, 0, 0],
            4 => &[0, 0, 0, 0],
            5 => &[0, 0, 0, 4, 0, 0, 0, 9],
            _ => &[0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0],
        };
        Blob(Some(bytes.to_vec()))
    }

    fn expire(&mut self) -> Step {
        let session = self.name();
        let path = format!("/expiring-{session}");
        let mut requests = vec![Request::Create {
            op: op::CREATE,
            path: Some(path.clone()),
            data: Blob(None),
            acl: Acl::open(),
            flags: 1,
            ttl: None,
        }];
        let more = if self.enforcing { 0 } else { self.rng.below(6) };
        requests.extend((0..more).map(|_| self.ephemeral()));
        let silent = self.rng.chance(50);
        Step::Expire { session, timeout_ms: SHORT_TIMEOUT_MS, requests, path, silent }
    }

    fn deviation(&mut self) -> Deviation {
        match self.rng.below(4) {
            0 => Deviation::DeleteContainer,
            1 => Deviation::CreateSession,
            _ => {
                let op = *self.rng.pick(&[op::CREATE, op::CREATE2, op::CREATE_CONTAINER]);
                let flags = if op == op::CREATE_CONTAINER { 0 } else { 4 };
                // Inside a multi, a create with flags 4 makes a container on both sides.
                let multi = op == op::CREATE_CONTAINER && self.rng.chance(50);
                Deviation::CreateFlags { op, flags, multi }
            }
        }
    }
}

fn walked(seen: &[Value]) -> BTreeSet<String> {
    let paths = seen.iter().filter_map(|line| line["znode"].as_str());
    paths
        .filter(|path| *path != "/" && !path.starts_with("/zookeeper"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a server would answer, as far as the generator learns from it.
    fn answer(step: &Step) -> Vec<Value> {
        match step {
            Step::Connect { .. } | Step::Resume { .. } => {
                vec![json!({ "op": "connect", "sessionId": "a session" })]
            }
            Step::Send { requests, .. } => requests
                .iter()
                .filter_map(|request| match request {
                    Request::Create { path, .. } => {
                        Some(json!({ "op": "create", "err": 0, "path": path }))
                    }
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        let mut generator = Generator::new(seed);
        (0..count)
            .map(|_| {
                let step = generator.draw();
                generator.learn(&step, &answer(&step));
                step
            })
            .collect()
    }

    #[test]
    fn a_seed_always_means_the_same_steps() {
        assert_eq!(steps(5, 500), steps(5, 500));
        assert_ne!(steps(5, 500), steps(6, 500));
    }

    /// D01 ends the oracle's process for good, D02 and the nulls of D10 make it differ.
    #[test]
    fn what_would_spoil_the_oracle_is_never_drawn() {
        fn check(request: &Request, in_multi: bool) {
            match request {
                Request::Multi { parts, .. } => parts.iter().for_each(|part| check(part, true)),
                Request::Damaged { request, .. } => check(request, in_multi),
                Request::Create { op, path, flags, ttl, acl, .. } => {
                    let is_ttl = matches!(flags, 5 | 6);
                    assert!(is_ttl || ttl.is_none_or(|ttl| ttl >= 0), "D01: {request:?}");
                    let plain = matches!(*op, op::CREATE | op::CREATE2);
                    assert!(in_multi || !plain || *flags != 4, "D02: {request:?}");
                    let others = *op == op::CREATE_CONTAINER && (0..4).contains(flags);
                    assert!(!others, "D02: {request:?}");
                    assert!(path.is_some() && !(in_multi && acl.is_none()), "D10: {request:?}");
                }
                Request::SetData { path, .. } | Request::SetAcl { path, .. } => {
                    assert!(path.is_some(), "D10: {request:?}");
                }
                _ => {}
            }
        }
        for step in steps(9, 20_000) {
            if let Step::Send { requests, .. } | Step::Expire { requests, .. } = &step {
                requests.iter().for_each(|request| check(request, false));
            }
        }
    }

    #[test]
    fn every_operation_is_drawn() {
        let mut missing: BTreeSet<i32> = (1..=22).chain(100..=107).collect();
        // 10 and 0 are no operations; 20 is provoked as a deviation.
        missing.retain(|op| ![10, op::DELETE_CONTAINER].contains(op));
        for step in steps(2, 5_000) {
            if let Step::Send { requests, .. } = &step {
                missing.retain(|op| requests.iter().all(|request| request.op() != *op));
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
