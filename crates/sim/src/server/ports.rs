//! The quorum port and the election port of one life of a server, over simulated wires.
//!
//! Who comes to the quorum port while its server still looks for a leader waits unread, as in the
//! real host; when leading begins the waiting become links, and whoever follows turns them away.

use std::collections::{BTreeMap, VecDeque};

use oxkeeper_proto::notification::{Hello, Notification, split_message};
use oxkeeper_proto::stream::Split;
use oxkeeper_proto::{Sid, packet::Packet};
use oxkeeper_zab::links::{ConnId, DialError, Effect as CallEffect, Links};
use oxkeeper_zab::quorum::Membership;
use oxkeeper_zab::{LinkId, Outgoing, links};

use super::archive::Inlet;
use crate::net::{End, Party, Port, WireId};
use crate::world::Ground;

/// What waits to be sent on a link.
#[derive(Debug)]
enum Out {
    Bytes(Vec<u8>),
    /// A snapshot that is still being read; nothing overtakes it.
    Snapshot,
}

/// One connection between a learner and its leader.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: WireId,
    end: End,
    /// Read, and no whole packet yet.
    pub(super) inbox: Vec<u8>,
    /// A snapshot comes in: the stream is cut into packets again when it is complete.
    pub(super) raw: bool,
    /// Where it goes.
    pub(super) inlet: Option<Inlet>,
    out: VecDeque<Out>,
}

/// One connection on the election port.
#[derive(Debug)]
struct Call {
    wire: WireId,
    end: End,
    inbox: Vec<u8>,
    /// The hello has come, or it is ours.
    greeted: bool,
    connected: bool,
}

/// Both ports.
#[derive(Debug)]
pub(super) struct Ports {
    me: Party,
    pub(super) links: BTreeMap<LinkId, Link>,
    ids: BTreeMap<WireId, LinkId>,
    dials: BTreeMap<WireId, Sid>,
    /// With what they have said already.
    waiting: Vec<(WireId, Vec<u8>)>,
    next_link: u64,
    pub(super) votes: Links,
    conns: BTreeMap<WireId, ConnId>,
    calls: BTreeMap<ConnId, Call>,
}

/// What has happened on the election port.
#[derive(Debug)]
pub(super) enum Told {
    Link(Sid, bool),
    Heard(Sid, Notification<'static>),
}

/// The server with this id.
pub(super) fn party_of(sid: Sid) -> Party {
    Party::Server(usize::try_from(sid.0 - 1).unwrap_or_default())
}

impl Ports {
    /// Closed ports of a server that has just started.
    pub(super) fn new(me: Sid, membership: &Membership) -> Ports {
        let server = membership.current().server(me);
        let addresses = server.map(|server| server.election_addresses().collect());
        let mut votes = Links::new(me, addresses.unwrap_or_default(), links::Settings::default());
        votes.configure(membership);
        Ports {
            me: party_of(me),
            links: BTreeMap::new(),
            ids: BTreeMap::new(),
            dials: BTreeMap::new(),
            waiting: Vec::new(),
            next_link: 0,
            votes,
            conns: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    /// Every wire that is open here, with our end of it.
    pub(super) fn wires(&self) -> Vec<(WireId, End)> {
        let links = self.links.values().map(|link| (link.wire, link.end));
        let calls = self.calls.values().map(|call| (call.wire, call.end));
        let dials = self.dials.keys().map(|wire| (*wire, End::Dialler));
        let waiting = self.waiting.iter().map(|(wire, _)| (*wire, End::Listener));
        links.chain(calls).chain(dials).chain(waiting).collect()
    }

    /// Calls a leader.
    pub(super) fn dial(&mut self, ground: &mut Ground, sid: Sid) {
        let Ground { agenda, net, .. } = ground;
        let wire = net.dial_port(agenda, self.me, party_of(sid), Port::Quorum);
        self.dials.insert(wire, sid);
    }

    /// Someone has called: a link if this server leads.
    pub(super) fn came(
        &mut self,
        ground: &mut Ground,
        wire: WireId,
        leads: bool,
        follows: bool,
    ) -> Option<LinkId> {
        ground.net.accept(&mut ground.agenda, wire);
        if leads {
            return Some(self.link(wire, End::Listener));
        }
        match follows {
            true => ground.net.close(&mut ground.agenda, wire, End::Listener),
            false => self.waiting.push((wire, Vec::new())),
        }
        None
    }

    /// Leading begins, or following: those who wait become links, or are turned away.
    pub(super) fn settle_waiting(&mut self, ground: &mut Ground, leads: bool) -> Vec<LinkId> {
        let waiting = std::mem::take(&mut self.waiting);
        if !leads {
            for (wire, _) in waiting {
                ground.net.close(&mut ground.agenda, wire, End::Listener);
            }
            return Vec::new();
        }
        let mut links = Vec::new();
        for (wire, said) in waiting {
            let id = self.link(wire, End::Listener);
            if let Some(link) = self.links.get_mut(&id) {
                link.inbox = said;
            }
            links.push(id);
        }
        links
    }

    fn link(&mut self, wire: WireId, end: End) -> LinkId {
        self.next_link += 1;
        let id = LinkId(self.next_link);
        self.ids.insert(wire, id);
        let (inbox, out) = (Vec::new(), VecDeque::new());
        self.links.insert(id, Link { wire, end, inbox, raw: false, inlet: None, out });
        id
    }

    /// A call of ours was taken: the new link, if it is still wanted.
    pub(super) fn accepted(
        &mut self,
        ground: &mut Ground,
        wire: WireId,
        wanted: impl FnOnce(Sid) -> bool,
    ) -> Option<LinkId> {
        let sid = self.dials.remove(&wire)?;
        if !wanted(sid) {
            ground.net.close(&mut ground.agenda, wire, End::Dialler);
            return None;
        }
        Some(self.link(wire, End::Dialler))
    }

    /// A call of ours was refused: whose.
    pub(super) fn refused(&mut self, wire: WireId) -> Option<Sid> {
        self.dials.remove(&wire)
    }

    /// Bytes on a wire that is no link: of someone who waits, or of an earlier life.
    pub(super) fn disown(&mut self, ground: &mut Ground, wire: WireId, bytes: &[u8]) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == wire) {
            Some((_, said)) => said.extend_from_slice(bytes),
            None => ground.net.break_wire(&mut ground.agenda, wire),
        }
    }

