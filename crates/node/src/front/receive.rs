//! Bytes from a socket: frames, four-letter words, requests. What may not be taken yet stays with
//! the host, so that a client that asks too much waits at its own end.

use std::mem;

use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::connect::split_frame;
use oxkeeper_proto::request::{Class, RequestHeader};
use oxkeeper_proto::{AdminWord, ErrorCode, OpCode, Request, SessionId, Zxid};

use super::job::Job;
use super::read::{self, ReadContext};
use super::{AdminRequest, Front, Phase, Shared, Waiting};
use crate::messages::{ConnId, CoreLink, Now, ToCore};

/// What to do after one step over the input.
enum Step {
    /// This many bytes were used.
    Used(usize),
    /// A frame is incomplete, or nothing may be read now.
    Stop,
}

impl Front {
    /// Takes bytes that arrived and returns how many were used. The host keeps the rest and brings
    /// it again, together with what follows, when [`Front::state`] wants input.
    pub fn receive(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        bytes: &[u8],
        link: &mut impl CoreLink,
    ) -> usize {
        let mut used = 0;
        loop {
            let Some(conn) = self.conn(id) else { return bytes.len() };
            if !self.wants_input(conn) {
                if matches!(conn.phase, Phase::Closing | Phase::Ending) {
                    return bytes.len();
                }
                if conn.phase == Phase::Ready && conn.writes > 0 {
                    let limited = self.outstanding > self.settings.outstanding_max;
                    self.stats.throttle_waits += u64::from(limited);
                    self.throttled.push(id);
                }
                return used;
            }
            let phase = conn.phase;
            let rest = &bytes[used..];
            let step = match phase {
                Phase::Fresh => self.receive_first(shared, now, id, rest, link),
                _ => self.receive_request(shared, now, id, rest, link),
            };
            match step {
                Step::Used(n) => used += n,
                Step::Stop => return used,
            }
        }
    }

    /// The first bytes of a connection are a four-letter word or the frame of a handshake.
    fn receive_first(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        bytes: &[u8],
        link: &mut impl CoreLink,
    ) -> Step {
        let Some(first) = bytes.first_chunk::<4>() else { return Step::Stop };
        if let Some(word) = AdminWord::from_bytes(*first) {
            return self.receive_word(shared, id, word, &bytes[4..]);
        }
        match split_frame(bytes, self.settings.frame_bytes_max) {
            Ok(None) => Step::Stop,
            Ok(Some((frame, _))) => {
                self.handshake(shared, now, id, frame, link);
                Step::Used(4 + frame.len())
            }
            Err(error) => {
                self.refuse_frame(id, &error);
                Step::Used(bytes.len())
            }
        }
    }

    fn receive_word(&mut self, shared: &Shared, id: ConnId, word: AdminWord, rest: &[u8]) -> Step {
        let mut argument = 0;
        if word.argument_bytes() > 0 {
            let Some(raw) = rest.first_chunk::<8>() else { return Step::Stop };
            argument = i64::from_be_bytes(*raw);
        }
        if let Some(conn) = self.conn_mut(id) {
            conn.phase = Phase::Admin(word);
            conn.stats.received += 1;
        }
        self.stats.packets_received += 1;
        self.stats.bytes_received += 4;
        if word == AdminWord::TelnetClose {
            self.kill(id, "telnet interrupt");
        } else {
            self.admin.push(AdminRequest { conn: id, word, argument, serving: shared.serving });
        }
        Step::Used(4 + rest.len())
    }

    fn receive_request(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        bytes: &[u8],
        link: &mut impl CoreLink,
    ) -> Step {
        match split_frame(bytes, self.settings.frame_bytes_max) {
            Ok(None) => Step::Stop,
            Ok(Some((frame, _))) => {
                self.request(shared, now, id, frame, link);
                Step::Used(4 + frame.len())
            }
            Err(error) => {
                self.refuse_frame(id, &error);
                Step::Used(bytes.len())
            }
        }
    }

    fn refuse_frame(&mut self, id: ConnId, error: &oxkeeper_proto::connect::FrameTooLarge) {
        if let Some(conn) = self.conn(id) {
            tracing::warn!(
                peer = %conn.peer.addr,
                session = %conn.session,
                length = error.len,
                limit = error.max,
                "closing a connection: {error}; raise jute.maxbuffer here and in the client if \
                 requests of this size are meant"
            );
        }
        self.stats.frames_refused += 1;
        self.kill(id, "frame too large");
    }

