//! Recipes in virtual time: the product's own server core, the product's own client core, wires
//! that are late and break, machines that freeze, and an executor that polls one task after
//! another.
//!
//! A seed gives the same run every time. Time passes only when nobody can do anything at this
//! moment. What a machine has cannot be looked at by another; the tree of the server can be looked
//! at by the test, which is how it knows who *really* holds something.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use oxkeeper_client::core::{
    Client, Config, ConnectString, Effect, Input, LinkId, Outcome, State, Ticket, WatchEvent,
    Watcher,
};
use oxkeeper_node::{
    Batch, Committed, ConnId, Core, CoreLink, Effect as ServerEffect, Front, FrontId, Now, Peer,
    Settings, Shared, ToCore,
};
use oxkeeper_proto::{Reader, StringList};
use oxkeeper_recipes::Keeper;
use oxkeeper_recipes::port::Pending;
use oxkeeper_tree::{OwnerRules, Tree, TreeOptions};

use crate::port::SimPort;

pub const MS: u64 = 1000;
pub const SECOND: u64 = 1000 * MS;
/// Sessions ask for this.
pub const SESSION_MS: i32 = 4000;

/// Chance, from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
}

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

fn fill<T>(slot: &Shared1<T>, value: T) {
    let mut slot = slot.lock().unwrap();
    slot.value = Some(value);
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}

/// What one watcher was told.
#[derive(Debug, Default)]
pub struct Heard {
    pub events: VecDeque<WatchEvent>,
    pub waker: Option<Waker>,
}

/// One connection. Chunks are under way until their time has come.
#[derive(Debug)]
struct Pipe {
    link: LinkId,
    conn: ConnId,
    up: VecDeque<(u64, Vec<u8>)>,
    down: VecDeque<(u64, Vec<u8>)>,
    /// What arrived and the server has not taken.
    inbox: Vec<u8>,
    /// Nothing passes until then.
    silent_until: u64,
}

/// One session of one machine.
pub struct Seat {
    pub machine: usize,
    pub client: Client,
    pipe: Option<Pipe>,
    /// Dials under way.
    dials: Vec<(u64, LinkId)>,
    pub outcomes: BTreeMap<Ticket, Shared1<Outcome>>,
    pub watchers: BTreeMap<Watcher, Arc<Mutex<Heard>>>,
    pub next_watcher: u64,
    pub next_unique: u64,
    /// Who waits for another standing.
    pub standing: Vec<Waker>,
    /// Its process has died.
    dead: bool,
}

/// What can go wrong, and how often: one in so many steps of the storm, 0 for never.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub cuts: bool,
    pub silences: bool,
    pub freezes: bool,
}

pub const CALM: Weather = Weather { cuts: false, silences: false, freezes: false };
pub const STORM: Weather = Weather { cuts: true, silences: true, freezes: true };
pub const CUTS: Weather = Weather { cuts: true, silences: false, freezes: false };

pub struct Ground {
    shared: Shared,
    core: Core,
    front: Front,
    pub now: Now,
    unsynced: Vec<Batch>,
    pub seats: Vec<Seat>,
    /// Until when each machine does not get to run.
    frozen: Vec<u64>,
    pub timers: BTreeMap<(u64, u64), (usize, Shared1<()>)>,
    next_timer: u64,
    spawned: Vec<(usize, Pending<()>)>,
    dice: Dice,
    weather: Weather,
    next_storm: u64,
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

/// The world, shared by everybody in it.
#[derive(Clone)]
pub struct World(Arc<Mutex<Ground>>);

impl World {
    pub fn lock(&self) -> MutexGuard<'_, Ground> {
        self.0.lock().unwrap()
    }

