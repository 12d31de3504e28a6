//! Clients and a whole server in one value: bytes are carried by hand, and so is time.
//!
//! The server is the product's own `Core` and `Front`. Its disk is as fast as a call, unless a test
//! holds it. A connection can be cut after any number of bytes in either direction: what came
//! through has come through, and neither side learns what the other had got.

use std::collections::BTreeMap;
use std::sync::Arc;

use oxkeeper_client::core::{
    Answer, Call, Client, Config, ConnectString, Effect, Host, Input, LinkId, Outcome, State,
    Ticket, WatchEvent, Watcher,
};
use oxkeeper_node::{
    Batch, Committed, ConnId, Core, CoreLink, Effect as ServerEffect, Front, FrontId, Now, Peer,
    Settings, Shared, ToCore,
};
use oxkeeper_proto::request::{CreateRequest, PathKind, PathVersion, PathWatch, SetDataRequest};
use oxkeeper_proto::{OPEN_ACL_UNSAFE, OpCode, Request};
use oxkeeper_tree::{Tree, TreeOptions};

/// What a client's user sees, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Done(Ticket, Outcome),
    Event(Watcher, WatchEvent),
    State(State),
}

/// One connection between a client and the server.
struct Pipe {
    link: LinkId,
    conn: ConnId,
    /// What the server has not taken yet.
    to_server: Vec<u8>,
    up_left: usize,
    down_left: usize,
}

pub struct Seat {
    pub client: Client,
    pipe: Option<Pipe>,
    pub seen: Vec<Seen>,
    pub dialed: Vec<Host>,
    pub probed: Vec<(LinkId, Host)>,
    /// For the next connections: bytes that come through, to the server and back.
    pub cuts: Vec<(usize, usize)>,
    /// Dials that nothing answers.
    hanging: Vec<LinkId>,
    /// Bytes carried at a time to the client.
    pub chunk: usize,
}

/// What listens where clients dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Up,
    /// Dials are refused at once.
    Refusing,
    /// Nothing ever comes back, from dials and on connections.
    Silent,
}

pub struct World {
    shared: Shared,
    core: Core,
    front: Front,
    now: Now,
    unsynced: Vec<Batch>,
    pub network: Network,
    pub disk_holds: bool,
    pub seats: BTreeMap<usize, Seat>,
}

struct Link<'a> {
    core: &'a mut Core,
    shared: &'a Shared,
}

impl CoreLink for Link<'_> {
    fn submit(&mut self, now: Now, front: FrontId, message: ToCore<'_>) {
        self.core.submit(self.shared, now, front, message);
    }
}

impl World {
    pub fn new() -> World {
        let now = Now { mono_us: 60_000_000, wall_ms: 1_700_000_000_000 };
        let tree = Tree::new(TreeOptions::default());
        let shared = Shared { tree, serving: true, read_only: false };
        let settings = Arc::new(Settings::default());
        let core = Core::new(Arc::clone(&settings), &shared, now);
        let front = Front::new(FrontId(0), settings);
        let (network, seats) = (Network::Up, BTreeMap::new());
        World { shared, core, front, now, unsynced: Vec::new(), network, disk_holds: false, seats }
    }

    pub fn now_us(&self) -> u64 {
        self.now.mono_us
    }

    pub fn tree(&self) -> &Tree {
        &self.shared.tree
    }

    /// Watches that the server holds armed, of all kinds.
    pub fn server_watches(&mut self) -> usize {
        while self.front.sweep() {}
        let counts = self.front.watches().counts();
        counts.data + counts.child
    }

    /// Seats a client that has not begun.
    pub fn seat(&mut self, config: Config) -> usize {
        let at = self.seats.len();
        self.seats.insert(
            at,
            Seat {
                client: Client::new(config, at as u64),
                pipe: None,
                seen: Vec::new(),
                dialed: Vec::new(),
                probed: Vec::new(),
                cuts: Vec::new(),
                hanging: Vec::new(),
                chunk: usize::MAX,
            },
        );
        at
    }

    /// A client with a session.
    pub fn connect(&mut self, connect: &str, timeout_ms: i32) -> usize {
        let mut config = config(connect);
        config.session_timeout_ms = timeout_ms;
        let at = self.seat(config);
        self.input(at, Input::Wake);
        assert!(matches!(self.take(at)[..], [Seen::State(State::Connected { .. })]));
        at
    }

    pub fn client(&mut self, at: usize) -> &mut Seat {
        self.seats.get_mut(&at).expect("a seat")
    }

    pub fn input(&mut self, at: usize, input: Input<'_>) {
        let now_us = self.now.mono_us;
        self.client(at).client.handle(now_us, input);
        self.settle();
    }

