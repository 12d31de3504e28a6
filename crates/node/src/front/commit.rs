//! A committed transaction reaches a Front: events, then the outcome, then the reads it releases.

use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::response::{ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, OpCode, perms};
use oxkeeper_tree::acl_rules;
use oxkeeper_tree::watch::ConnKey;
use oxkeeper_tree::wrong::{self, Wrong};

use super::read::write_reply;
use super::{Front, Phase, Shared, Waiting};
use crate::messages::{Committed, ConnId, CoreLink, Now, Outcome, OutcomeKind};

impl Front {
    /// Takes one transaction. Values must come in the order of their zxids, each before the next is
    /// applied if this Front shares the core's thread; else between [`Front::catch_up`] and
    /// [`Front::caught_up`].
    pub fn committed(
        &mut self,
        shared: &Shared,
        now: Now,
        committed: &Committed,
        link: &mut impl CoreLink,
    ) {
        let late = wrong::is(Wrong::EventAfterReply);
        if !committed.changes.is_empty() && !self.watches.is_empty() && !late {
            self.fire(committed);
        }
        if let Some(outcome) = committed.outcome
            && outcome.front == self.id
        {
            self.settle(shared, now, committed, outcome, link);
        }
        if late {
            self.fire(committed);
        }
    }

    /// Begins to take mail: what another thread has applied and said, up to the tree as it is now.
    /// The tree is ahead of each value but the last, so a read that one of them releases would show
    /// changes whose events are still in the mail: until [`Front::caught_up`] it waits.
    pub fn catch_up(&mut self) {
        self.catching_up = true;
    }

    /// All mail is taken: what it has released may read.
    pub fn caught_up(&mut self, shared: &Shared, now: Now, link: &mut impl CoreLink) {
        self.catching_up = false;
        let mut released = std::mem::take(&mut self.released);
        for id in released.drain(..) {
            self.run_gate(shared, now, id, link);
        }
        self.released = released;
    }

    /// The head of a connection's gate has gone: what waits behind it may run.
    pub(super) fn release(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        link: &mut impl CoreLink,
    ) {
        match self.catching_up {
            true => self.released.push(id),
            false => self.run_gate(shared, now, id, link),
        }
    }

    /// The outcome of a transaction that a connection here waits for.
    fn settle(
        &mut self,
        shared: &Shared,
        now: Now,
        committed: &Committed,
        outcome: Outcome,
        link: &mut impl CoreLink,
    ) {
        let id = outcome.conn;
        match outcome.kind {
            OutcomeKind::Reply { xid, op, err } => {
                self.finish_write(now, id, xid, op, err, committed);
                self.release(shared, now, id, link);
                self.release_throttled();
            }
            OutcomeKind::Connected { session, timeout_ms } => {
                self.connected(shared, now, id, session, timeout_ms)
            }
            OutcomeKind::SessionEnded => self.kill(id, "session ended"),
        }
    }

    /// Fires this Front's watches. An event is encoded once, however many connections get it.
    fn fire(&mut self, committed: &Committed) {
        let Front { watches, conns, event, dirty, stats, settings, .. } = self;
        for change in committed.changes.iter() {
            let mut encoded_for = None;
            let fired = watches.fire(&change, |ConnKey(slot), kind, path, zxid, acl| {
                let Some(conn) = conns.get_mut(slot as usize) else { return };
                let may_see = settings.rules.skip_acl
                    || wrong::is(Wrong::EventUnfiltered)
                    || acl_rules::permits(
                        acl.list(),
                        perms::READ,
                        &conn.auth,
                        settings.rules.schemes,
                    );
                if !may_see || conn.dead || matches!(conn.phase, Phase::Closing) {
                    return;
                }
                if encoded_for != Some((kind, path.len())) {
                    encoded_for = Some((kind, path.len()));
                    event.clear();
                    let start = begin_frame(event);
                    ReplyHeader { xid: xid::NOTIFICATION, zxid, err: ErrorCode::OK }.encode(event);
                    WatcherEvent { event: kind, path: path.into() }.encode(event);
                    end_frame(event, start);
                }
                match &mut conn.job {
                    Some(job) => job.after.extend_from_slice(event),
                    None => conn.out.extend_from_slice(event),
                }
                conn.check_outbox();
                conn.stats.sent += 1;
                stats.packets_sent += 1;
                stats.watch_bytes += event.len() as u64;
                if !conn.dirty {
                    conn.dirty = true;
                    conn.only_events = conn.listens;
                    dirty.push(ConnId { slot, generation: conn.generation });
                }
                conn.listens = true;
            });
            stats.fired(change.kind, fired);
        }
    }

    fn finish_write(
        &mut self,
        now: Now,
        id: ConnId,
        xid: i32,
        op: OpCode,
        err: ErrorCode,
        committed: &Committed,
    ) {
        let Some(conn) =
            self.conns.get_mut(id.slot as usize).filter(|conn| conn.generation == id.generation)
        else {
            self.stats.stale_replies += 1;
            return;
        };
        // Outcomes come in the order the writes went out, so the oldest write is the one meant. It
        // is the first in the gate, unless the connection is to be dropped and nothing leaves it.
        let oldest = conn.gate.iter().position(|waiting| matches!(waiting, Waiting::Write { .. }));
        let Some(Waiting::Write { xid: expected, at_us, large_bytes, .. }) =
            oldest.and_then(|oldest| conn.gate.remove(oldest))
        else {
            return;
        };
        debug_assert_eq!(expected, xid);
        conn.writes -= 1;
        self.outstanding -= 1;
        if err == ErrorCode::SESSION_MOVED {
            return self.kill(id, "session moved");
        }
        // The write was asked behind an answer that takes long: so is its reply.
        let out = match &mut conn.job {
            Some(job) => &mut job.after,
            None => &mut conn.out,
        };
        let before = out.len();
        write_reply(out, xid, committed.zxid, err, &committed.body);
        let bytes = out.len() - before;
        conn.stats.sent += 1;
        let took_ms = now.mono_us.saturating_sub(at_us) / 1000;
        conn.stats.answered(op, xid, committed.zxid, took_ms, now.mono_ms());
        if op == OpCode::CLOSE_SESSION {
            match &mut conn.job {
                Some(job) => job.closes = true,
                None => conn.phase = Phase::Closing,
            }
            conn.session = oxkeeper_proto::SessionId::NONE;
        }
        conn.check_outbox();
        self.stats.answered(op, took_ms, bytes);
        self.release_large(id, large_bytes);
        self.mark_dirty(id);
    }
}