    /// A new session for a machine.
    pub fn connect(&self, machine: usize) -> Keeper {
        let mut ground = self.lock();
        let mut config = Config::new(ConnectString::parse("server").unwrap());
        config.session_timeout_ms = SESSION_MS;
        let seed = ground.dice.draw();
        let mut client = Client::new(config, seed);
        client.handle(ground.now.mono_us, Input::Wake);
        let number = ground.seats.len();
        ground.seats.push(Seat {
            machine,
            client,
            pipe: None,
            dials: Vec::new(),
            outcomes: BTreeMap::new(),
            watchers: BTreeMap::new(),
            next_watcher: 0,
            next_unique: 0,
            standing: Vec::new(),
            dead: false,
        });
        while ground.frozen.len() <= machine {
            ground.frozen.push(0);
        }
        drop(ground);
        Keeper::new(SimPort { world: self.clone(), seat: number })
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

impl Ground {
    pub fn timer(&mut self, machine: usize, us: u64) -> Shared1<()> {
        let slot: Shared1<()> = Arc::default();
        self.next_timer += 1;
        let at = self.now.mono_us.saturating_add(us);
        self.timers.insert((at, self.next_timer), (machine, Arc::clone(&slot)));
        slot
    }

    /// The transaction that made a znode, if it is there.
    pub fn czxid(&self, path: &str) -> Option<i64> {
        Some(self.shared.tree.node(path)?.stat().czxid.0)
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        let mut out = Vec::new();
        if !self.shared.tree.encode_children(path, &mut out) {
            return Vec::new();
        }
        let list = StringList::decode(&mut Reader::new(&out)).unwrap();
        list.iter().map(|name| name.into_owned()).collect()
    }

    /// The data of a znode, if it is there.
    pub fn data(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.shared.tree.node(path)?.data().unwrap_or_default().to_vec())
    }

    fn is_frozen(&self, machine: usize) -> bool {
        self.frozen.get(machine).is_some_and(|until| *until > self.now.mono_us)
    }

    pub fn freeze(&mut self, machine: usize, us: u64) {
        while self.frozen.len() <= machine {
            self.frozen.push(0);
        }
        self.frozen[machine] = self.now.mono_us + us;
    }

    /// The process of a machine ends; its sessions stay until they expire.
    pub fn die(&mut self, machine: usize) {
        for at in 0..self.seats.len() {
            if self.seats[at].machine == machine {
                self.seats[at].dead = true;
                self.hang_up(at, false);
            }
        }
    }

    /// Cuts a connection. Of what is under way a part comes through.
    pub fn cut(&mut self, at: usize) {
        let arriving = self.dice.below(4);
        let Some(pipe) = &mut self.seats[at].pipe else { return };
        for _ in 0..arriving {
            if let Some((_, bytes)) = pipe.up.pop_front() {
                pipe.inbox.extend(bytes);
            }
        }
        self.take_in(at);
        self.server();
        self.hang_up(at, true);
    }

    fn hang_up(&mut self, at: usize, tell: bool) {
        let Some(pipe) = self.seats[at].pipe.take() else { return };
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        self.front.closed(self.now, pipe.conn, &mut link);
        if tell {
            self.seats[at].client.handle(self.now.mono_us, Input::Disconnected(pipe.link));
        }
    }

    fn latency(&mut self) -> u64 {
        match self.dice.below(20) {
            0 => self.dice.between(2 * MS, 30 * MS),
            _ => self.dice.between(50, 2 * MS),
        }
    }

    /// One more thing goes wrong.
    fn storm(&mut self) {
        self.next_storm = self.now.mono_us + self.dice.between(10, 900) * MS;
        if self.seats.is_empty() {
            return;
        }
        let at = self.dice.below(self.seats.len() as u64) as usize;
        match self.dice.below(8) {
            0..=3 if self.weather.cuts => self.cut(at),
            4 | 5 if self.weather.silences => {
                let until = self.now.mono_us + self.dice.between(20, 9000) * MS;
                if let Some(pipe) = &mut self.seats[at].pipe {
                    pipe.silent_until = until;
                }
            }
            6 if self.weather.freezes => {
                let long = self.dice.between(5, 9000) * MS;
                self.freeze(self.seats[at].machine, long);
            }
            _ => {}
        }
    }

    /// What clients want done. True if anything.
    fn client_effects(&mut self, at: usize) -> bool {
        let machine = self.seats[at].machine;
        if self.seats[at].dead || self.is_frozen(machine) {
            return false;
        }
        let mut moved = false;
        while let Some(effect) = self.seats[at].client.poll_effect() {
            moved = true;
            let due = self.now.mono_us + self.latency();
            let seat = &mut self.seats[at];
            match effect {
                Effect::Dial(link, _) => seat.dials.push((due, link)),
                Effect::Probe(..) => {}
                Effect::Send(_, bytes) => {
                    if let Some(pipe) = &mut seat.pipe {
                        let due = pipe.up.back().map_or(due, |(last, _)| due.max(*last));
                        pipe.up.push_back((due, bytes));
                    }
                }
                Effect::Close(link, _) => {
                    seat.dials.retain(|(_, dialed)| *dialed != link);
                    if seat.pipe.as_ref().is_some_and(|pipe| pipe.link == link) {
                        self.hang_up(at, false);
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
        moved
    }

    /// What arrives now. True if anything.
    fn arrivals(&mut self, at: usize) -> bool {
        let (now, machine) = (self.now.mono_us, self.seats[at].machine);
        let mut moved = false;
        let frozen = self.is_frozen(machine);
        while let Some(dial) = self.seats[at].dials.iter().position(|(due, _)| *due <= now) {
            if frozen || self.seats[at].dead {
                break;
            }
            let (_, link) = self.seats[at].dials.remove(dial);
            let addr = "127.0.0.1:40000".parse().unwrap();
            let conn = self.front.open(self.now, Peer { addr });
            let (up, down) = (VecDeque::new(), VecDeque::new());
            let pipe = Pipe { link, conn, up, down, inbox: Vec::new(), silent_until: 0 };
            self.seats[at].pipe = Some(pipe);
            self.seats[at].client.handle(now, Input::Connected(link));
            moved = true;
        }
        if let Some(pipe) = &mut self.seats[at].pipe {
            if pipe.silent_until > now {
                return moved;
            }
            while pipe.up.front().is_some_and(|(due, _)| *due <= now) {
                let (_, bytes) = pipe.up.pop_front().unwrap();
                pipe.inbox.extend(bytes);
                moved = true;
            }
        }
        self.take_in(at);
        while let Some(pipe) = &mut self.seats[at].pipe {
            if frozen || pipe.down.front().is_none_or(|(due, _)| *due > now) {
                break;
            }
            let (_, bytes) = pipe.down.pop_front().unwrap();
            let link = pipe.link;
            self.seats[at].client.handle(now, Input::Bytes(link, &bytes));
            moved = true;
        }
        moved
    }

    fn take_in(&mut self, at: usize) {
        let Some(pipe) = &mut self.seats[at].pipe else { return };
        while !pipe.inbox.is_empty() && self.front.state(pipe.conn).wants_input {
            let mut link = Link { core: &mut self.core, shared: &self.shared };
            let used =
                self.front.receive(&self.shared, self.now, pipe.conn, &pipe.inbox, &mut link);
            pipe.inbox.drain(..used);
            if used == 0 {
                break;
            }
        }
    }

    fn send_out(&mut self, at: usize) -> bool {
        let due = self.now.mono_us + self.latency();
        let Some(pipe) = &mut self.seats[at].pipe else { return false };
        let state = self.front.state(pipe.conn);
        let bytes = self.front.output(pipe.conn).to_vec();
        self.front.sent(pipe.conn, bytes.len());
        let moved = !bytes.is_empty();
        if moved {
            let due = pipe.down.back().map_or(due, |(last, _)| due.max(*last));
            pipe.down.push_back((due, bytes));
        }
        if state.close_now || (state.close_after_output && pipe.down.is_empty()) {
            self.hang_up(at, true);
            return true;
        }
        moved
    }

    /// The server's turn. True if anything happened.
    fn server(&mut self) -> bool {
        let mut moved = false;
        loop {
            self.server_effects();
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
                ServerEffect::SnapshotAbandon | ServerEffect::Peer(_) => {}
                ServerEffect::RollLog | ServerEffect::SnapshotBegin(_) => {}
            }
        }
    }

    /// Everything that can happen at this moment except tasks. True if anything did.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.seats.len() {
            moved |= self.client_effects(at);
            moved |= self.arrivals(at);
        }
        moved |= self.server();
        for at in 0..self.seats.len() {
            moved |= self.send_out(at);
            moved |= self.client_effects(at);
        }
        moved
    }

    /// When something happens next.
    fn next_moment(&self) -> u64 {
        let mut next = self.core.deadline_us().unwrap_or(u64::MAX);
        next = next.min(self.next_storm);
        for seat in self.seats.iter().filter(|seat| !seat.dead) {
            let awake = self.frozen[seat.machine];
            let mut own = seat.client.deadline_us().unwrap_or(u64::MAX);
            own = seat.dials.iter().map(|(due, _)| *due).fold(own, u64::min);
            if let Some(pipe) = &seat.pipe {
                let heard = pipe.down.front().map_or(u64::MAX, |(due, _)| *due);
                own = own.min(heard.max(pipe.silent_until));
                let up = pipe.up.front().map_or(u64::MAX, |(due, _)| *due);
                next = next.min(up.max(pipe.silent_until));
            }
            next = next.min(own.max(awake));
        }
        for ((due, _), (machine, _)) in &self.timers {
            next = next.min((*due).max(self.frozen.get(*machine).copied().unwrap_or(0)));
        }
        next
    }

    fn advance(&mut self, to: u64) {
        let to = to.max(self.now.mono_us);
        self.now.wall_ms += (to / 1000 - self.now.mono_us / 1000) as i64;
        self.now.mono_us = to;
        self.core.wake(&self.shared, self.now);
        if to >= self.next_storm {
            self.storm();
        }
        for at in 0..self.seats.len() {
            let machine = self.seats[at].machine;
            if self.seats[at].dead || self.is_frozen(machine) {
                continue;
            }
            // What has come is read before it is said that time has passed.
            self.arrivals(at);
            self.client_effects(at);
            if self.seats[at].client.deadline_us().is_some_and(|deadline| deadline <= to) {
                self.seats[at].client.handle(to, Input::Wake);
            }
        }
        let due: Vec<_> = self.timers.range(..=(to, u64::MAX)).map(|(key, _)| *key).collect();
        for key in due {
            let machine = self.timers[&key].0;
            if !self.is_frozen(machine)
                && let Some((_, slot)) = self.timers.remove(&key)
            {
                fill(&slot, ());
            }
        }
    }
}

struct Woken {
    id: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.id);
    }
}

