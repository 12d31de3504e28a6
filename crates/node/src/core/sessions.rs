//! The sessions' clock: who is alive until when.
//!
//! Deadlines are rounded up to the next multiple of the tick, so that sessions expire in buckets
//! (`ExpiryQueue`). Reads never come here: a Front notes when it heard a client, and the clock asks
//! before it lets a session go. A session without a connection cannot be heard and expires at once
//! when its bucket is due.

use std::collections::{BTreeMap, HashMap};

use oxkeeper_proto::{ErrorCode, SessionId};
use oxkeeper_tree::wrong::{self, Wrong};
use oxkeeper_zab::LinkId;

use crate::messages::{ConnId, FrontId, Now};

/// Where a session's client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// To this server.
    Front(FrontId, ConnId),
    /// To this server, until its connection ended. What still comes by a learner is of before.
    Here,
    /// To the learner behind this link, which tells in its pings whom it hears.
    Learner(LinkId),
}

/// One live session.
#[derive(Debug, Clone, Copy)]
struct Session {
    /// The timeout that expiry goes by, ms: that of the last handshake.
    timeout_ms: i32,
    deadline_us: u64,
    owner: Option<Owner>,
    closing: bool,
}

/// The sessions' clock.
#[derive(Debug)]
pub struct SessionClock {
    tick_us: u64,
    sessions: HashMap<SessionId, Session>,
    buckets: BTreeMap<u64, Vec<SessionId>>,
    next_id: i64,
    last_look_us: u64,
    /// After a stall nothing is due before this moment.
    resume_us: u64,
}

/// Where a walk over the sessions by deadline stands; the default is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketCursor {
    deadline_us: u64,
    entry: usize,
}

/// What a look at the clock found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Ask these Fronts when they heard of these sessions.
    pub ask: BTreeMap<FrontId, Vec<(ConnId, SessionId)>>,
    /// Nobody is connected for these: they end now.
    pub expired: Vec<SessionId>,
}

impl SessionClock {
    /// A clock over the sessions that a restart found; each gets its whole timeout again.
    pub fn new(
        tick_time_ms: u32,
        server_id: u8,
        now: Now,
        sessions: impl IntoIterator<Item = (SessionId, i32)>,
    ) -> Self {
        let mut clock = SessionClock {
            tick_us: u64::from(tick_time_ms.max(1)) * 1000,
            sessions: HashMap::new(),
            buckets: BTreeMap::new(),
            next_id: first_id(now.wall_ms, server_id),
            last_look_us: now.mono_us,
            resume_us: 0,
        };
        for (session, timeout_ms) in sessions {
            clock.start(now, session, timeout_ms, None);
        }
        clock
    }

    /// Forgets all sessions and follows these, each with its whole timeout.
    pub fn reset(&mut self, now: Now, sessions: impl IntoIterator<Item = (SessionId, i32)>) {
        self.sessions.clear();
        self.buckets.clear();
        self.last_look_us = now.mono_us;
        self.resume_us = 0;
        for (session, timeout_ms) in sessions {
            self.start(now, session, timeout_ms, None);
        }
    }

