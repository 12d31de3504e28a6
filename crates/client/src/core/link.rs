//! The life of a connection: dial, handshake, silence, loss, and the search for a better one.

use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::response::xid;
use oxkeeper_proto::{OpCode, Reader, SessionId};

use super::outcome::{Cause, End, Outcome, Violation};
use super::pending::What;
use super::{Client, Effect, LinkId, Phase, Probing, State};

/// First and longest pause between two probes, µs (`ClientCnxn.SendThread.pingRwTimeout`).
const PROBE_US_MIN: u64 = 100_000;
const PROBE_US_MAX: u64 = 60_000_000;

/// A buffer that one large reply has grown beyond this is given back.
const INBOX_BYTES_KEPT: usize = 1 << 20;

impl Client {
    /// Whatever is due.
    pub(super) fn wake(&mut self) {
        if self.closing_until_us.is_some_and(|until| until <= self.now_us) {
            return self.end(End::Closed, false);
        }
        if self.unheard_until_us().is_some_and(|until| until <= self.now_us) {
            return self.expired(false);
        }
        let timing = self.session.timing(self.hosts.len());
        match self.phase {
            Phase::Over => {}
            Phase::Waiting { until_us } if until_us <= self.now_us => self.dial(),
            Phase::Waiting { .. } => {}
            Phase::Dialing { since_us, .. } | Phase::Greeting { since_us, .. } => {
                if since_us.saturating_add(timing.connect_us) <= self.now_us {
                    self.drop_link(Cause::ConnectTimeout);
                }
            }
            Phase::Up { sent_us, .. } => {
                if self.session.heard_us + timing.read_us <= self.now_us {
                    self.drop_link(Cause::Silent);
                } else {
                    if sent_us + timing.ping_us <= self.now_us {
                        self.ping();
                    }
                    self.probe();
                }
            }
        }
    }

    /// When a session that no server is heard about counts as expired.
    pub(super) fn unheard_until_us(&self) -> Option<u64> {
        let known = self.session.asked() != SessionId::NONE && self.expire_unheard;
        let apart = !self.phase.is_up() && !matches!(self.state, State::Connecting);
        let timing = self.session.timing(self.hosts.len());
        (known && apart).then(|| self.session.heard_us.saturating_add(timing.expire_us))
    }

    fn dial(&mut self) {
        let link = self.take_link();
        let host = self.hosts.next(&mut self.chance);
        self.phase = Phase::Dialing { link, since_us: self.now_us };
        self.effects.push_back(Effect::Dial(link, host));
    }

