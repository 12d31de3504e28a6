//! Clients: what they do, and what they note of what they see.
//!
//! Every client has a session at a time and works on a handful of paths that all of them share, so
//! that they get into each other's way: creates of every kind, writes with versions right and
//! wrong, multis, reads of every kind, watches of every kind. It loses its connection, moves its
//! session to another one (perhaps before the old one has noticed), closes it, or falls silent
//! until it expires. What crosses its end of the wire goes into the
//! [`History`](crate::history::History).
//!
//! The protocol itself is behind [`Protocol`]: bytes in, what they say out.

use std::collections::{BTreeSet, VecDeque};

use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::response::{EventType, ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{CreateMode, ErrorCode, OpCode, Reader, SessionId, Zxid};

use crate::agenda::{Event, MS, Micros, SECOND};
use crate::asked::{Asked, Create, Edit, Rewatch};
use crate::dice::Dice;
use crate::history::{Heard, Op, Reply};
use crate::net::{Delivery, End, Party, WireId};
use crate::world::Ground;

/// What a server says to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// The session is open.
    Session {
        /// Which.
        session: SessionId,
        /// Its timeout, ms.
        timeout_ms: i32,
    },
    /// The session that was asked for is no more.
    Expired,
    /// An answer.
    Reply {
        /// To the request with this number.
        xid: i32,
        /// The last zxid that the server had applied.
        zxid: Zxid,
        /// How it went.
        err: ErrorCode,
        /// What follows the header.
        body: Vec<u8>,
    },
    /// A watch fired.
    Event {
        /// In this transaction.
        zxid: Zxid,
        /// What happened.
        event: EventType,
        /// Where.
        path: String,
    },
    /// Bytes that mean nothing.
    Garbage,
}

/// The client's side of the protocol on one connection, without any I/O.
pub trait Protocol {
    /// The first bytes of a connection: asks for a session, or for this one again.
    fn hello(&mut self, session: SessionId, timeout_ms: i32, seen: Zxid) -> Vec<u8>;
    /// The bytes of a request.
    fn request(&mut self, xid: i32, asked: &Asked) -> Vec<u8>;
    /// Takes bytes and says what they mean.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Said>;
}

/// The least that speaks to a server.
#[derive(Debug, Default)]
pub struct Plain {
    left: Vec<u8>,
    greeted: bool,
}

impl Protocol for Plain {
    fn hello(&mut self, session: SessionId, timeout_ms: i32, seen: Zxid) -> Vec<u8> {
        *self = Plain::default();
        let password = session.password();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: seen,
            timeout_ms,
            session,
            password: Some(&password),
            read_only: Some(false),
        };
        framed(|out| request.encode(out))
    }

    fn request(&mut self, xid: i32, asked: &Asked) -> Vec<u8> {
        framed(|out| {
            RequestHeader { xid, op: asked.op() }.encode(out);
            asked.encode(out);
        })
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.left.extend_from_slice(bytes);
        let left = std::mem::take(&mut self.left);
        let mut rest = &left[..];
        let mut said = Vec::new();
        while let Ok(Some((frame, after))) = split_frame(rest, usize::MAX) {
            rest = after;
            said.push(self.frame(frame).unwrap_or(Said::Garbage));
        }
        self.left = rest.to_vec();
        said
    }
}

impl Plain {
    fn frame(&mut self, frame: &[u8]) -> Option<Said> {
        let mut reader = Reader::new(frame);
        if !self.greeted {
            self.greeted = true;
            let response = ConnectResponse::decode(&mut reader).ok()?;
            let ConnectResponse { session, timeout_ms, .. } = response;
            return Some(match session {
                SessionId::NONE => Said::Expired,
                _ => Said::Session { session, timeout_ms },
            });
        }
        let ReplyHeader { xid, zxid, err } = ReplyHeader::decode(&mut reader).ok()?;
        if xid == xid::NOTIFICATION {
            let event = WatcherEvent::decode(&mut reader).ok()?;
            return Some(Said::Event { zxid, event: event.event, path: event.path.into_owned() });
        }
        Some(Said::Reply { xid, zxid, err, body: reader.rest().to_vec() })
    }
}

