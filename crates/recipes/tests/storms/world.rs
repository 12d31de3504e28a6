//! The world that recipes live in: the simulator's servers, one alone or an ensemble, its network
//! and its time, and on top of it machines whose sessions are the product's own client core.
//!
//! A seed gives the same run every time. What a machine has cannot be looked at by another. The
//! test looks at the *truth*: the tree as of the last transaction that any server has applied while
//! it served, which is committed then. That is how it knows who really holds something, whatever
//! the servers that are left have heard of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use oxkeeper_client::core::{
    Client, Config, ConnectString, Effect, Input, LinkId, Outcome, State, Ticket, WatchEvent,
    Watcher,
};
use oxkeeper_node::Now;
use oxkeeper_proto::Zxid;
use oxkeeper_recipes::Keeper;
use oxkeeper_recipes::port::Pending;
use oxkeeper_sim::agenda::{Agenda, Event};
pub use oxkeeper_sim::agenda::{MS, SECOND};
pub use oxkeeper_sim::dice::Dice;
use oxkeeper_sim::history::History;
use oxkeeper_sim::model::State as Znodes;
use oxkeeper_sim::net::{Delivery, End, Net, Party, WireId};
use oxkeeper_sim::server::{Ensemble, Server, ServerSettings};
use oxkeeper_sim::trace::Trace;
use oxkeeper_sim::world::Ground as Beneath;

use crate::port::SimPort;
use crate::weather::Weather;

/// Sessions ask for this.
pub const SESSION_MS: i32 = 4000;
/// The servers' wall clock when a world begins, ms since 1970: they have run for a minute then.
const BEGINNING_MS: i64 = 1_700_000_060_000;
/// Where the operator sits.
const OPERATOR: usize = 63;
/// Wakes nobody in particular: time has come for a timer, or for a machine to thaw.
pub const TICK: Event = Event::Relief(usize::MAX);

/// Where an answer lands.
#[derive(Debug)]
pub struct Slot<T> {
    pub value: Option<T>,
    pub waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot { value: None, waker: None }
    }
}

pub type Shared1<T> = Arc<Mutex<Slot<T>>>;

pub fn fill<T>(slot: &Shared1<T>, value: T) {
    let mut slot = slot.lock().unwrap();
    slot.value = Some(value);
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}

/// Resolves when a slot is filled.
pub struct Taken<T>(pub Shared1<T>);

impl<T> Future for Taken<T> {
    type Output = T;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock().unwrap();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What one watcher was told.
#[derive(Debug, Default)]
pub struct Heard {
    pub events: VecDeque<WatchEvent>,
    pub waker: Option<Waker>,
}

/// One session of one machine.
pub struct Seat {
    pub machine: usize,
    pub client: Client,
    /// Its connection: of the last dial.
    wire: Option<(LinkId, WireId)>,
    pub outcomes: BTreeMap<Ticket, Shared1<Outcome>>,
    pub watchers: BTreeMap<Watcher, Arc<Mutex<Heard>>>,
    pub next_watcher: u64,
    pub next_unique: u64,
    /// Who waits for another standing.
    pub standing: Vec<Waker>,
    /// When it is woken next.
    planned: Option<u64>,
    /// Its process has died.
    dead: bool,
}

pub struct Ground {
    pub(crate) beneath: Beneath,
    pub(crate) servers: Vec<Server>,
    pub now: Now,
    pub seats: Vec<Seat>,
    /// Until when each machine does not get to run.
    frozen: Vec<u64>,
    timers: BTreeMap<(u64, u64), (usize, Shared1<()>)>,
    next_timer: u64,
    pub(crate) spawned: Vec<(usize, Pending<()>)>,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    truth: (Zxid, Znodes),
    /// How much of what servers have applied and taken over the truth has seen.
    seen: (usize, usize),
    /// The session by which members are changed.
    operator: Option<usize>,
    /// How often a server lost its data.
    pub(crate) wiped: usize,
    /// The members that there were when the operator came to change them.
    pub(crate) configurations: BTreeSet<String>,
}

/// The world, shared by everybody in it.
#[derive(Clone)]
pub struct World(Arc<Mutex<Ground>>);

impl World {
    pub fn new(seed: u64, weather: Weather) -> World {
        World(Arc::new(Mutex::new(Ground::new(seed, weather))))
    }

    pub fn lock(&self) -> MutexGuard<'_, Ground> {
        self.0.lock().unwrap()
    }