/// The world and who is in it.
pub struct Sim {
    pub world: World,
    tasks: BTreeMap<u64, (usize, Pending<()>)>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
    next_task: u64,
}

impl Sim {
    pub fn new(seed: u64, weather: Weather) -> Sim {
        let now = Now { mono_us: 60 * SECOND, wall_ms: 1_700_000_000_000 };
        let owner_rules = OwnerRules { extended_types: true, emulate_353: false };
        let tree = Tree::new(TreeOptions { owner_rules, ..TreeOptions::default() });
        let shared = Shared { tree, serving: true, read_only: false };
        let mut settings =
            Settings { tick_time_ms: 500, session_timeout_min_ms: 1000, ..Settings::default() };
        settings.rules.owners = owner_rules;
        let settings = Arc::new(settings);
        let core = Core::new(Arc::clone(&settings), &shared, now);
        let front = Front::new(FrontId(0), settings);
        let ground = Ground {
            shared,
            core,
            front,
            now,
            unsynced: Vec::new(),
            seats: Vec::new(),
            frozen: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            spawned: Vec::new(),
            dice: Dice::new(seed),
            weather,
            next_storm: now.mono_us + 100 * MS,
        };
        Sim {
            world: World(Arc::new(Mutex::new(ground))),
            tasks: BTreeMap::new(),
            ready: Arc::default(),
            next_task: 0,
        }
    }