fn framed(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out);
    encode(&mut out);
    end_frame(&mut out, start);
    out
}

/// How far into the run clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Anything goes.
    Storm,
    /// No more writes: what is under way is finished, everything is looked at once more.
    Calm,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    id: usize,
    servers: usize,
    protocol: Plain,
    dice: Dice,
    /// The connection: its wire and its number in the history.
    link: Option<Link>,
    session: SessionId,
    timeout_ms: i32,
    /// How long it pauses between two things it does, ms.
    pace_ms: u64,
    seen: Zxid,
    xid: i32,
    /// Requests without an answer, by their number in the history.
    pending: VecDeque<usize>,
    watches: Watching,
    /// Does nothing before then.
    silent_until: Micros,
    gone: bool,
    looked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    wire: WireId,
    conn: usize,
    ready: bool,
    heard: Micros,
    sent: Micros,
}

/// The watches a client believes that it has.
#[derive(Debug, Default)]
struct Watching {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watching {
    fn again(&self, since: Zxid) -> Rewatch {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect();
        Rewatch {
            since,
            data: list(&self.data),
            exist: list(&self.exist),
            child: list(&self.child),
            persistent: list(&self.persistent),
            recursive: list(&self.recursive),
        }
    }

    fn fired(&mut self, event: EventType, path: &str) {
        match event {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.data.remove(path);
                self.exist.remove(path);
            }
            EventType::NodeDeleted => {
                self.data.remove(path);
                self.exist.remove(path);
                self.child.remove(path);
            }
            EventType::NodeChildrenChanged => {
                self.child.remove(path);
            }
        }
    }

    fn answered(&mut self, asked: &Asked, err: ErrorCode) {
        let ok = err.is_ok();
        let _ = match asked {
            Asked::GetData(path, true) | Asked::Exists(path, true) if ok => {
                self.data.insert(path.clone())
            }
            Asked::Exists(path, true) if err == ErrorCode::NO_NODE => {
                self.exist.insert(path.clone())
            }
            Asked::GetChildren(path, true) | Asked::GetChildren2(path, true) if ok => {
                self.child.insert(path.clone())
            }
            Asked::AddWatch(path, false) if ok => self.persistent.insert(path.clone()),
            Asked::AddWatch(path, true) if ok => self.recursive.insert(path.clone()),
            Asked::RemoveWatches(path) if ok => {
                let Watching { data, exist, child, persistent, recursive } = self;
                [data, exist, child, persistent, recursive]
                    .map(|set| set.remove(path))
                    .contains(&true)
            }
            _ => false,
        };
    }
}

/// Requests of one client under way at most.
const WINDOW: usize = 12;

impl Client {
    /// A client that has not dialled yet.
    pub fn new(id: usize, servers: usize, seed: u64, pace_ms: u64) -> Client {
        let mut dice = Dice::fork(seed, &format!("client {id}"));
        let timeout_ms = 1000 * dice.between(1, 6) as i32;
        Client {
            id,
            servers,
            protocol: Plain::default(),
            dice,
            link: None,
            session: SessionId::NONE,
            timeout_ms,
            pace_ms,
            seen: Zxid::ZERO,
            xid: 0,
            pending: VecDeque::new(),
            watches: Watching::default(),
            silent_until: 0,
            gone: false,
            looked: false,
        }
    }

    /// Its time has come to do something.
    pub fn turn(&mut self, ground: &mut Ground, phase: Phase) {
        let now = ground.agenda.now();
        if self.gone {
            return;
        }
        if now < self.silent_until {
            return ground.agenda.plan_at(self.silent_until, Event::Client(self.id));
        }
        match self.link {
            None => self.dial(ground),
            Some(link) if !link.ready => {
                if now - link.heard > self.patience() {
                    self.hang_up(ground);
                }
            }
            Some(link) if now - link.heard > self.patience() => self.hang_up(ground),
            Some(_) if phase == Phase::Storm => self.work(ground),
            Some(_) => self.look(ground),
        }
        if let Some(link) = self.link
            && link.ready
            && now - link.sent > self.timeout_us() / 4
        {
            self.ask(ground, Asked::Ping);
        }
        let pause = match self.dice.below(10) {
            0 => self.dice.between(50, self.timeout_ms as u64 / 5) * MS,
            _ => self.dice.between(1, self.pace_ms) * MS,
        };
        ground.agenda.plan(pause, Event::Client(self.id));
    }