    /// Submits without carrying a byte.
    pub fn submit<'a>(&mut self, at: usize, call: impl Into<Call<'a>>) -> Ticket {
        let now_us = self.now.mono_us;
        self.client(at).client.submit(now_us, call.into()).expect("a request that can be sent")
    }

    /// Submits, carries everything, and returns the outcome.
    pub fn ask<'a>(&mut self, at: usize, call: impl Into<Call<'a>>) -> Outcome {
        let ticket = self.submit(at, call);
        self.settle();
        let seen = &mut self.client(at).seen;
        let place = seen.iter().position(|seen| matches!(seen, Seen::Done(t, _) if *t == ticket));
        match seen.remove(place.expect("an outcome")) {
            Seen::Done(_, outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// The same, for what must succeed.
    pub fn done<'a>(&mut self, at: usize, call: impl Into<Call<'a>>) -> Answer {
        match self.ask(at, call) {
            Outcome::Done { answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Everything seen since the last call.
    pub fn take(&mut self, at: usize) -> Vec<Seen> {
        std::mem::take(&mut self.client(at).seen)
    }

    /// The events among it.
    pub fn events(&mut self, at: usize) -> Vec<(Watcher, WatchEvent)> {
        let seen = self.take(at).into_iter();
        seen.filter_map(|seen| match seen {
            Seen::Event(watcher, event) => Some((watcher, event)),
            Seen::Done(..) | Seen::State(_) => None,
        })
        .collect()
    }

    /// Cuts a client's connection now.
    pub fn cut(&mut self, at: usize) {
        self.hang_up(at, true);
        self.settle();
    }

    /// No cut any more for the connection that a client has.
    pub fn heal(&mut self, at: usize) {
        if let Some(pipe) = &mut self.client(at).pipe {
            (pipe.up_left, pipe.down_left) = (usize::MAX, usize::MAX);
        }
    }

    pub fn is_connected(&self, at: usize) -> bool {
        self.seats[&at].pipe.is_some()
    }

    /// Lets time pass, stopping wherever something is due.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono_us + ms * 1000;
        loop {
            let clients = self.seats.values().filter_map(|seat| seat.client.deadline_us());
            let due = clients.chain(self.core.deadline_us()).min().unwrap_or(end);
            let to = due.clamp(self.now.mono_us, end);
            self.now.wall_ms += ((to - self.now.mono_us) / 1000) as i64;
            self.now.mono_us = to;
            self.core.wake(&self.shared, self.now);
            for seat in self.seats.values_mut() {
                if seat.client.deadline_us().is_some_and(|deadline| deadline <= to) {
                    seat.client.handle(to, Input::Wake);
                    let next = seat.client.deadline_us();
                    assert!(next.is_none_or(|next| next > to), "a deadline that does not move");
                }
            }
            self.settle();
            if to == end {
                return;
            }
        }
    }

    /// Carries everything that can be carried.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for at in 0..self.seats.len() {
                while let Some(effect) = self.client(at).client.poll_effect() {
                    moved = true;
                    self.effect(at, effect);
                }
                moved |= self.carry_up(at);
            }
            moved |= self.server();
            for at in 0..self.seats.len() {
                moved |= self.carry_down(at);
            }
            if !moved {
                return;
            }
        }
    }

    fn effect(&mut self, at: usize, effect: Effect) {
        let network = self.network;
        match effect {
            Effect::Dial(link, host) => {
                self.client(at).dialed.push(host);
                match network {
                    Network::Up => self.accept(at, link),
                    Network::Refusing => {
                        let now_us = self.now.mono_us;
                        self.client(at).client.handle(now_us, Input::Disconnected(link));
                    }
                    Network::Silent => self.client(at).hanging.push(link),
                }
            }
            Effect::Probe(link, host) => self.client(at).probed.push((link, host)),
            Effect::Send(link, bytes) => {
                let pipe = self.client(at).pipe.as_mut().expect("a connection to send on");
                assert_eq!(pipe.link, link);
                pipe.to_server.extend(bytes);
            }
            Effect::Close(link, _) => {
                let seat = self.client(at);
                seat.hanging.retain(|hanging| *hanging != link);
                if seat.pipe.as_ref().is_some_and(|pipe| pipe.link == link) {
                    self.hang_up(at, false);
                }
            }
            Effect::Completed(ticket, outcome) => {
                let seen = &mut self.client(at).seen;
                let twice = seen.iter().any(|s| matches!(s, Seen::Done(t, _) if *t == ticket));
                assert!(!twice, "{ticket:?} completed twice");
                seen.push(Seen::Done(ticket, outcome));
            }
            Effect::Event(watcher, event) => self.client(at).seen.push(Seen::Event(watcher, event)),
            Effect::State(state) => self.client(at).seen.push(Seen::State(state)),
        }
    }

    fn accept(&mut self, at: usize, link: LinkId) {
        let addr = "127.0.0.1:40000".parse().expect("an address");
        let conn = self.front.open(self.now, Peer { addr });
        let now_us = self.now.mono_us;
        let seat = self.client(at);
        let (up_left, down_left) = seat.cuts.pop().unwrap_or((usize::MAX, usize::MAX));
        seat.pipe = Some(Pipe { link, conn, to_server: Vec::new(), up_left, down_left });
        seat.client.handle(now_us, Input::Connected(link));
    }

    /// Ends a connection for the server, and for the client unless it ended it itself.
    fn hang_up(&mut self, at: usize, tell: bool) {
        let Some(pipe) = self.client(at).pipe.take() else { return };
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        self.front.closed(self.now, pipe.conn, &mut link);
        if tell {
            let now_us = self.now.mono_us;
            self.client(at).client.handle(now_us, Input::Disconnected(pipe.link));
        }
    }

    fn carry_up(&mut self, at: usize) -> bool {
        if self.network == Network::Silent {
            return false;
        }
        let seat = self.seats.get_mut(&at).expect("a seat");
        let Some(pipe) = &mut seat.pipe else { return false };
        if pipe.to_server.is_empty() || !self.front.state(pipe.conn).wants_input {
            return false;
        }
        let len = pipe.to_server.len().min(pipe.up_left);
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        let bytes = &pipe.to_server[..len];
        let used = self.front.receive(&self.shared, self.now, pipe.conn, bytes, &mut link);
        pipe.to_server.drain(..used);
        pipe.up_left = pipe.up_left.saturating_sub(used);
        // The rest of a frame that will never be whole does not keep a connection up.
        if len < pipe.to_server.len() + used && (used == 0 || pipe.up_left == 0) {
            self.server();
            self.hang_up(at, true);
            return true;
        }
        used > 0
    }

    fn carry_down(&mut self, at: usize) -> bool {
        if self.network == Network::Silent {
            return false;
        }
        let now_us = self.now.mono_us;
        let seat = self.seats.get_mut(&at).expect("a seat");
        let Some(pipe) = &mut seat.pipe else { return false };
        let state = self.front.state(pipe.conn);
        if state.close_now {
            self.hang_up(at, true);
            return true;
        }
        let out = self.front.output(pipe.conn);
        let whole = out.len() <= pipe.down_left;
        let bytes = out[..out.len().min(pipe.down_left)].to_vec();
        self.front.sent(pipe.conn, bytes.len());
        pipe.down_left -= bytes.len();
        let link = pipe.link;
        for chunk in bytes.chunks(seat.chunk) {
            seat.client.handle(now_us, Input::Bytes(link, chunk));
        }
        let closed = state.close_after_output && self.seats[&at].pipe.is_some();
        if !whole || closed {
            self.hang_up(at, true);
        }
        !bytes.is_empty() || !whole || closed
    }

    /// The server's turn. True if anything happened.
    fn server(&mut self) -> bool {
        let mut moved = false;
        loop {
            self.server_effects();
            if self.disk_holds {
                return moved;
            }
            if let Some(last) = self.unsynced.drain(..).next_back() {
                self.core.synced(last.last_zxid);
            }
            let mut out = Committed::default();
            let mut applied = false;
            while self.core.apply_next(&mut self.shared, self.now, &mut out) {
                applied = true;
                let mut link = Link { core: &mut self.core, shared: &self.shared };
                self.front.committed(&self.shared, self.now, &out, &mut link);
            }
            let mut link = Link { core: &mut self.core, shared: &self.shared };
            while self.front.work(&self.shared, self.now, &mut link) {}
            moved |= applied;
            if !applied && self.unsynced.is_empty() && !self.core.has_work() {
                return moved;
            }
        }
    }

    fn server_effects(&mut self) {
        self.core.end_turn(self.now);
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                ServerEffect::Append(batch) => self.unsynced.push(batch),
                ServerEffect::Tell(_, message) => {
                    let mut link = Link { core: &mut self.core, shared: &self.shared };
                    self.front.told(&self.shared, self.now, message, &mut link);
                    self.core.end_turn(self.now);
                }
                ServerEffect::SnapshotChunk(_) => self.core.snapshot_written(),
                ServerEffect::SnapshotEnd => self.core.snapshot_done(),
                // A server that is alone has neither.
                ServerEffect::SnapshotAbandon | ServerEffect::Peer(_) => {}
                ServerEffect::RollLog | ServerEffect::SnapshotBegin(_) => {}
            }
        }
    }
}