    /// The link that a wire carries.
    pub(super) fn link_of(&self, wire: WireId) -> Option<LinkId> {
        self.ids.get(&wire).copied()
    }

    /// A link that has ended by itself.
    pub(super) fn ended(&mut self, wire: WireId) -> Option<LinkId> {
        self.waiting.retain(|(waiting, _)| *waiting != wire);
        let id = self.ids.remove(&wire)?;
        if let Some(Link { inlet: Some(inlet), .. }) = self.links.remove(&id) {
            inlet.break_off();
        }
        Some(id)
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, ground: &mut Ground, id: LinkId, packet: &Outgoing) {
        let mut bytes = Vec::new();
        packet.as_packet().encode(&mut bytes);
        if let Some(link) = self.links.get_mut(&id) {
            link.out.push_back(Out::Bytes(bytes));
            link.pump(ground);
        }
    }

    /// Keeps a place for a snapshot.
    pub(super) fn expect_snapshot(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.out.push_back(Out::Snapshot);
        }
    }

    /// A piece of the snapshot is there; an empty one ends it.
    pub(super) fn send_chunk(&mut self, ground: &mut Ground, id: LinkId, chunk: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match chunk {
            [] => link.out.retain(|out| !matches!(out, Out::Snapshot)),
            _ => ground.net.send(&mut ground.agenda, link.wire, link.end, chunk),
        }
        link.pump(ground);
    }

