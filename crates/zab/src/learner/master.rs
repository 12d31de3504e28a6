//! A follower that serves observers from what it gets itself (`ObserverMaster`), which takes them
//! off the leader's network.
//!
//! To an observer it looks like a leader whose epoch has long been established, so the links are
//! the leader's ([`Leader::below`]): they are synchronised from this server's committed history,
//! and what is committed is passed on. What observers ask goes on to the leader as if it came from
//! here; the answers come in the order of the questions, which tells whose they are.

use oxkeeper_proto::packet::{ForwardedRequest, Packet, put_touched};
use oxkeeper_proto::{OpCode, SessionId, Sid};

use super::{Learner, Stage};
use crate::leader::Leader;
use crate::ledger::Ledger;
use crate::messages::{Drop, Effect, Entry, Forward, LinkId, Outgoing, SyncToken, Verdict};

/// Sessions of observers that are remembered until the leader asks for them. It asks twice a tick;
/// more than this many are heard of a little later.
const TOUCHED_MAX: usize = 100_000;

/// Who waits for an answer of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker<T> {
    /// This server's node.
    Node(T),
    /// An observer.
    Observer(LinkId, T),
}

impl Learner {
    /// An observer connected.
    pub fn observer_linked(&mut self, ledger: &mut Ledger, now_ms: u64, link: LinkId) {
        let serves = ledger.settings.observer_masters && !self.observer;
        if !serves || self.stage != Stage::Broadcasting {
            return ledger.close(link, Drop::RoleOver("serving observers"));
        }
        let epoch = self.epoch;
        let below = || Box::new(Leader::below(ledger, now_ms, epoch));
        let mut master = self.master.take().unwrap_or_else(below);
        master.linked(ledger, now_ms, link);
        self.master = Some(master);
    }

    /// The observers' side, if there is one.
    pub fn master(&self) -> Option<&Leader> {
        self.master.as_deref()
    }

    /// The same, for what the host reports of it.
    pub fn master_mut(&mut self) -> Option<&mut Leader> {
        self.master.as_deref_mut()
    }

    /// The same, if this is an observer's link.
    pub fn master_of(&mut self, link: LinkId) -> Option<&mut Leader> {
        self.master.as_deref_mut().filter(|master| master.link(link).is_some())
    }

    /// Takes a packet of an observer. `None` if the link is none.
    pub(super) fn observers_packet(
        &mut self,
        ledger: &mut Ledger,
        now_ms: u64,
        id: LinkId,
        packet: &Packet<'_>,
    ) -> Option<Verdict> {
        let master = self.master_of(id)?;
        // Whatever they say, nothing of theirs ends this server's role.
        let verdict = master.packet(ledger, now_ms, id, packet);
        let _ = master.count_acks(ledger, now_ms);
        if let Ok(Verdict::ForNode(_)) = verdict {
            match packet {
                Packet::Request(request) => self.pass_on(ledger, id, request),
                Packet::Revalidate { session, timeout_ms } => {
                    let (session, timeout_ms) = (*session, *timeout_ms);
                    let asker = Asker::Observer(id, timeout_ms);
                    self.ask_revalidate(ledger, session, timeout_ms, asker);
                }
                Packet::Ping { touched: Some(touched), .. } => {
                    touched.iter().for_each(|(session, ms)| self.touch(session, ms));
                }
                _ => {}
            }
        }
        Some(Verdict::Done)
    }

    fn pass_on(&mut self, ledger: &mut Ledger, id: LinkId, request: &ForwardedRequest<'_>) {
        let forward = Forward {
            session: request.session,
            cxid: request.cxid,
            op: request.op,
            body: bytes::Bytes::copy_from_slice(request.body),
            identities: request.identities.map(|known| bytes::Bytes::copy_from_slice(known.raw())),
        };
        if self.forward(ledger, forward) && request.op == OpCode::SYNC {
            self.syncs.push_back(Asker::Observer(id, SyncToken(0)));
        }
    }

    fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        if self.touched.len() < TOUCHED_MAX || self.touched.contains_key(&session) {
            self.touched.insert(session, timeout_ms);
        }
    }

    /// Answers the leader's PING: who was heard from, here and on the observers.
    pub fn answer_ping(
        &mut self,
        ledger: &mut Ledger,
        zxid: oxkeeper_proto::Zxid,
        own: bytes::Bytes,
    ) {
        let mut touched = own;
        if !self.touched.is_empty() {
            let mut all = touched.to_vec();
            for (session, timeout_ms) in std::mem::take(&mut self.touched) {
                put_touched(&mut all, session, timeout_ms);
            }
            touched = all.into();
        }
        self.send(ledger, Outgoing::Pong(zxid, touched));
    }

    /// Asks the leader whether a session lives.
    pub fn revalidate(&mut self, ledger: &mut Ledger, session: SessionId, timeout_ms: i32) -> bool {
        self.ask_revalidate(ledger, session, timeout_ms, Asker::Node(timeout_ms))
    }

    fn ask_revalidate(
        &mut self,
        ledger: &mut Ledger,
        session: SessionId,
        timeout_ms: i32,
        asker: Asker<i32>,
    ) -> bool {
        let sent = self.send(ledger, Outgoing::Revalidate(session, timeout_ms));
        if sent {
            self.revalidating.push_back((session, asker));
        }
        sent
    }

    /// The leader's answer: for this server's node, or for an observer.
    pub(super) fn revalidated(
        &mut self,
        ledger: &mut Ledger,
        session: SessionId,
        valid: bool,
    ) -> Verdict {
        let asked = self.revalidating.iter().position(|(about, _)| *about == session);
        let asker = asked.and_then(|at| self.revalidating.remove(at));
        let Some((_, Asker::Observer(id, timeout_ms))) = asker else {
            return Verdict::ForNode(self.leader);
        };
        if self.master_of(id).is_some() {
            ledger.send(id, Outgoing::Revalidated(session, valid));
        }
        if valid {
            self.touch(session, timeout_ms);
        }
        Verdict::Done
    }

    /// SYNC: whoever asked first is answered.
    pub(super) fn synced(&mut self, ledger: &mut Ledger) {
        match self.syncs.pop_front() {
            Some(Asker::Node(token)) => ledger.push(Effect::Synced(token)),
            Some(Asker::Observer(id, _)) if self.master_of(id).is_some() => {
                ledger.send(id, Outgoing::Sync);
            }
            Some(Asker::Observer(..)) | None => {}
        }
    }

    /// Passes on what was committed.
    pub(super) fn relay(&mut self, ledger: &mut Ledger, entry: &Entry, designated: Option<Sid>) {
        if let Some(master) = &mut self.master {
            master.relay(ledger, entry, designated);
        }
    }
}
