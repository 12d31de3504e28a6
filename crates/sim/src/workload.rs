//! Clients: what they do, and what is noted of what they see.
//!
//! Every client has a session at a time and works on a handful of paths that all of them share, so
//! that they get into each other's way: creates of every kind, writes with versions right and
//! wrong, multis, reads of every kind, watches of every kind. It loses its connection, moves its
//! session to another one (perhaps before the old one has noticed), closes it, or falls silent
//! until it expires.
//!
//! The client itself is the one that ships, `client::core`: it dials, keeps the session and its
//! watches, and says what became of each request. Here it is given something to do and its bytes
//! are carried. The history is taken from these bytes (`Tap`), not from what the client makes of
//! them; what it makes of them is held against the history by an invariant of its own.

use std::collections::{BTreeMap, VecDeque};

use oxkeeper_client::core::{
    Call, Client as Core, Config, ConnectString, Effect, Input, LinkId, Outcome, State, Ticket,
    Watcher,
};
use oxkeeper_proto::connect::{ConnectRequest, ConnectResponse, split_frame};
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::response::{ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{CreateMode, OpCode, Reader, Request, SessionId};

use crate::agenda::{Event, MS, Micros, SECOND};
use crate::asked::{Asked, Create, Edit};
use crate::dice::Dice;
use crate::history::{Fate, Heard, Op, Reply};
use crate::net::{Delivery, End, Party, WireId};
use crate::world::Ground;

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
    dice: Dice,
    core: Core,
    timeout_ms: i32,
    /// How long it pauses between two things it does, ms.
    pace_ms: u64,
    /// Its connections, also those it no longer looks at.
    taps: BTreeMap<LinkId, Tap>,
    /// Requests that were given to the core and have not left it, in order.
    given: VecDeque<Given>,
    /// Requests that have left, by their tickets: their numbers in the history.
    left: BTreeMap<Ticket, usize>,
    /// Does nothing before then.
    silent_until: Micros,
    gone: bool,
    looked: bool,
}

#[derive(Debug)]
struct Given {
    ticket: Ticket,
    asked: Asked,
}