    fn take_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    /// A server, or whatever listens there, has answered the dial: says who we are.
    pub(super) fn connected(&mut self, link: LinkId) {
        if !matches!(self.phase, Phase::Dialing { link: dialled, .. } if dialled == link) {
            return;
        }
        self.phase = Phase::Greeting { link, since_us: self.now_us };
        self.session.heard_us = self.now_us;
        let start = begin_frame(&mut self.out);
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.session.last_zxid,
            timeout_ms: self.session.timeout_ms,
            session: self.session.asked(),
            password: Some(&self.session.password),
            read_only: Some(self.read_only),
        }
        .encode(&mut self.out);
        end_frame(&mut self.out, start);
    }

    /// Bytes of the server. Frames are taken from where they lie; only the beginning of one that
    /// is not whole yet is kept.
    pub(super) fn bytes(&mut self, link: LinkId, bytes: &[u8]) {
        if self.phase.link() != Some(link) || matches!(self.phase, Phase::Dialing { .. }) {
            return;
        }
        self.session.heard_us = self.now_us;
        let mut inbox = std::mem::take(&mut self.inbox);
        let begun = !inbox.is_empty();
        if begun {
            inbox.extend_from_slice(bytes);
        }
        let used = self.frames(link, if begun { &inbox } else { bytes });
        if self.phase.link() != Some(link) {
            return;
        }
        if begun {
            inbox.drain(..used);
        } else {
            inbox.extend_from_slice(&bytes[used..]);
        }
        if inbox.is_empty() && inbox.capacity() > INBOX_BYTES_KEPT {
            inbox = Vec::new();
        }
        self.inbox = inbox;
    }

    /// Takes whole frames, as long as they leave the connection up, and tells how many bytes.
    fn frames(&mut self, link: LinkId, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while self.phase.link() == Some(link) {
            match split_frame(rest, self.limits.reply_bytes_max) {
                Ok(None) => break,
                Ok(Some((frame, behind))) => {
                    rest = behind;
                    if let Err(violation) = self.frame(frame) {
                        self.drop_link(Cause::Violation(violation));
                    }
                }
                Err(error) => self.drop_link(Cause::Violation(error.into())),
            }
        }
        bytes.len() - rest.len()
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Violation> {
        let mut reader = Reader::with_field_max(frame, self.limits.reply_bytes_max);
        if self.phase.is_up() {
            return self.reply(&mut reader);
        }
        let response = ConnectResponse::decode(&mut reader)?;
        self.greeted(&response)
    }

    /// The handshake was answered.
    fn greeted(&mut self, response: &ConnectResponse) -> Result<(), Violation> {
        let Phase::Greeting { link, since_us } = self.phase else { return Ok(()) };
        if response.timeout_ms <= 0 {
            self.expired(true);
            return Ok(());
        }
        let (asked, found) = (self.session.asked(), response.session);
        if found == SessionId::NONE || (asked != SessionId::NONE && asked != found) {
            return Err(Violation::OtherSession { asked, found });
        }
        let read_only = response.read_only == Some(true);
        self.session.id = found;
        self.session.password = response.password;
        self.session.timeout_ms = response.timeout_ms;
        self.session.writable_seen |= !read_only;
        self.session.known_us = since_us;
        self.hosts.established();
        self.phase = Phase::Up { link, sent_us: since_us, pings: 0, ping_us: 0 };
        self.probing = read_only.then_some(Probing {
            next_us: self.now_us + PROBE_US_MIN,
            interval_us: PROBE_US_MIN,
            asked: None,
        });
        let (session, timeout_ms) = (found, response.timeout_ms);
        self.set_state(State::Connected { session, timeout_ms, read_only });
        if self.closing_until_us.is_some() {
            self.send_close();
        } else {
            self.begin();
        }
        Ok(())
    }

    /// What goes out first on a new connection: who we are, what we watch, what has waited.
    fn begin(&mut self) {
        self.auth.send_all(&mut self.out);
        let pieces = self.watches.rearm(self.session.watched_to());
        let last = pieces.len().wrapping_sub(1);
        for (at, (op, body)) in pieces.into_iter().enumerate() {
            let bytes = self.send_own(xid::SET_WATCHES, op, &body);
            self.push_sent(xid::SET_WATCHES, bytes, What::Rearm { last: at == last });
        }
        if last == usize::MAX {
            self.session.rearm_from = None;
        }
        while let Some(waiting) = self.pending.pop_waiting() {
            let start = self.out.len();
            self.out.extend_from_slice(&waiting.frame);
            self.sent(start, waiting.frame.len(), waiting.asked);
        }
        if let (false, Phase::Up { sent_us, .. }) = (self.out.is_empty(), &mut self.phase) {
            *sent_us = self.now_us;
        }
    }

    fn ping(&mut self) {
        self.send_own(xid::PING, OpCode::PING, &[]);
        if let Phase::Up { sent_us, pings, ping_us, .. } = &mut self.phase {
            *sent_us = self.now_us;
            if *pings == 0 {
                *ping_us = self.now_us;
            }
            *pings += 1;
        }
    }

    /// Asks the next server whether it takes writes, if that is wanted and due.
    fn probe(&mut self) {
        let due = self.probing.is_some_and(|probing| probing.next_us <= self.now_us);
        if !due {
            return;
        }
        let link = self.take_link();
        let (at, host) = self.hosts.next_probe();
        if let Some(probing) = &mut self.probing {
            // A question that was not answered by now never will be.
            probing.asked = Some((link, at));
            probing.interval_us = (probing.interval_us * 2).min(PROBE_US_MAX);
            probing.next_us = self.now_us + probing.interval_us;
            self.effects.push_back(Effect::Probe(link, host));
        }
    }

    pub(super) fn probed(&mut self, link: LinkId, writable: bool) {
        let asked = self.probing.and_then(|probing| probing.asked);
        let Some((_, at)) = asked.filter(|(asked, _)| *asked == link) else { return };
        if writable && self.closing_until_us.is_none() {
            self.hosts.prefer(at);
            self.drop_link(Cause::WritableFound);
        } else if let Some(probing) = &mut self.probing {
            probing.asked = None;
        }
    }

    /// The server says that the session is gone, or it must be.
    fn expired(&mut self, told: bool) {
        // Who wanted to close it has what was wanted.
        let end = if self.closing_until_us.is_some() { End::Closed } else { End::Expired };
        self.end(end, told);
    }

    /// Ends the connection and waits for the next one.
    pub(super) fn drop_link(&mut self, cause: Cause) {
        let was_up = self.phase.is_up();
        self.hang_up(cause);
        // Nothing to reconnect for: a session that was to be closed never began.
        if self.closing_until_us.is_some() && self.session.asked() == SessionId::NONE {
            return self.end(End::Closed, false);
        }
        let delay_us = self.hosts.delay_us(&mut self.chance);
        self.phase = Phase::Waiting { until_us: self.now_us.saturating_add(delay_us) };
        if was_up {
            let until_us = self.session.safe_until_us();
            self.set_state(State::Suspended { until_us, cause });
        }
    }

    /// Ends the connection: what it still owed is not known any more.
    pub(super) fn hang_up(&mut self, cause: Cause) {
        self.flush();
        if let Some(link) = self.phase.link() {
            self.effects.push_back(Effect::Close(link, cause));
        }
        if self.phase.is_up() {
            self.session.rearm_from = Some(self.session.watched_to());
        }
        while let Some(sent) = self.pending.pop_sent() {
            if let What::User(asked) = sent.what {
                self.effects.push_back(Effect::Completed(asked.ticket, Outcome::Unknown(cause)));
            }
        }
        self.auth.lost();
        self.inbox.clear();
        self.out.clear();
        self.gathered = 0;
        self.probing = None;
    }
}