    /// Lets something run on a machine.
    pub fn spawn(&mut self, machine: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.adopt(machine, Box::pin(task));
    }

    fn adopt(&mut self, machine: usize, task: Pending<()>) {
        self.next_task += 1;
        self.tasks.insert(self.next_task, (machine, task));
        self.ready.lock().unwrap().insert(self.next_task);
    }

    /// A machine's process ends at once: no destructor of it runs, its sessions are left behind.
    pub fn kill(&mut self, machine: usize) {
        let tasks = std::mem::take(&mut self.tasks);
        for (id, task) in tasks {
            match task.0 == machine {
                true => std::mem::forget(task),
                false => drop(self.tasks.insert(id, task)),
            }
        }
        self.world.lock().die(machine);
    }

    /// The end of bad weather: all wires carry, all machines run.
    pub fn calm(&mut self) {
        let mut ground = self.world.lock();
        ground.weather = CALM;
        let now = ground.now.mono_us;
        ground.frozen.iter_mut().for_each(|until| *until = now);
        for seat in &mut ground.seats {
            if let Some(pipe) = &mut seat.pipe {
                pipe.silent_until = 0;
            }
        }
    }

    fn poll_ready(&mut self) -> bool {
        let mut moved = false;
        let ready: Vec<u64> = self.ready.lock().unwrap().iter().copied().collect();
        for id in ready {
            let Some((machine, task)) = self.tasks.get_mut(&id) else {
                self.ready.lock().unwrap().remove(&id);
                continue;
            };
            if self.world.lock().is_frozen(*machine) {
                continue;
            }
            self.ready.lock().unwrap().remove(&id);
            moved = true;
            let waker = Waker::from(Arc::new(Woken { id, ready: Arc::clone(&self.ready) }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&id);
            }
            let spawned = std::mem::take(&mut self.world.lock().spawned);
            for (machine, task) in spawned {
                self.adopt(machine, task);
            }
        }
        moved
    }