    /// Something has arrived on one of its wires.
    pub fn arrival(&mut self, ground: &mut Ground, wire: WireId, delivery: Delivery) {
        let Some(link) = &mut self.link else { return };
        if link.wire != wire || self.gone {
            return;
        }
        let now = ground.agenda.now();
        match delivery {
            Delivery::Opened => {}
            Delivery::Closed => {
                ground.note(format_args!("client {} lost its connection", self.id));
                self.forget_link();
            }
            Delivery::Bytes(bytes) => {
                link.heard = now;
                for said in self.protocol.receive(&bytes) {
                    self.said(ground, said);
                }
            }
        }
    }

    /// Ends for good: its session is left to expire.
    pub fn die(&mut self, ground: &mut Ground) {
        ground.note(format_args!("client {} is gone for good", self.id));
        self.hang_up(ground);
        self.gone = true;
    }

    /// Marks what is still good at the end, and says what should be and is not.
    pub fn finish(&self, ground: &mut Ground) {
        if self.gone {
            return;
        }
        let long_ago = ground.agenda.now() - SECOND;
        let waits = |number: &usize| ground.history.ops[*number].sent < long_ago;
        match self.link {
            Some(link) if link.ready && self.looked && !self.pending.iter().any(waits) => {
                ground.history.conns[link.conn].open = true;
            }
            _ => {
                let (id, pending) = (self.id, self.pending.len());
                let state = format!("client {id} has {:?}, {pending} requests wait", self.link);
                ground.history.unfinished.push(state);
            }
        }
    }

    fn timeout_us(&self) -> Micros {
        self.timeout_ms as u64 * MS
    }

    fn patience(&self) -> Micros {
        self.timeout_us() * 2 / 3
    }

    fn dial(&mut self, ground: &mut Ground) {
        let server = self.dice.below(self.servers as u64) as usize;
        let Ground { agenda, net, history, .. } = ground;
        let wire = net.dial(agenda, Party::Client(self.id), Party::Server(server));
        let now = agenda.now();
        let conn = history.conns.len();
        history.dialled(self.id, server, self.session, wire);
        self.link = Some(Link { wire, conn, ready: false, heard: now, sent: now });
        let hello = self.protocol.hello(self.session, self.timeout_ms, self.seen);
        net.send(agenda, wire, End::Dialler, &hello);
        let (id, session) = (self.id, self.session);
        ground.note(format_args!("client {id} dials server {server} for {session}, conn {conn}"));
    }

    /// Gives its connection up; the server hears of it in one way or another.
    fn hang_up(&mut self, ground: &mut Ground) {
        let Some(link) = self.link else { return };
        match self.dice.below(3) {
            // The client just stops looking at it. The server may read on for a while.
            0 => {}
            1 => ground.net.break_wire(&mut ground.agenda, link.wire),
            _ => ground.net.close(&mut ground.agenda, link.wire, End::Dialler),
        }
        self.forget_link();
    }

    fn forget_link(&mut self) {
        self.link = None;
        self.pending.clear();
    }

    fn ask(&mut self, ground: &mut Ground, asked: Asked) {
        let Some(link) = &mut self.link else { return };
        let xid = match asked {
            Asked::Ping => xid::PING,
            Asked::SetWatches(_) => xid::SET_WATCHES,
            _ => {
                self.xid += 1;
                self.xid
            }
        };
        let bytes = self.protocol.request(xid, &asked);
        let Ground { agenda, net, .. } = ground;
        net.send(agenda, link.wire, End::Dialler, &bytes);
        link.sent = agenda.now();
        let number = ground.history.ops.len();
        ground.note(format_args!("client {} asks {xid} {asked:?}, op {number}", self.id));
        let (conn, session, sent) = (link.conn, self.session, ground.agenda.now());
        ground.history.ops.push(Op { conn, session, xid, asked, sent, reply: None });
        self.pending.push_back(number);
    }