/// Both directions of one connection, read at the client's end.
#[derive(Debug)]
struct Tap {
    wire: WireId,
    conn: usize,
    open: bool,
    greeted: bool,
    session: SessionId,
    /// Bytes that came in and are no whole frame yet.
    inbox: Vec<u8>,
    /// Requests without an answer, by their numbers in the history.
    pending: VecDeque<usize>,
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
            core: core(servers, timeout_ms, dice.draw()),
            dice,
            timeout_ms,
            pace_ms,
            taps: BTreeMap::new(),
            given: VecDeque::new(),
            left: BTreeMap::new(),
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
        self.tell(ground, Input::Wake);
        match phase {
            Phase::Storm => self.work(ground),
            Phase::Calm => self.look(ground),
        }
        let pause = match self.dice.below(10) {
            0 => self.dice.between(50, self.timeout_ms as u64 / 5) * MS,
            _ => self.dice.between(1, self.pace_ms) * MS,
        };
        let deadline = self.core.deadline_us().unwrap_or(u64::MAX).max(now + MS);
        ground.agenda.plan_at(deadline.min(now + pause), Event::Client(self.id));
    }

    /// Something has arrived on one of its wires.
    pub fn arrival(&mut self, ground: &mut Ground, wire: WireId, delivery: Delivery) {
        if self.gone {
            return;
        }
        let Some((&link, tap)) = self.taps.iter_mut().find(|(_, tap)| tap.wire == wire) else {
            return;
        };
        match delivery {
            Delivery::Opened | Delivery::Accepted => {}
            Delivery::Closed if tap.open => {
                tap.open = false;
                ground.note(format_args!("client {} lost conn {}", self.id, tap.conn));
                self.tell(ground, Input::Disconnected(link));
            }
            Delivery::Bytes(bytes) if tap.open => {
                tap.came(ground, self.id, &bytes);
                self.tell(ground, Input::Bytes(link, &bytes));
            }
            Delivery::Closed | Delivery::Bytes(_) => {}
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
        let tap = self.taps.values().find(|tap| tap.open && tap.greeted);
        match (tap, self.core.state()) {
            (Some(tap), State::Connected { .. })
                if self.looked && self.given.is_empty() && !tap.pending.iter().any(waits) =>
            {
                ground.history.conns[tap.conn].open = true;
            }
            (_, state) => {
                let (id, given) = (self.id, self.given.len());
                let what = format!("client {id} is {state:?}, {given} requests have not left");
                ground.history.unfinished.push(what);
            }
        }
    }

    /// Gives the core an input and carries out what it wants.
    fn tell(&mut self, ground: &mut Ground, input: Input<'_>) {
        self.core.handle(ground.agenda.now(), input);
        self.effects(ground);
    }

    fn effects(&mut self, ground: &mut Ground) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Dial(link, host) => {
                    let server = host.name.strip_prefix("server-").and_then(|n| n.parse().ok());
                    self.dial(ground, link, server.unwrap_or_default());
                    // What connecting takes is part of what the first bytes take.
                    self.core.handle(ground.agenda.now(), Input::Connected(link));
                }
                Effect::Probe(link, _) => {
                    self.core.handle(ground.agenda.now(), Input::Probed(link, true));
                }
                Effect::Send(link, bytes) => self.send(ground, link, &bytes),
                Effect::Close(link, cause) => {
                    ground.note(format_args!("client {} leaves: {cause:?}", self.id));
                    self.leave(ground, link);
                }
                Effect::Completed(ticket, outcome) => self.completed(ground, ticket, &outcome),
                Effect::Event(..) => {}
                Effect::State(state) => {
                    ground.note(format_args!("client {} is {state:?}", self.id));
                }
            }
        }
        if matches!(self.core.state(), State::Expired | State::Closed { .. }) {
            self.begin_anew(ground);
        }
    }

    /// One session per core: the next one takes another.
    fn begin_anew(&mut self, ground: &mut Ground) {
        self.hang_up(ground);
        let never_ended = self.given.drain(..).map(|given| format!("{given:?} was never told"));
        let never_answered = std::mem::take(&mut self.left).into_values();
        let never_answered = never_answered.map(|op| format!("the end of op {op} was never told"));
        ground.history.untold.extend(never_ended.chain(never_answered));
        self.core = core(self.servers, self.timeout_ms, self.dice.draw());
        // Its links are counted from the first again.
        self.taps.clear();
    }

    fn dial(&mut self, ground: &mut Ground, link: LinkId, server: usize) {
        let Ground { agenda, net, history, .. } = ground;
        let wire = net.dial(agenda, Party::Client(self.id), Party::Server(server));
        let conn = history.conns.len();
        history.dialled(self.id, server, SessionId::NONE, wire);
        ground.note(format_args!("client {} dials server {server}, conn {conn}", self.id));
        let session = SessionId::NONE;
        let (inbox, pending) = (Vec::new(), VecDeque::new());
        self.taps
            .insert(link, Tap { wire, conn, open: true, greeted: false, session, inbox, pending });
    }

    fn send(&mut self, ground: &mut Ground, link: LinkId, bytes: &[u8]) {
        let Some(tap) = self.taps.get_mut(&link).filter(|tap| tap.open) else { return };
        ground.net.send(&mut ground.agenda, tap.wire, End::Dialler, bytes);
        let mut rest = bytes;
        // A core hands out whole frames.
        while let Ok(Some((frame, after))) = split_frame(rest, usize::MAX) {
            rest = after;
            if tap.session == SessionId::NONE && !tap.greeted {
                let hello = ConnectRequest::decode(&mut Reader::new(frame));
                let session = hello.map_or(SessionId::NONE, |hello| hello.session);
                ground.history.conns[tap.conn].session = session;
                ground.note(format_args!("conn {} asks for {session}", tap.conn));
                continue;
            }
            let mut reader = Reader::new(frame);
            let header = RequestHeader::decode(&mut reader).expect("a client sends requests");
            let asked = Asked::decode(header.op, reader.rest()).expect("of the workload's");
            let number = ground.history.ops.len();
            let own = header.xid < 0 || asked == Asked::Close;
            if let Some(given) = if own { None } else { self.given.pop_front() } {
                if given.asked != asked {
                    let what = format!("{given:?} left as op {number}, {asked:?}");
                    ground.history.untold.push(what);
                }
                self.left.insert(given.ticket, number);
            }
            let xid = header.xid;
            ground.note(format_args!("client {} asks {xid} {asked:?}, op {number}", self.id));
            let (conn, session, sent) = (tap.conn, tap.session, ground.agenda.now());
            ground.history.ops.push(Op { conn, session, xid, asked, sent, reply: None });
            tap.pending.push_back(number);
        }
    }

    /// The core has said how a request ended: to be held against what was seen of it.
    fn completed(&mut self, ground: &mut Ground, ticket: Ticket, outcome: &Outcome) {
        let at = self.given.iter().position(|given| given.ticket == ticket);
        let unsent = at.and_then(|at| self.given.remove(at));
        let op = self.left.remove(&ticket);
        let fate = match outcome {
            Outcome::Done { zxid, .. } => Fate::Answered(*zxid),
            Outcome::Failed { zxid, .. } => Fate::Answered(*zxid),
            Outcome::Unknown(_) => Fate::Unknown,
            Outcome::NotSent(_) => Fate::NotSent,
        };
        match (op, unsent) {
            (Some(op), _) => ground.history.fates.push((op, fate)),
            (None, Some(_)) if fate == Fate::NotSent => {}
            (None, unsent) => {
                ground.history.untold.push(format!("{ticket:?} {unsent:?}: {fate:?}, never sent"));
            }
        }
    }

    /// Gives every connection up; servers hear of it in one way or another.
    fn hang_up(&mut self, ground: &mut Ground) {
        let open = self.taps.iter().filter(|(_, tap)| tap.open);
        let links: Vec<LinkId> = open.map(|(link, _)| *link).collect();
        for link in links {
            self.leave(ground, link);
            self.core.handle(ground.agenda.now(), Input::Disconnected(link));
        }
    }

    fn leave(&mut self, ground: &mut Ground, link: LinkId) {
        let Some(tap) = self.taps.get_mut(&link).filter(|tap| tap.open) else { return };
        tap.open = false;
        match self.dice.below(3) {
            // The client just stops looking at it. The server may read on for a while.
            0 => {}
            1 => ground.net.break_wire(&mut ground.agenda, tap.wire),
            _ => ground.net.close(&mut ground.agenda, tap.wire, End::Dialler),
        }
    }

    /// Asks something at once that its work would not come to.
    pub fn ask_now(&mut self, ground: &mut Ground, asked: Asked) {
        if !self.gone && self.core.pending() < WINDOW {
            self.ask(ground, asked);
            self.effects(ground);
        }
    }

    fn ask(&mut self, ground: &mut Ground, asked: Asked) {
        let mut body = Vec::new();
        asked.encode(&mut body);
        let request = Request::decode(asked.op(), &mut Reader::new(&body));
        let Ok(Some(request)) = request else { return };
        let call = match asked.watches() {
            true => Call::watched(request, Watcher(self.dice.below(4))),
            false => Call::from(request),
        };
        // What it refuses to take did not happen: it is too much at once, or the session is over.
        if let Ok(ticket) = self.core.submit(ground.agenda.now(), call) {
            self.given.push_back(Given { ticket, asked });
        }
    }

    /// Does something of what a client does.
    fn work(&mut self, ground: &mut Ground) {
        let connected = matches!(self.core.state(), State::Connected { .. });
        match self.dice.below(200) {
            0 if connected => self.tell(ground, Input::Close),
            // Moves its session: the old connection may not have noticed when the new one opens.
            1..5 => {
                self.hang_up(ground);
                self.effects(ground);
            }
            5 => {
                let long = self.dice.between(1, 4) * self.timeout_ms as u64 * MS / 2;
                ground.note(format_args!("client {} falls silent for {long} us", self.id));
                self.silent_until = ground.agenda.now() + long;
            }
            _ => {
                for _ in 0..self.dice.between(1, 4) {
                    if self.core.pending() < WINDOW {
                        let asked = draw(&mut self.dice);
                        self.ask(ground, asked);
                    }
                }
                self.effects(ground);
            }
        }
    }

    /// Looks at everything once more.
    fn look(&mut self, ground: &mut Ground) {
        let connected = matches!(self.core.state(), State::Connected { .. });
        if !connected || self.core.pending() > 0 || self.looked {
            return;
        }
        self.ask(ground, Asked::Sync("/".into()));
        for path in PLACES {
            self.ask(ground, Asked::GetChildren2(path.into(), false));
            self.ask(ground, Asked::GetData(path.into(), false));
        }
        self.ask(ground, Asked::GetEphemerals);
        self.looked = true;
        self.effects(ground);
    }

    /// Looks once more when asked next, even if it has looked already.
    pub fn look_again(&mut self) {
        self.looked = false;
    }
}