    /// An id no session has had (`SessionTrackerImpl.initializeNextSessionId`).
    pub fn next_id(&mut self) -> SessionId {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            // The smallest value marks containers in `ephemeralOwner`.
            if id != i64::MIN && !self.sessions.contains_key(&SessionId(id)) {
                return SessionId(id);
            }
        }
    }

    /// Follows a session from now on.
    pub fn start(&mut self, now: Now, session: SessionId, timeout_ms: i32, owner: Option<Owner>) {
        let deadline_us = self.deadline(now.mono_us, timeout_ms);
        let entry = Session { timeout_ms, deadline_us, owner, closing: false };
        self.sessions.insert(session, entry);
        self.buckets.entry(deadline_us).or_default().push(session);
    }

    /// True if the session is known, be it about to end.
    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The timeout that a session's expiry goes by, ms.
    pub fn timeout_ms(&self, session: SessionId) -> Option<i32> {
        Some(self.sessions.get(&session)?.timeout_ms)
    }

    /// True if the session is known and not about to end.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|entry| !entry.closing)
    }

    /// Whether a request may be done for a session: SESSIONEXPIRED if it is unknown or about to
    /// end, SESSIONMOVED if it came by a way that is not the session's any more. `link`: by which
    /// learner, `None` for this server (`SessionTrackerImpl.checkSession`).
    pub fn check(&mut self, session: SessionId, link: Option<LinkId>) -> Result<(), ErrorCode> {
        let entry = self.sessions.get_mut(&session).filter(|entry| !entry.closing);
        let Some(entry) = entry else { return Err(ErrorCode::SESSION_EXPIRED) };
        match (entry.owner, link) {
            (None | Some(Owner::Front(..) | Owner::Here), None) => Ok(()),
            (None, Some(link)) => {
                entry.owner = Some(Owner::Learner(link));
                Ok(())
            }
            (Some(Owner::Learner(owner)), Some(link)) if owner == link => Ok(()),
            (Some(_), _) => Err(ErrorCode::SESSION_MOVED),
        }
    }

    /// Whether a session has another connection to this server than this one.
    pub fn is_of_another(&self, session: SessionId, connection: (FrontId, ConnId)) -> bool {
        let owner = self.sessions.get(&session).and_then(|entry| entry.owner);
        owner.and_then(self::connection).is_some_and(|its| its != connection)
    }

    /// A learner has heard of a session.
    pub fn touch(&mut self, now: Now, session: SessionId, timeout_ms: i32) {
        let deadline_us = self.deadline(now.mono_us, timeout_ms);
        let Some(entry) = self.sessions.get_mut(&session).filter(|entry| !entry.closing) else {
            return;
        };
        entry.timeout_ms = timeout_ms;
        if deadline_us > entry.deadline_us {
            entry.deadline_us = deadline_us;
            self.buckets.entry(deadline_us).or_default().push(session);
        }
    }

    /// Notes where a session's client is connected now. False if it is unknown or closing.
    pub fn moved(&mut self, now: Now, session: SessionId, timeout_ms: i32, owner: Owner) -> bool {
        let deadline_us = self.deadline(now.mono_us, timeout_ms);
        let Some(entry) = self.sessions.get_mut(&session).filter(|entry| !entry.closing) else {
            return false;
        };
        entry.timeout_ms = timeout_ms;
        entry.owner = Some(owner);
        if deadline_us != entry.deadline_us {
            entry.deadline_us = deadline_us;
            self.buckets.entry(deadline_us).or_default().push(session);
        }
        true
    }

    /// Sessions followed now.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// True if there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Hands a session to another connection of this server. False if it is unknown or closing.
    pub fn renew(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        (front, conn): (FrontId, ConnId),
    ) -> bool {
        self.moved(now, session, timeout_ms, Owner::Front(front, conn))
    }

    /// Takes a session's connection away, to be closed.
    pub fn disown(&mut self, session: SessionId) -> Option<(FrontId, ConnId)> {
        let entry = self.sessions.get_mut(&session)?;
        let front = connection(entry.owner?)?;
        entry.owner = Some(Owner::Here);
        Some(front)
    }

    /// A connection is gone; its session lives on from when it was last heard there.
    pub fn connection_closed(
        &mut self,
        session: SessionId,
        owner: (FrontId, ConnId),
        heard_us: u64,
    ) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let deadline_us = self.deadline(heard_us, entry.timeout_ms).max(entry.deadline_us);
        if let Some(entry) = self.sessions.get_mut(&session) {
            if entry.owner == Some(Owner::Front(owner.0, owner.1)) {
                entry.owner = Some(Owner::Here);
            }
            entry.deadline_us = deadline_us;
            self.buckets.entry(deadline_us).or_default().push(session);
        }
    }

    /// Marks a session as ending: its closeSession is proposed.
    pub fn closing(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.closing = true;
        }
    }

    /// Forgets a session and returns its connection.
    pub fn end(&mut self, session: SessionId) -> Option<(FrontId, ConnId)> {
        connection(self.sessions.remove(&session)?.owner?)
    }

    /// A Front's answer. True if the session was not heard of in time and ends.
    pub fn heard(&mut self, now: Now, session: SessionId, heard_us: u64) -> bool {
        let Some(entry) = self.sessions.get(&session) else { return false };
        if entry.closing {
            return false;
        }
        let deadline_us = self.deadline(heard_us, entry.timeout_ms).max(entry.deadline_us);
        if deadline_us <= now.mono_us {
            return true;
        }
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.deadline_us = deadline_us;
            self.buckets.entry(deadline_us).or_default().push(session);
        }
        false
    }

    /// What is due, at most `limit` sessions. A look that comes more than a tick late finds
    /// nothing, nor does any in the half tick that follows: first everything that clients sent
    /// meanwhile must be read, and the host takes it a thousand sockets at a time.
    pub fn look(&mut self, now: Now, limit: usize) -> Due {
        let mut due = Due::default();
        let late = now.mono_us.saturating_sub(self.last_look_us) > self.tick_us;
        self.last_look_us = now.mono_us;
        if late {
            self.resume_us = now.mono_us + self.tick_us / 2;
        }
        if now.mono_us < self.resume_us {
            return due;
        }
        let mut left = limit;
        while left > 0 {
            let Some(mut bucket) = self.buckets.first_entry() else { break };
            let deadline_us = *bucket.key();
            if deadline_us > now.mono_us {
                break;
            }
            let Some(session) = bucket.get_mut().pop() else {
                bucket.remove();
                continue;
            };
            let Some(entry) = self.sessions.get(&session) else { continue };
            if entry.deadline_us != deadline_us || entry.closing {
                continue;
            }
            left -= 1;
            match entry.owner {
                Some(Owner::Front(front, conn)) => {
                    due.ask.entry(front).or_default().push((conn, session))
                }
                // A learner that had heard of it would have said so.
                Some(Owner::Learner(_) | Owner::Here) | None => due.expired.push(session),
            }
        }
        due
    }

    /// When to look next, monotonic µs.
    pub fn next_look_us(&self) -> Option<u64> {
        let first = *self.buckets.first_key_value()?.0;
        // Look once per tick at least, so that lateness can be told from idleness.
        Some(first.max(self.resume_us).min(self.last_look_us + self.tick_us / 2))
    }

    /// Visits sessions by deadline, µs, from `at` on and at most `budget` entries of them; where to
    /// go on, if there is more. For `dump`: what changes in between may be missed or come twice.
    pub fn each_by_deadline(
        &self,
        at: BucketCursor,
        budget: usize,
        mut visit: impl FnMut(u64, SessionId),
    ) -> Option<BucketCursor> {
        let mut left = budget;
        for (&deadline_us, sessions) in self.buckets.range(at.deadline_us..) {
            let from = if deadline_us == at.deadline_us { at.entry } else { 0 };
            for (entry, session) in sessions.iter().enumerate().skip(from) {
                if left == 0 {
                    return Some(BucketCursor { deadline_us, entry });
                }
                left -= 1;
                let current = self.sessions.get(session);
                if current.is_some_and(|entry| entry.deadline_us == deadline_us) {
                    visit(deadline_us, *session);
                }
            }
        }
        None
    }

    fn deadline(&self, from_us: u64, timeout_ms: i32) -> u64 {
        let until = from_us + u64::from(timeout_ms.max(0) as u32) * 1000;
        let late = u64::from(wrong::is(Wrong::TimeoutOffByATick));
        (until / self.tick_us + 1 + late) * self.tick_us
    }
}