    /// A new session for a machine.
    pub fn connect(&self, machine: usize) -> Keeper {
        let seat = self.lock().sit(machine);
        Keeper::new(SimPort { world: self.clone(), seat })
    }

    pub fn now(&self) -> u64 {
        self.lock().now.mono_us
    }

    pub fn rest(&self, machine: usize, us: u64) -> Pending<()> {
        let slot = self.lock().timer(machine, us);
        Box::pin(Taken(slot))
    }

    pub fn spawn(&self, machine: usize, task: Pending<()>) {
        self.lock().spawned.push((machine, task));
    }
}

impl Ground {
    fn new(seed: u64, weather: Weather) -> Ground {
        let servers = weather.servers;
        let reconfig = weather.reconfigures;
        let observers = usize::from(reconfig);
        let voters = servers - observers;
        let of = || Ensemble { voters, observers, reconfig, ..Ensemble::default() };
        let ensemble = (voters > 1).then(of);
        let settings = ServerSettings { fronts: 2, ensemble, ..ServerSettings::default() };
        let mut beneath = Beneath {
            agenda: Agenda::default(),
            net: Net::new(seed),
            trace: Trace::new(false),
            history: History::new(servers),
        };
        beneath.history.members = servers;
        beneath.history.tick = u64::from(settings.tick_ms) * MS;
        for server in 0..servers {
            beneath.agenda.plan(0, Event::Start { server });
        }
        beneath.agenda.plan(100 * MS, Event::Storm);
        Ground {
            beneath,
            servers: (0..servers).map(|id| Server::new(id, seed, settings.clone())).collect(),
            now: Now { mono_us: 0, wall_ms: BEGINNING_MS },
            seats: Vec::new(),
            frozen: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            spawned: Vec::new(),
            dice: Dice::fork(seed, "recipes"),
            weather,
            truth: (Zxid::ZERO, Znodes::default()),
            seen: (0, 0),
            operator: None,
            wiped: 0,
            configurations: BTreeSet::new(),
        }
    }

    /// A new session for a machine: its place among the seats.
    fn sit(&mut self, machine: usize) -> usize {
        let hosts = (0..self.servers.len()).map(|at| format!("server-{at}"));
        let hosts = ConnectString::parse(&hosts.collect::<Vec<_>>().join(",")).unwrap();
        let mut config = Config::new(hosts);
        config.session_timeout_ms = SESSION_MS;
        let seed = self.dice.draw();
        let mut client = Client::new(config, seed);
        client.handle(self.now.mono_us, Input::Wake);
        self.seats.push(Seat {
            machine,
            client,
            wire: None,
            outcomes: BTreeMap::new(),
            watchers: BTreeMap::new(),
            next_watcher: 0,
            next_unique: 0,
            standing: Vec::new(),
            planned: None,
            dead: false,
        });
        self.thaw_of(machine);
        self.seats.len() - 1
    }

    /// The operator's session, a new one if the last is over.
    pub(crate) fn operator(&mut self) -> &mut Seat {
        let over = |at: &usize| is_over(self.seats[*at].client.state());
        let at = match self.operator.filter(|at| !over(at)) {
            Some(at) => at,
            None => self.sit(OPERATOR),
        };
        self.operator = Some(at);
        &mut self.seats[at]
    }

    fn timer(&mut self, machine: usize, us: u64) -> Shared1<()> {
        let slot: Shared1<()> = Arc::default();
        self.next_timer += 1;
        let at = self.now.mono_us.saturating_add(us);
        self.timers.insert((at, self.next_timer), (machine, Arc::clone(&slot)));
        self.beneath.agenda.plan_at(at, TICK);
        slot
    }

    /// The transaction that made a znode, if it is there.
    pub fn czxid(&self, path: &str) -> Option<i64> {
        Some(self.truth.1.znodes.get(path)?.stat.czxid.0)
    }

    /// The names of a znode's children.
    pub fn names(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let all = self.truth.1.znodes.range(below.clone()..);
        let all = all.map_while(|(path, _)| path.strip_prefix(&below));
        all.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }

    /// The data of a znode, if it is there.
    pub fn data(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.truth.1.znodes.get(path)?.data.clone().unwrap_or_default())
    }

    /// The server that a session is connected to.
    pub fn server_of(&self, seat: usize) -> Option<usize> {
        let (_, wire) = self.seats[seat].wire?;
        match self.beneath.net.holder(wire, End::Listener) {
            Party::Server(server) => Some(server),
            Party::Client(_) => None,
        }
    }

    /// A server hears nothing of the others, and they nothing of it.
    pub fn part(&mut self, server: usize) {
        for other in (0..self.servers.len()).filter(|other| *other != server) {
            self.beneath.net.cut(Party::Server(server), Party::Server(other));
            self.beneath.net.cut(Party::Server(other), Party::Server(server));
        }
    }

    /// How often a server of an ensemble began to serve.
    pub fn roles(&self) -> usize {
        self.beneath.history.served.len()
    }

    /// What servers found wrong with each other or themselves.
    pub fn amiss(&self) -> Vec<&String> {
        let History { failed_starts, accusations, .. } = &self.beneath.history;
        failed_starts.iter().chain(accusations).collect()
    }

    fn thaw_of(&mut self, machine: usize) -> u64 {
        while self.frozen.len() <= machine {
            self.frozen.push(0);
        }
        self.frozen[machine]
    }

    /// Whether what runs on a machine has to wait. What has come is read first when it thaws, then
    /// its client hears that time has passed, and then everything else.
    pub(crate) fn is_frozen(&mut self, machine: usize) -> bool {
        let until = self.thaw_of(machine);
        until > 0 && until + 2 > self.now.mono_us
    }

    pub fn freeze(&mut self, machine: usize, us: u64) {
        let until = (self.now.mono_us + us).max(self.thaw_of(machine));
        self.frozen[machine] = until;
        self.beneath.agenda.plan_at(until + 2, TICK);
    }

    /// All machines run, and what waited for it happens now.
    pub(crate) fn thaw_all(&mut self) {
        self.frozen.fill(0);
        for at in 0..self.seats.len() {
            self.beneath.agenda.plan(0, Event::Client(at));
        }
    }

    /// The process of a machine ends; its sessions stay until they expire.
    pub fn die(&mut self, machine: usize) {
        for at in 0..self.seats.len() {
            if self.seats[at].machine == machine {
                self.seats[at].dead = true;
                if let Some((_, wire)) = self.seats[at].wire.take() {
                    self.beneath.net.vanish(wire, End::Dialler);
                }
            }
        }
    }

    /// Breaks a connection. What is under way is lost.
    pub fn cut(&mut self, at: usize) {
        if let Some((_, wire)) = self.seats[at].wire {
            self.beneath.net.break_wire(&mut self.beneath.agenda, wire);
        }
    }

    /// The next thing happens, unless it lies beyond `end`. False if nothing does.
    pub(crate) fn step(&mut self, end: u64) -> bool {
        let Some(event) = self.beneath.agenda.next(end) else { return false };
        self.now.mono_us = self.beneath.agenda.now();
        self.now.wall_ms = BEGINNING_MS + (self.now.mono_us / 1000) as i64;
        assert!(self.beneath.agenda.count() < 20_000_000, "events without end");
        match self.held_up(event) {
            Some(until) => self.beneath.agenda.plan_at(until, event),
            None => self.happen(event),
        }
        self.timers_due();
        true
    }

    /// Until when an event must wait because who it is for does not get to run.
    fn held_up(&mut self, event: Event) -> Option<u64> {
        let (party, moment) = match event {
            Event::Arrival { wire, to } => (self.beneath.net.holder(wire, to), 0),
            Event::Turn { server, .. } | Event::Stop { server, down: None } => {
                (Party::Server(server), 1)
            }
            Event::Client(seat) => (Party::Client(seat), 1),
            _ => return None,
        };
        let until = match party {
            Party::Server(server) => self.servers[server].frozen_until(),
            Party::Client(seat) => self.thaw_of(self.seats[seat].machine),
        };
        (until > 0 && until + moment > self.now.mono_us).then_some(until + moment)
    }

    fn happen(&mut self, event: Event) {
        let Ground { beneath, servers, .. } = self;
        match event {
            Event::Arrival { wire, to } => {
                let holder = beneath.net.holder(wire, to);
                let Some(delivery) = beneath.net.take(beneath.agenda.now(), wire, to) else {
                    return;
                };
                match holder {
                    Party::Server(server) => servers[server].arrival(beneath, wire, delivery),
                    Party::Client(seat) => self.arrival(seat, wire, delivery),
                }
            }
            Event::Turn { server, life, stage } => {
                servers[server].turn(beneath, life, stage);
                self.look(server);
            }
            Event::Start { server } => servers[server].start(beneath),
            Event::Client(seat) => {
                self.seats[seat].planned = None;
                self.seats[seat].client.handle(self.now.mono_us, Input::Wake);
                self.effects(seat);
            }
            Event::Storm => self.storm(),
            Event::Relief(server) => {
                if let Some(server) = servers.get_mut(server) {
                    server.slow_disk(1);
                    beneath.net.heal(&mut beneath.agenda);
                }
            }
            Event::Stop { .. } | Event::Blackout | Event::Ambush(_) => {}
        }
    }

    /// Takes over what this server has applied, if nobody was further.
    fn look(&mut self, server: usize) {
        let History { applied, served, .. } = &self.beneath.history;
        let new = applied[self.seen.0..].iter().filter(|one| one.served).map(|one| one.zxid);
        let new = new.chain(served[self.seen.1..].iter().map(|one| one.zxid)).max();
        self.seen = (applied.len(), served.len());
        if new.is_some_and(|zxid| zxid > self.truth.0)
            && let Some(held) = self.servers[server].held()
        {
            self.truth = (held.zxid, held.state);
        }
    }

    fn timers_due(&mut self) {
        let due = self.timers.range(..=(self.now.mono_us, u64::MAX));
        let due: Vec<_> = due.map(|(key, (machine, _))| (*key, *machine)).collect();
        for (key, machine) in due {
            if !self.is_frozen(machine)
                && let Some((_, slot)) = self.timers.remove(&key)
            {
                fill(&slot, ());
            }
        }
    }

    fn arrival(&mut self, at: usize, wire: WireId, delivery: Delivery) {
        let (now, seat) = (self.now.mono_us, &mut self.seats[at]);
        let Some((link, _)) = seat.wire.filter(|(_, own)| *own == wire && !seat.dead) else {
            return;
        };
        match delivery {
            Delivery::Opened | Delivery::Accepted => {}
            Delivery::Bytes(bytes) => seat.client.handle(now, Input::Bytes(link, &bytes)),
            Delivery::Closed => {
                seat.wire = None;
                seat.client.handle(now, Input::Disconnected(link));
            }
        }
        self.effects(at);
    }

    /// What all clients want done.
    pub(crate) fn all_effects(&mut self) {
        (0..self.seats.len()).for_each(|at| self.effects(at));
    }

    /// What a client wants done.
    fn effects(&mut self, at: usize) {
        let machine = self.seats[at].machine;
        if self.seats[at].dead || self.thaw_of(machine) > self.now.mono_us {
            return;
        }
        while let Some(effect) = self.seats[at].client.poll_effect() {
            self.carry_out(at, effect);
        }
        let seat = &mut self.seats[at];
        if let Some(deadline) = seat.client.deadline_us()
            && seat.planned.is_none_or(|planned| planned > deadline)
        {
            seat.planned = Some(deadline);
            self.beneath.agenda.plan_at(deadline, Event::Client(at));
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let seat = &mut self.seats[at];
        let Beneath { agenda, net, .. } = &mut self.beneath;
        match effect {
            Effect::Dial(link, host) => {
                let server = host.name.strip_prefix("server-").and_then(|n| n.parse().ok());
                let server = Party::Server(server.expect("one of ours"));
                seat.wire = Some((link, net.dial(agenda, Party::Client(at), server)));
                // What connecting takes is part of what the first bytes take.
                seat.client.handle(self.now.mono_us, Input::Connected(link));
            }
            Effect::Probe(link, _) => {
                seat.client.handle(self.now.mono_us, Input::Probed(link, true));
            }
            Effect::Send(link, bytes) => {
                if let Some((_, wire)) = seat.wire.filter(|(own, _)| *own == link) {
                    net.send(agenda, wire, End::Dialler, &bytes);
                }
            }
            Effect::Close(link, _) => {
                if let Some((_, wire)) = seat.wire.take_if(|(own, _)| *own == link) {
                    net.close(agenda, wire, End::Dialler);
                }
            }
            Effect::Completed(ticket, outcome) => {
                if let Some(slot) = seat.outcomes.remove(&ticket) {
                    fill(&slot, outcome);
                }
            }
            Effect::Event(watcher, event) => {
                if let Some(heard) = seat.watchers.get(&watcher) {
                    let mut heard = heard.lock().unwrap();
                    heard.events.push_back(event);
                    if let Some(waker) = heard.waker.take() {
                        waker.wake();
                    }
                }
            }
            Effect::State(_) => seat.standing.drain(..).for_each(Waker::wake),
        }
    }
}

/// True when a session is not alive any more for its client.
pub fn is_over(state: State) -> bool {
    matches!(state, State::Expired | State::AuthFailed | State::Closed { .. })
}