impl Tap {
    /// Notes what came in, frame by frame.
    fn came(&mut self, ground: &mut Ground, client: usize, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Ok(Some((frame, after))) = split_frame(rest, usize::MAX) {
            rest = after;
            let (at, conn) = (ground.agenda.now(), self.conn);
            match self.frame(ground, client, frame) {
                Some(heard) => ground.history.heard(at, conn, heard),
                None => ground.history.heard(at, conn, Heard::Stray { xid: i32::MIN }),
            }
        }
        self.inbox = rest.to_vec();
    }

    fn frame(&mut self, ground: &mut Ground, client: usize, frame: &[u8]) -> Option<Heard> {
        let mut reader = Reader::new(frame);
        if !self.greeted {
            self.greeted = true;
            let response = ConnectResponse::decode(&mut reader).ok()?;
            let ConnectResponse { session, timeout_ms, .. } = response;
            ground.note(format_args!("client {client} has {session}, {timeout_ms} ms"));
            if session == SessionId::NONE {
                return Some(Heard::Refused);
            }
            self.session = session;
            ground.history.conns[self.conn].session = session;
            return Some(Heard::Session { timeout_ms });
        }
        let ReplyHeader { xid, zxid, err } = ReplyHeader::decode(&mut reader).ok()?;
        if xid == xid::NOTIFICATION {
            let WatcherEvent { event, path } = WatcherEvent::decode(&mut reader).ok()?;
            ground.note(format_args!("client {client} hears {event:?} {path} {zxid}"));
            return Some(Heard::Event { zxid, event, path: path.into_owned() });
        }
        let first = self.pending.front().copied();
        let Some(number) = first.filter(|number| ground.history.ops[*number].xid == xid) else {
            return Some(Heard::Stray { xid });
        };
        self.pending.pop_front();
        ground.note(format_args!("client {client} gets op {number}: {err} {zxid}"));
        let (at, body) = (ground.agenda.now(), reader.rest().to_vec());
        ground.history.ops[number].reply = Some(Reply { at, zxid, err, body });
        Some(Heard::Reply(number))
    }
}

/// A client of all servers.
fn core(servers: usize, timeout_ms: i32, seed: u64) -> Core {
    let hosts: Vec<String> = (0..servers).map(|server| format!("server-{server}")).collect();
    let connect = ConnectString::parse(&hosts.join(",")).expect("names of hosts");
    Core::new(Config { session_timeout_ms: timeout_ms, ..Config::new(connect) }, seed)
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