/// The connection here, if it is here.
fn connection(owner: Owner) -> Option<(FrontId, ConnId)> {
    match owner {
        Owner::Front(front, conn) => Some((front, conn)),
        Owner::Learner(_) | Owner::Here => None,
    }
}

fn first_id(wall_ms: i64, server_id: u8) -> i64 {
    let millis = ((wall_ms as u64) << 24) >> 8;
    (millis | (u64::from(server_id) << 56)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: (FrontId, ConnId) = (FrontId(0), ConnId { slot: 3, generation: 1 });

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1000, wall_ms: ms as i64 }
    }

    /// Looks once every half tick from `from` to `to` and returns the last non-empty result.
    fn look_until(clock: &mut SessionClock, from: u64, to: u64) -> Vec<(u64, Due)> {
        let mut found = Vec::new();
        let mut ms = from;
        while ms <= to {
            let due = clock.look(at(ms), 100);
            if due != Due::default() {
                found.push((ms, due));
            }
            ms += 500;
        }
        found
    }

    #[test]
    fn what_a_learner_still_had_of_a_session_that_moved_here_comes_too_late() {
        let mut clock = SessionClock::new(1000, 1, at(0), []);
        let (session, link) = (SessionId(7), LinkId(1));
        clock.start(at(0), session, 2000, Some(Owner::Learner(link)));
        assert!(clock.renew(at(10), session, 2000, OWNER));
        clock.connection_closed(session, OWNER, 10_000);
        assert_eq!(clock.check(session, Some(link)), Err(ErrorCode::SESSION_MOVED));
        assert_eq!(clock.check(session, None), Ok(()));
        // It has to ask for the session again.
        assert!(clock.moved(at(20), session, 2000, Owner::Learner(link)));
        assert_eq!(clock.check(session, Some(link)), Ok(()));
    }

    #[test]
    fn a_session_without_connection_ends_at_the_tick_after_its_timeout() {
        let mut clock = SessionClock::new(1000, 1, at(0), []);
        clock.start(at(300), SessionId(7), 2000, None);
        let found = look_until(&mut clock, 0, 5000);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, &found[0].1.expired[..]), (3000, &[SessionId(7)][..]));
    }

    #[test]
    fn a_connected_session_is_asked_about_and_lives_if_it_was_heard() {
        let mut clock = SessionClock::new(1000, 1, at(0), []);
        clock.start(at(0), SessionId(7), 2000, Some(Owner::Front(OWNER.0, OWNER.1)));
        let found = look_until(&mut clock, 0, 3000);
        assert_eq!(found[0].1.ask[&OWNER.0], [(OWNER.1, SessionId(7))]);
        assert!(!clock.heard(at(3000), SessionId(7), 2_500_000));
        let found = look_until(&mut clock, 3000, 5000);
        assert_eq!(found[0].0, 5000);
        assert!(clock.heard(at(5000), SessionId(7), 2_500_000));
    }

    #[test]
    fn a_late_look_expires_nobody_before_the_sockets_were_read() {
        let mut clock = SessionClock::new(1000, 1, at(0), []);
        clock.start(at(0), SessionId(7), 2000, None);
        for ms in [60_000, 60_001, 60_499] {
            assert_eq!(clock.look(at(ms), 100), Due::default());
            assert_eq!(clock.next_look_us(), Some(60_500_000.min(ms * 1000 + 500_000)));
        }
        assert_eq!(clock.look(at(60_500), 100).expired, [SessionId(7)]);
    }

    #[test]
    fn ids_carry_the_server_and_never_repeat() {
        let mut clock = SessionClock::new(1000, 3, at(1_700_000_000_000), []);
        let (a, b) = (clock.next_id(), clock.next_id());
        assert_eq!(a.0 >> 56, 3);
        assert_eq!(b.0, a.0 + 1);
    }

    #[test]
    fn a_walk_in_steps_finds_every_session_at_its_deadline() {
        let sessions = (1..=10).map(|id| (SessionId(id), if id < 4 { 1000 } else { 5000 }));
        let clock = SessionClock::new(1000, 1, at(0), sessions);
        let (mut found, mut next) = (Vec::new(), Some(BucketCursor::default()));
        while let Some(from) = next {
            let before = found.len();
            next = clock.each_by_deadline(from, 2, |us, session| found.push((us, session.0)));
            assert!(found.len() - before <= 2);
        }
        let expected = (1..=10).map(|id| (if id < 4 { 2_000_000 } else { 6_000_000 }, id));
        assert!(found.into_iter().eq(expected));
    }

    #[test]
    fn a_mass_expiry_is_paced() {
        let sessions = (1..=10).map(|id| (SessionId(id), 1000));
        let mut clock = SessionClock::new(1000, 1, at(0), sessions);
        let mut total = 0;
        for ms in [500, 1000, 1500, 2000, 2001, 2002, 2003] {
            let found = clock.look(at(ms), 4).expired.len();
            assert!(found <= 4);
            total += found;
        }
        assert_eq!(total, 10);
    }
}