pub fn config(connect: &str) -> Config {
    Config::new(ConnectString::parse(connect).expect("a connect string"))
}

pub fn create<'a>(path: &'a str, flags: i32) -> Request<'a> {
    Request::Create(CreateRequest {
        op: OpCode::CREATE,
        path: path.into(),
        data: Some(b"0"),
        acl: OPEN_ACL_UNSAFE,
        flags,
        ttl_ms: -1,
    })
}

pub fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version: -1 })
}

pub fn get(path: &str) -> Request<'_> {
    Request::GetData(PathWatch { path: path.into(), watch: false })
}

pub fn exists(path: &str) -> Request<'_> {
    Request::Exists(PathWatch { path: path.into(), watch: false })
}

pub fn children(path: &str) -> Request<'_> {
    Request::GetChildren(PathWatch { path: path.into(), watch: false })
}

pub fn delete(path: &str) -> Request<'_> {
    Request::Delete(PathVersion { path: path.into(), version: -1 })
}

/// Mode 0 persistent, 1 recursive.
pub fn add_watch(path: &str, kind: i32) -> Request<'_> {
    Request::AddWatch(PathKind { path: path.into(), kind })
}

pub fn remove_watches(path: &str, kind: i32) -> Request<'_> {
    Request::RemoveWatches(PathKind { path: path.into(), kind })
}