    fn said(&mut self, ground: &mut Ground, said: Said) {
        let Some(link) = &mut self.link else { return };
        let (conn, now) = (link.conn, ground.agenda.now());
        match said {
            Said::Session { session, timeout_ms } => {
                link.ready = true;
                self.session = session;
                self.timeout_ms = timeout_ms;
                ground.history.conns[conn].session = session;
                ground.history.heard(now, conn, Heard::Session { timeout_ms });
                ground.note(format_args!("client {} has {session}, {timeout_ms} ms", self.id));
                let again = self.watches.again(self.seen);
                if !again.is_empty() {
                    self.ask(ground, Asked::SetWatches(again));
                }
            }
            Said::Expired => {
                ground.note(format_args!("client {} has lost {}", self.id, self.session));
                self.hang_up(ground);
                self.begin_anew();
            }
            Said::Reply { xid, zxid, err, body } => self.answered(ground, xid, zxid, err, body),
            Said::Event { zxid, event, path } => {
                ground.note(format_args!("client {} hears {event:?} {path} {zxid}", self.id));
                self.watches.fired(event, &path);
                ground.history.heard(now, conn, Heard::Event { zxid, event, path });
            }
            Said::Garbage => ground.history.heard(now, conn, Heard::Stray { xid: i32::MIN }),
        }
    }

    fn answered(
        &mut self,
        ground: &mut Ground,
        xid: i32,
        zxid: Zxid,
        err: ErrorCode,
        body: Vec<u8>,
    ) {
        let Some(link) = self.link else { return };
        let at = ground.agenda.now();
        let first = self.pending.front().copied();
        let Some(number) = first.filter(|number| ground.history.ops[*number].xid == xid) else {
            return ground.history.heard(at, link.conn, Heard::Stray { xid });
        };
        self.pending.pop_front();
        self.seen = self.seen.max(zxid);
        ground.note(format_args!("client {} gets op {number}: {err} {zxid}", self.id));
        ground.history.heard(at, link.conn, Heard::Reply(number));
        let op = &mut ground.history.ops[number];
        self.watches.answered(&op.asked, err);
        let closed = op.asked == Asked::Close;
        op.reply = Some(Reply { at, zxid, err, body });
        if closed {
            self.hang_up(ground);
            self.begin_anew();
        }
    }

    fn begin_anew(&mut self) {
        self.session = SessionId::NONE;
        self.seen = Zxid::ZERO;
        self.watches = Watching::default();
    }

    /// Does something of what a client does.
    fn work(&mut self, ground: &mut Ground) {
        match self.dice.below(200) {
            0 => self.ask(ground, Asked::Close),
            // Moves its session: the old connection may not have noticed when the new one opens.
            1..4 => {
                self.hang_up(ground);
                self.dial(ground);
            }
            4 => self.hang_up(ground),
            5 => {
                let long = self.dice.between(1, 4) * self.timeout_us() / 2;
                ground.note(format_args!("client {} falls silent for {long} us", self.id));
                self.silent_until = ground.agenda.now() + long;
            }
            _ => {
                for _ in 0..self.dice.between(1, 4) {
                    if self.pending.len() < WINDOW {
                        let asked = draw(&mut self.dice);
                        self.ask(ground, asked);
                    }
                }
            }
        }
    }

    /// Looks at everything once more.
    fn look(&mut self, ground: &mut Ground) {
        if !self.pending.is_empty() || self.looked {
            return;
        }
        self.ask(ground, Asked::Sync("/".into()));
        for path in PLACES {
            self.ask(ground, Asked::GetChildren2(path.into(), false));
            self.ask(ground, Asked::GetData(path.into(), false));
        }
        self.ask(ground, Asked::GetEphemerals);
        self.looked = true;
    }

    /// Looks once more when asked next, even if it has looked already.
    pub fn look_again(&mut self) {
        self.looked = false;
    }
}

/// Where things happen. Few places, so that clients meet.
const PLACES: [&str; 9] =
    ["/", "/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/1", "/queue", "/queue/deep"];

fn place(dice: &mut Dice) -> String {
    // Not the root, which is special in more ways than this is about.
    (*dice.pick(&PLACES[1..])).to_owned()
}