    /// Hangs up.
    pub(super) fn close(&mut self, ground: &mut Ground, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            link.inlet.iter().for_each(Inlet::break_off);
            self.ids.remove(&link.wire);
            ground.net.close(&mut ground.agenda, link.wire, link.end);
        }
    }

    /// Something has arrived for the election port.
    pub(super) fn call(&mut self, ground: &mut Ground, now_ms: u64, wire: WireId) -> ConnId {
        let conn = self.votes.accepted(now_ms);
        ground.net.accept(&mut ground.agenda, wire);
        let (inbox, end) = (Vec::new(), End::Listener);
        self.calls.insert(conn, Call { wire, end, inbox, greeted: false, connected: true });
        self.conns.insert(wire, conn);
        conn
    }

    /// A call of ours to an election port was taken.
    pub(super) fn call_taken(&mut self, now_ms: u64, wire: WireId) {
        if let Some(&conn) = self.conns.get(&wire) {
            if let Some(call) = self.calls.get_mut(&conn) {
                call.connected = true;
            }
            self.votes.connected(now_ms, conn);
        }
    }

    /// A connection on the election port is over.
    pub(super) fn call_ended(&mut self, now_ms: u64, wire: WireId) {
        let Some(conn) = self.conns.remove(&wire) else { return };
        match self.calls.remove(&conn) {
            Some(call) if !call.connected => {
                self.votes.dial_failed(now_ms, conn, DialError::Refused);
            }
            _ => self.votes.closed(now_ms, conn),
        }
    }

    /// Bytes on the election port: what they tell.
    pub(super) fn overhear(
        &mut self,
        ground: &mut Ground,
        now_ms: u64,
        wire: WireId,
        bytes: &[u8],
        told: &mut Vec<Told>,
    ) {
        let Some(&conn) = self.conns.get(&wire) else {
            return ground.net.break_wire(&mut ground.agenda, wire);
        };
        let Some(call) = self.calls.get_mut(&conn) else { return };
        call.inbox.extend_from_slice(bytes);
        let mut inbox = std::mem::take(&mut call.inbox);
        let mut rest = &inbox[..];
        if !call.greeted {
            let Ok(Split::Whole(hello, after)) = Hello::split(rest) else {
                call.inbox = inbox;
                return;
            };
            call.greeted = true;
            rest = after;
            self.votes.greeted(now_ms, conn, &hello);
            self.calls(ground, told);
        }
        while let Ok(Split::Whole(payload, after)) = split_message(rest) {
            rest = after;
            let Ok(heard) = Notification::decode(payload) else { continue };
            if let Some(sid) = self.votes.received(conn) {
                told.push(Told::Heard(sid, heard.into_owned()));
            }
        }
        let used = inbox.len() - rest.len();
        inbox.drain(..used);
        if let Some(call) = self.calls.get_mut(&conn) {
            call.inbox = inbox;
        }
    }

    /// Carries out what the election's links want.
    pub(super) fn calls(&mut self, ground: &mut Ground, told: &mut Vec<Told>) {
        while let Some(effect) = self.votes.poll_effect() {
            match effect {
                CallEffect::Dial { conn, sid, .. } => {
                    let Ground { agenda, net, .. } = &mut *ground;
                    let wire = net.dial_port(agenda, self.me, party_of(sid), Port::Election);
                    let (inbox, end) = (Vec::new(), End::Dialler);
                    let call = Call { wire, end, inbox, greeted: true, connected: false };
                    self.calls.insert(conn, call);
                    self.conns.insert(wire, conn);
                }
                CallEffect::Greet { conn, hello } => {
                    let mut bytes = Vec::new();
                    hello.encode(&mut bytes);
                    self.say(ground, conn, &bytes);
                }
                CallEffect::Authenticate { .. } => {}
                CallEffect::Write { conn, message } => {
                    let mut bytes = (message.len() as i32).to_be_bytes().to_vec();
                    bytes.extend_from_slice(&message);
                    self.say(ground, conn, &bytes);
                    self.votes.written(conn);
                }
                CallEffect::Close(conn) => {
                    if let Some(call) = self.calls.remove(&conn) {
                        self.conns.remove(&call.wire);
                        ground.net.close(&mut ground.agenda, call.wire, call.end);
                    }
                }
                CallEffect::Up(sid) => told.push(Told::Link(sid, true)),
                CallEffect::Down(sid) => told.push(Told::Link(sid, false)),
            }
        }
    }

    fn say(&self, ground: &mut Ground, conn: ConnId, bytes: &[u8]) {
        if let Some(call) = self.calls.get(&conn) {
            ground.net.send(&mut ground.agenda, call.wire, call.end, bytes);
        }
    }
}

impl Link {
    fn pump(&mut self, ground: &mut Ground) {
        while let Some(Out::Bytes(bytes)) = self.out.front() {
            ground.net.send(&mut ground.agenda, self.wire, self.end, bytes);
            self.out.pop_front();
        }
    }

    /// Splits the packets off what was read and hands them on, until one says that a snapshot
    /// follows. An error if it is nonsense.
    pub(super) fn each_packet(
        inbox: &mut Vec<u8>,
        mut take: impl FnMut(&Packet<'_>),
    ) -> Result<bool, String> {
        let bytes = std::mem::take(inbox);
        let mut rest = &bytes[..];
        let mut snapshot = false;
        let split = |bytes| Packet::split(bytes, 64 << 20).map_err(|error| error.to_string());
        while let Split::Whole(packet, after) = split(rest)? {
            rest = after;
            take(&packet);
            if matches!(packet, Packet::Snap { .. }) {
                snapshot = true;
                break;
            }
        }
        *inbox = rest.to_vec();
        Ok(snapshot)
    }
}