    /// Lets so much time pass, or less if `done` says so.
    pub fn pass_until(&mut self, us: u64, done: impl Fn() -> bool) {
        let end = self.world.now() + us;
        let mut steps = 0u64;
        loop {
            while self.poll_ready() || self.world.lock().turn() {
                steps += 1;
                assert!(steps < 50_000_000, "events without end");
            }
            if done() {
                return;
            }
            let next = self.world.lock().next_moment();
            // A machine that thaws runs what is ready on it.
            let thaw = self.thaw().unwrap_or(u64::MAX);
            let to = next.min(thaw).min(end);
            self.world.lock().advance(to);
            if to >= end {
                while self.poll_ready() || self.world.lock().turn() {}
                return;
            }
        }
    }

    fn thaw(&self) -> Option<u64> {
        let ground = self.world.lock();
        let now = ground.now.mono_us;
        ground.frozen.iter().copied().filter(|until| *until > now).min()
    }

    pub fn pass(&mut self, us: u64) {
        self.pass_until(us, || false);
    }

    /// Runs one future to its end in this weather; panics if it takes longer than a minute.
    pub fn run<T: Send + 'static>(
        &mut self,
        machine: usize,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let slot: Shared1<T> = Arc::default();
        let to = Arc::clone(&slot);
        self.spawn(machine, async move { fill(&to, task.await) });
        let seen = Arc::clone(&slot);
        self.pass_until(60 * SECOND, move || seen.lock().unwrap().value.is_some());
        let value = slot.lock().unwrap().value.take();
        value.expect("it ends within a minute")
    }
}

/// True when a session may still be alive for its client.
pub fn is_over(state: State) -> bool {
    matches!(state, State::Expired | State::AuthFailed | State::Closed { .. })
}