    /// One whole request of an open session.
    fn request(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        frame: &[u8],
        link: &mut impl CoreLink,
    ) {
        self.stats.packets_received += 1;
        self.stats.bytes_received += frame.len() as u64 + 4;
        let Some(conn) = self.conn_mut(id) else { return };
        conn.stats.received += 1;
        conn.heard_us = now.mono_us;
        conn.listens = false;
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            return self.kill(id, "a request without a header");
        };
        if !shared.serving {
            return self.kill(id, "not serving");
        }
        match header.op {
            OpCode::AUTH => return self.authenticate(id, header.xid, reader.rest()),
            OpCode::SASL => return self.refuse_sasl(id, header.xid, reader.rest()),
            _ => {}
        }
        if !self.may_ask(id, header.xid) || !self.admit_large(id, frame.len()) {
            return;
        }
        let class = header.op.class();
        let writes = matches!(class, Class::Write | Class::Sync);
        if shared.read_only && writes && header.op != OpCode::CLOSE_SESSION {
            return self.refuse_write(shared, now, id, header.xid, link);
        }
        let sync = class == Class::Sync;
        if sync && !self.held(id) {
            return self.submit_sync(now, id, header, frame.into(), link);
        }
        let Some(conn) = self.conn_mut(id) else { return };
        let idle = conn.gate.is_empty() && conn.job.is_none();
        if idle && class != Class::Write {
            self.run_held(shared, now, id, frame, now.mono_us, link);
        } else if class == Class::Write && !self.must_hold(id) {
            let large_bytes = self.count_large(id, frame.len());
            self.submit_write(now, id, header, reader.rest(), large_bytes, link);
        } else if let Some(conn) = self.conn_mut(id) {
            conn.held_bytes += frame.len();
            conn.held_writes += u32::from(class == Class::Write);
            conn.syncs += u32::from(sync);
            conn.gate.push_back(Waiting::Held { frame: frame.into(), at_us: now.mono_us });
            self.count_large(id, frame.len());
        }
    }

    /// There is nobody who could order a write (`ReadOnlyRequestProcessor`).
    fn refuse_write(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        xid: i32,
        link: &mut impl CoreLink,
    ) {
        let Some(conn) = self.conn_mut(id) else { return };
        let refused = Waiting::Settled { xid, err: ErrorCode::NOT_READ_ONLY, closes: false };
        conn.gate.push_back(refused);
        self.release(shared, now, id, link);
    }

    /// Whether a write must wait in the gate: behind an answer that takes long, behind a write that
    /// waits, behind a sync, and behind a read where the core runs on another thread.
    fn must_hold(&self, id: ConnId) -> bool {
        let Some(conn) = self.conn(id) else { return false };
        let held = || conn.gate.iter().any(|waiting| matches!(waiting, Waiting::Held { .. }));
        let behind_read = || self.settings.hold_writes_behind_reads && held();
        conn.job.is_some() || conn.held_writes > 0 || conn.syncs > 0 || behind_read()
    }

    /// Whether a sync must wait in the gate, as a read would.
    fn held(&self, id: ConnId) -> bool {
        let held = |waiting: &Waiting| matches!(waiting, Waiting::Held { .. });
        self.conn(id).is_some_and(|conn| conn.job.is_some() || conn.gate.iter().any(held))
    }

    fn submit_write(
        &mut self,
        now: Now,
        id: ConnId,
        header: RequestHeader,
        body: &[u8],
        large_bytes: u32,
        link: &mut impl CoreLink,
    ) {
        let front = self.id;
        let Some(conn) = self.conn_mut(id) else { return };
        conn.writes += 1;
        let (xid, nth, at_us) = (header.xid, conn.next_write, now.mono_us);
        conn.next_write = nth.wrapping_add(1);
        conn.gate.push_back(Waiting::Write { xid, nth, at_us, large_bytes });
        let message = ToCore::Write {
            conn: id,
            session: conn.session,
            xid,
            nth,
            op: header.op,
            body,
            auth: &conn.auth,
        };
        link.submit(now, front, message);
        if header.op == OpCode::CLOSE_SESSION {
            conn.phase = Phase::Ending;
        }
        self.outstanding += 1;
    }

    /// Runs what the gate releases: reads at its head, and writes that were held behind them.
    pub(super) fn run_gate(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        link: &mut impl CoreLink,
    ) {
        loop {
            let Some(conn) = self.conn_mut(id) else { return };
            if conn.dead || conn.job.is_some() {
                return;
            }
            if let Some(Waiting::Synced { .. }) = conn.gate.front() {
                let Some(Waiting::Synced { frame, at_us }) = conn.gate.pop_front() else { return };
                conn.syncs -= 1;
                self.answer_sync(shared, now, id, &frame, at_us);
                continue;
            }
            if let Some(Waiting::Settled { xid, err, closes }) = conn.gate.front() {
                let (xid, err, closes) = (*xid, *err, *closes);
                read::error_reply(&mut conn.out, xid, shared.tree.last_zxid(), err);
                conn.stats.sent += 1;
                conn.gate.pop_front();
                if closes {
                    conn.phase = Phase::Closing;
                    conn.session = SessionId::NONE;
                }
                self.stats.packets_sent += 1;
                self.mark_dirty(id);
                continue;
            }
            if !matches!(conn.gate.front(), Some(Waiting::Held { .. })) {
                return;
            }
            let Some(Waiting::Held { frame, at_us }) = conn.gate.pop_front() else { return };
            conn.held_bytes -= frame.len();
            self.stats.read_wait.record(now.mono_us.saturating_sub(at_us) / 1000);
            let large_bytes = self.large_bytes_of(frame.len());
            let writes = self.conn(id).map_or(0, |conn| conn.writes);
            self.run_held(shared, now, id, &frame, at_us, link);
            // A write goes on counting until its outcome comes.
            if self.conn(id).is_some_and(|conn| conn.writes == writes) {
                self.release_large(id, large_bytes);
            }
        }
    }

    /// A write of which no transaction comes waits for its turn in the gate, no longer for one.
    pub(super) fn settled(&mut self, id: ConnId, settled: u32, err: ErrorCode) {
        let Some(conn) = self.conn_mut(id) else { return };
        if err == ErrorCode::MARSHALLING_ERROR {
            tracing::warn!(peer = %conn.peer.addr, session = %conn.session,
                "a request could not be read");
        }
        // Nothing is asked behind the end of a session.
        let last = settled.wrapping_add(1) == conn.next_write;
        let ends = conn.phase == Phase::Ending && last;
        let closes = ends && err.is_ok();
        if ends && !closes {
            conn.phase = Phase::Ready;
        }
        let meant = conn.gate.iter_mut().find_map(|waiting| match waiting {
            Waiting::Write { xid, nth, large_bytes, .. } if *nth == settled => {
                Some((*xid, *large_bytes, waiting))
            }
            _ => None,
        });
        if let Some((xid, large_bytes, waiting)) = meant {
            *waiting = Waiting::Settled { xid, err, closes };
            conn.writes -= 1;
            self.outstanding -= 1;
            self.release_large(id, large_bytes);
        }
    }

    /// A sync goes to the core and waits in the gate, as a write does.
    fn submit_sync(
        &mut self,
        now: Now,
        id: ConnId,
        header: RequestHeader,
        frame: Box<[u8]>,
        link: &mut impl CoreLink,
    ) {
        let front = self.id;
        let Some(conn) = self.conn_mut(id) else { return };
        let (nth, session) = (conn.next_write, conn.session);
        conn.next_write = nth.wrapping_add(1);
        conn.syncs += 1;
        conn.gate.push_back(Waiting::Sync { nth, frame, at_us: now.mono_us });
        link.submit(now, front, ToCore::Sync { conn: id, session, xid: header.xid, nth });
    }

    /// A sync has come back: it is answered when those before it are.
    pub(super) fn synced(&mut self, id: ConnId, synced: u32) {
        let Some(conn) = self.conn_mut(id) else { return };
        let meant = conn
            .gate
            .iter_mut()
            .find(|waiting| matches!(waiting, Waiting::Sync { nth, .. } if *nth == synced));
        if let Some(waiting) = meant
            && let Waiting::Sync { frame, at_us, .. } = waiting
        {
            *waiting = Waiting::Synced { frame: mem::take(frame), at_us: *at_us };
        }
    }

    fn answer_sync(&mut self, shared: &Shared, now: Now, id: ConnId, frame: &[u8], at_us: u64) {
        let mut reader = Reader::with_field_max(frame, self.settings.field_bytes_max);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return };
        self.read(shared, now, id, header, reader, at_us);
    }

    /// Runs a request whose turn has come.
    fn run_held(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        frame: &[u8],
        at_us: u64,
        link: &mut impl CoreLink,
    ) {
        let mut reader = Reader::with_field_max(frame, self.settings.field_bytes_max);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return };
        match header.op.class() {
            Class::Write => {
                let large_bytes = self.large_bytes_of(frame.len());
                self.submit_held_write(now, id, header, reader.rest(), large_bytes, link);
            }
            Class::Sync => {
                let Some(conn) = self.conn_mut(id) else { return };
                // It counts again as it is given to the core.
                conn.syncs = conn.syncs.saturating_sub(1);
                let behind = mem::take(&mut conn.gate);
                self.submit_sync(now, id, header, frame.into(), link);
                let Some(conn) = self.conn_mut(id) else { return };
                conn.gate.extend(behind);
            }
            Class::Read => self.read(shared, now, id, header, reader, at_us),
            Class::Connection | Class::Refused => self.refuse_op(id, header),
        }
    }

    /// A held write goes to the head of the gate again, now as the core's. Behind the end of a
    /// session nothing is done.
    fn submit_held_write(
        &mut self,
        now: Now,
        id: ConnId,
        header: RequestHeader,
        body: &[u8],
        large_bytes: u32,
        link: &mut impl CoreLink,
    ) {
        let Some(conn) = self.conn_mut(id) else { return };
        let behind = mem::take(&mut conn.gate);
        conn.held_writes -= 1;
        self.submit_write(now, id, header, body, large_bytes, link);
        let Some(conn) = self.conn_mut(id) else { return };
        match conn.phase {
            Phase::Ending => conn.forget_held(),
            _ => conn.gate.extend(behind),
        }
    }

    fn read(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        header: RequestHeader,
        mut reader: Reader<'_>,
        at_us: u64,
    ) {
        let Some(conn) = self.conns.get_mut(id.slot as usize) else { return };
        let mut context = ReadContext {
            shared,
            rules: &self.settings.rules,
            watches: &mut self.watches,
            stats: &mut self.stats,
            listings: &mut self.listings,
            id,
            session: conn.session,
            auth: &conn.auth,
            later: None,
        };
        let out_before = conn.out.len();
        let xid = if header.op == OpCode::PING {
            oxkeeper_proto::response::xid::PING
        } else {
            header.xid
        };
        let err = match Request::decode(header.op, &mut reader) {
            Ok(Some(request)) => read::answer(&mut context, xid, &request, &mut conn.out),
            Ok(None) | Err(_) => {
                read::error_reply(
                    &mut conn.out,
                    xid,
                    shared.tree.last_zxid(),
                    ErrorCode::MARSHALLING_ERROR,
                );
                ErrorCode::MARSHALLING_ERROR
            }
        };
        if let Some(task) = context.later {
            let zxid = shared.tree.last_zxid();
            conn.job = Some(Job::new(task, xid, header.op, zxid, at_us));
            return self.jobs.push_back(id);
        }
        if err == ErrorCode::MARSHALLING_ERROR {
            tracing::warn!(
                peer = %conn.peer.addr,
                session = %conn.session,
                op = %header.op,
                "a request could not be read"
            );
        }
        let bytes = conn.out.len() - out_before;
        let took_ms = now.mono_us.saturating_sub(at_us) / 1000;
        conn.stats.sent += 1;
        conn.stats.answered(header.op, xid, shared.tree.last_zxid(), took_ms, now.mono_ms());
        self.stats.answered(header.op, took_ms, bytes);
        self.mark_dirty(id);
    }

    /// A number no client may use: say so and close (`UnimplementedRequestProcessor`).
    fn refuse_op(&mut self, id: ConnId, header: RequestHeader) {
        let Some(conn) = self.conn_mut(id) else { return };
        tracing::warn!(peer = %conn.peer.addr, session = %conn.session, op = %header.op,
            "an operation clients may not use, closing");
        read::error_reply(&mut conn.out, header.xid, Zxid(-1), ErrorCode::UNIMPLEMENTED);
        conn.stats.sent += 1;
        conn.phase = Phase::Closing;
        // Nothing that waits behind it is looked at; writes the core has are its own.
        conn.gate.retain(|waiting| matches!(waiting, Waiting::Write { .. }));
        conn.forget_held();
        self.stats.packets_sent += 1;
        self.mark_dirty(id);
    }

    /// Counts a large request; too many bytes of them under way end the connection
    /// (`ZooKeeperServer.checkRequestSizeWhenMessageReceived`).
    fn admit_large(&mut self, id: ConnId, bytes: usize) -> bool {
        let threshold = self.settings.large_request_threshold;
        if threshold == 0 || bytes <= threshold {
            return true;
        }
        if self.large_bytes + bytes > self.settings.large_request_bytes_max {
            self.stats.large_requests_rejected += 1;
            self.kill(id, "too many bytes of large requests under way");
            return false;
        }
        true
    }

    /// The bytes of a request if it counts as large, else 0.
    fn large_bytes_of(&self, bytes: usize) -> u32 {
        let threshold = self.settings.large_request_threshold;
        if threshold > 0 && bytes > threshold { bytes as u32 } else { 0 }
    }

    /// Counts a request that stays under way, if it is large.
    fn count_large(&mut self, id: ConnId, bytes: usize) -> u32 {
        let large_bytes = self.large_bytes_of(bytes);
        if large_bytes > 0 {
            self.large_bytes += large_bytes as usize;
            if let Some(conn) = self.conn_mut(id) {
                conn.large_bytes += large_bytes as usize;
            }
        }
        large_bytes
    }

    /// Uncounts a large request that is answered.
    pub(super) fn release_large(&mut self, id: ConnId, large_bytes: u32) {
        if large_bytes > 0
            && let Some(conn) = self.conn_mut(id)
        {
            conn.large_bytes -= large_bytes as usize;
            self.large_bytes -= large_bytes as usize;
        }
    }
}