/// What clients ask, by chance.
fn draw(dice: &mut Dice) -> Asked {
    let watch = dice.one_in(3);
    match dice.below(100) {
        0..26 => Asked::Edit(Edit::Create(draw_create(dice))),
        26..38 => Asked::Edit(draw_set(dice)),
        38..50 => Asked::Edit(draw_delete(dice)),
        50..52 => Asked::SetAcl(place(dice), version(dice)),
        52..60 => {
            let count = dice.between(1, 4);
            Asked::Multi((0..count).map(|_| draw_edit(dice)).collect())
        }
        60..70 => Asked::GetData(place(dice), watch),
        70..76 => Asked::Exists(place(dice), watch),
        76..80 => Asked::GetChildren((*dice.pick(&PLACES)).into(), watch),
        80..84 => Asked::GetChildren2((*dice.pick(&PLACES)).into(), watch),
        84 => Asked::GetAcl(place(dice)),
        85 => Asked::GetEphemerals,
        86 => Asked::GetAllChildrenNumber((*dice.pick(&PLACES)).into()),
        87..90 => {
            let count = dice.between(0, 3);
            Asked::MultiRead((0..count).map(|_| (place(dice), dice.one_in(2))).collect())
        }
        90..93 => Asked::AddWatch((*dice.pick(&PLACES)).into(), dice.one_in(2)),
        93..95 => Asked::RemoveWatches((*dice.pick(&PLACES)).into()),
        _ => Asked::Sync("/".into()),
    }
}

fn version(dice: &mut Dice) -> i32 {
    *dice.pick(&[-1, -1, -1, 0, 1, 2])
}

fn data(dice: &mut Dice) -> Option<Vec<u8>> {
    let len = *dice.pick(&[0, 1, 8, 30, 400]);
    let fill = b'a' + dice.below(26) as u8;
    (!dice.one_in(9)).then(|| vec![fill; len])
}

fn draw_set(dice: &mut Dice) -> Edit {
    Edit::SetData(place(dice), data(dice), version(dice))
}

fn draw_delete(dice: &mut Dice) -> Edit {
    let mut path = place(dice);
    if dice.one_in(3) {
        // One of a sequence, if it is there.
        path = format!("/queue/n-{:010}", dice.below(40));
    }
    Edit::Delete(path, version(dice))
}

fn draw_edit(dice: &mut Dice) -> Edit {
    match dice.below(4) {
        0 => draw_set(dice),
        1 => draw_delete(dice),
        2 => Edit::Check(place(dice), version(dice)),
        _ => {
            let mut create = draw_create(dice);
            // The kinds that any client may put into a multi.
            if create.op != OpCode::CREATE && create.op != OpCode::CREATE2 {
                (create.op, create.mode, create.ttl_ms) =
                    (OpCode::CREATE2, CreateMode::Persistent, -1);
            }
            Edit::Create(create)
        }
    }
}

fn draw_create(dice: &mut Dice) -> Create {
    let (op, mode, ttl_ms) = *dice.pick(&[
        (OpCode::CREATE, CreateMode::Persistent, -1),
        (OpCode::CREATE, CreateMode::Persistent, -1),
        (OpCode::CREATE2, CreateMode::Persistent, -1),
        (OpCode::CREATE, CreateMode::Ephemeral, -1),
        (OpCode::CREATE2, CreateMode::Ephemeral, -1),
        (OpCode::CREATE, CreateMode::PersistentSequential, -1),
        (OpCode::CREATE2, CreateMode::EphemeralSequential, -1),
        (OpCode::CREATE, CreateMode::EphemeralSequential, -1),
        (OpCode::CREATE_CONTAINER, CreateMode::Container, -1),
        (OpCode::CREATE_TTL, CreateMode::PersistentTtl, 2500),
        (OpCode::CREATE_TTL, CreateMode::PersistentSequentialTtl, 1500),
    ]);
    let path = match mode.is_sequential() {
        true => (*dice.pick(&["/queue/n-", "/queue/n-", "/queue/m-", "/a/s-"])).to_owned(),
        false => place(dice),
    };
    Create { op, mode, path, data: data(dice), ttl_ms }
}
