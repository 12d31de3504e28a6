//! The host of one server: what the real one does with threads and sockets, in virtual time.
//!
//! The server inside is the one that ships: the node's core and Fronts, the log and snapshot
//! workers, recovery, the files on a disk that knows what was synced. What is ours is when each of
//! them gets to run. Every I/O thread, the log and the snapshots are *stages*: something for them
//! to do plans a turn of theirs, some microseconds or, when the dice say so, milliseconds later,
//! and what crosses between them waits in mailboxes until then.
//!
//! As in the real host, a Front on another thread than the core's takes all its mail before it
//! reads the tree, and the core's thread applies a batch and fills all mailboxes in one go.
//!
//! [`Mistake`]s are ways for this host to be wrong: they show that the invariants would notice.

mod archive;
mod member;
mod mistake;
mod ports;
mod running;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_node::{Committed, Core, Effect, Front, FrontId, Now, Peer, Settings, Shared};
use oxkeeper_proto::Zxid;
use oxkeeper_server::boot::{BootError, BootOptions, BootReport, Booted, boot};
use oxkeeper_server::log_thread::LogReports as _;
use oxkeeper_server::log_thread::{FlushPolicy, LogCommand, LogWorker};
use oxkeeper_server::member::{MemberOptions, boot_member};
use oxkeeper_server::snapshot_thread::{
    PurgePolicy, SnapshotCommand, SnapshotPolicy, SnapshotWorker,
};
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_storage::{Compression, SimDisk, TxnLog, TxnLogOptions};
use oxkeeper_tree::TreeOptions;
use oxkeeper_zab::Recovered;
use oxkeeper_zab::messages::Effect as PeerEffect;
use oxkeeper_zab::quorum::Membership;

use archive::{Archive, LogQueue};
pub use mistake::Mistake;
use running::{Io, LocalLink, Mail, Reports, Running, Socket};

use crate::agenda::{Event, MS, Micros, Stage};
use crate::dice::Dice;
use crate::history::Holding;
use crate::model::{OWNERS, State};
use crate::net::{Delivery, End, Port, WireId};
use crate::world::Ground;

/// Where the directories are on the disk.
const DATA: &str = "/data";
/// The wall clock when the world begins, ms since 1970.
const WALL_START_MS: i64 = 1_700_000_000_000;
/// The monotonic clock when the world begins.
const MONO_START_US: u64 = 60_000_000;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// I/O threads, each with a Front.
    pub fronts: usize,
    /// `tickTime`, ms.
    pub tick_ms: u32,
    /// Transactions between snapshots.
    pub snap_count: u64,
    /// One turn in so many comes much later than usual.
    pub stalls_once_in: u64,
    /// The ensemble that it belongs to, if any.
    pub ensemble: Option<Ensemble>,
    /// What it does wrong, if anything.
    pub mistake: Option<Mistake>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            fronts: 3,
            tick_ms: 500,
            snap_count: 120,
            stalls_once_in: 50,
            ensemble: None,
            mistake: None,
        }
    }
}

/// How an ensemble is set up.
#[derive(Debug, Clone)]
pub struct Ensemble {
    /// Members that vote.
    pub voters: usize,
    /// Members that do not.
    pub observers: usize,
    /// `initLimit`, ticks.
    pub init_limit: u64,
    /// `syncLimit`, ticks.
    pub sync_limit: u64,
    /// Committed transactions in memory.
    pub window: usize,
    /// Every learner gets a snapshot.
    pub force_snapshot: bool,
    /// As in [`oxkeeper_zab::Settings::snapshot_size_permille`].
    pub snapshot_size_permille: Option<u64>,
    /// Whether observers keep a log.
    pub sync_enabled: bool,
    /// Whether members do what only ours can do with each other.
    pub ours: bool,
    /// Whether members may be changed (`reconfigEnabled`), by anyone (`skipACL`).
    pub reconfig: bool,
    /// Transactions of an epoch, if not as many as there are numbers.
    pub epoch_transactions_max: Option<u32>,
    /// Whether batches that are alone are, now and then, written by the core's thread.
    pub writes_alone: bool,
    /// Of each that votes, its group and its weight; empty where all count alike.
    pub groups: Vec<(usize, i64)>,
}

impl Default for Ensemble {
    fn default() -> Self {
        Ensemble {
            voters: 3,
            observers: 0,
            init_limit: 10,
            sync_limit: 5,
            window: 500,
            force_snapshot: false,
            snapshot_size_permille: Some(330),
            sync_enabled: true,
            ours: true,
            reconfig: false,
            epoch_transactions_max: None,
            writes_alone: false,
            groups: Vec::new(),
        }
    }
}

impl Ensemble {
    /// All members.
    pub fn members(&self) -> usize {
        self.voters + self.observers
    }
}

/// How a server loses its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// The process is killed: what it wrote is there, its sockets are closed.
    Kill,
    /// The power fails: what was not synced may be gone or torn.
    Power,
}

/// One server, running or not.
#[derive(Debug)]
pub struct Server {
    id: usize,
    settings: ServerSettings,
    disk: SimDisk,
    life: u64,
    running: Option<Box<Running>>,
    frozen_until: Micros,
    wall_offset_ms: i64,
    /// How many times slower than usual the disk is.
    slowness: u64,
    /// What the disk is going to do, or has done.
    fault: Option<Fault>,
    /// Its data is gone, and the others have not given it theirs yet.
    wiped: bool,
    /// Who is in the ensemble, as its files say; none before it starts, and of one server alone.
    membership: Option<Membership>,
    /// What the files of the others say, where they know most.
    others: Option<Membership>,
    dice: Dice,
}

impl Server {
    /// A server with an empty disk, not started.
    pub fn new(id: usize, seed: u64, settings: ServerSettings) -> Server {
        Server {
            id,
            settings,
            disk: SimDisk::new(),
            life: 0,
            running: None,
            frozen_until: 0,
            wall_offset_ms: 0,
            slowness: 1,
            fault: None,
            wiped: false,
            membership: None,
            others: None,
            dice: Dice::fork(seed, &format!("server {id}")),
        }
    }

    /// True while its process is there.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Until when its process does not get to run.
    pub fn frozen_until(&self) -> Micros {
        self.frozen_until
    }

    /// Starts it on whatever its disk holds.
    pub fn start(&mut self, ground: &mut Ground) {
        if self.running.is_some() {
            return;
        }
        self.life += 1;
        let now = self.now(ground);
        let options = boot_options();
        let (booted, recovered) = match self.boot(&options) {
            Ok(booted) => booted,
            Err(error) => {
                ground.note(format_args!("server {} does not start: {error}", self.id));
                if self.fault.is_none() {
                    let why = format!("server {}, life {}: {error}", self.id, self.life);
                    return ground.history.failed_starts.push(why);
                }
                if self.fault == Some(Fault::Stop) {
                    self.disk = self.disk.crash(self.dice.draw());
                }
                self.repair();
                return ground.agenda.plan(20 * MS, Event::Start { server: self.id });
            }
        };
        let settings = Arc::new(self.node_settings());
        let mut core = Core::new(Arc::clone(&settings), &booted.shared, now);
        if booted.wants_snapshot {
            core.request_snapshot();
        }
        let holding = self.holding(&booted.shared, amiss(&booted.report));
        ground
            .note(format_args!("server {} starts life {} at {}", self.id, self.life, holding.zxid));
        let log = self.log_worker(&booted, options.clone(), holding.zxid);
        let archive = Archive::new(Arc::clone(&booted.dir));
        let ports = recovered.and_then(|recovered| self.join(ground, &mut core, recovered, now));
        let shared = booted.shared;
        ground.history.booted(ground.agenda.now(), holding);
        let io = (0..self.settings.fronts)
            .map(|index| Io::new(Front::new(FrontId(index as u16), Arc::clone(&settings))));
        self.running = Some(Box::new(Running {
            core,
            io: io.collect(),
            shared,
            to_core: Vec::new(),
            log,
            to_log: LogQueue::default(),
            snapshots: SnapshotWorker::new(booted.dir, options.snapshot),
            to_snapshots: VecDeque::new(),
            installing: None,
            ports,
            archive,
            reports: Reports::default(),
            committed: Committed::default(),
            planned: BTreeMap::new(),
            without_log: self.without_log(),
            mistake: self.settings.mistake,
            held: Vec::new(),
        }));
        self.plan_all(ground);
    }

    fn boot(
        &self,
        options: &BootOptions,
    ) -> Result<(Booted<SimDisk>, Option<Recovered>), BootError> {
        let Some(ensemble) = &self.settings.ensemble else {
            return boot(self.disk.clone(), options).map(|booted| (booted, None));
        };
        let (tail_count_max, tail_bytes_max) = (ensemble.window, 1 << 20);
        let member = MemberOptions { db_autocreate: true, tail_count_max, tail_bytes_max };
        let (booted, recovered) = boot_member(self.disk.clone(), options, member)?;
        Ok((booted, Some(recovered)))
    }

    /// A log to append to.
    fn log_worker(
        &self,
        booted: &Booted<SimDisk>,
        options: BootOptions,
        last: Zxid,
    ) -> LogWorker<SimDisk> {
        // Small enough that files are extended in the middle of a workload.
        let log = TxnLogOptions { prealloc_bytes: 16 << 10, ..TxnLogOptions::default() };
        let (delay, slow) = (Duration::ZERO, Duration::from_secs(1));
        let policy = FlushPolicy { delay, batch_max: 1000, slow };
        match &self.settings.ensemble {
            Some(_) => LogWorker::member(Arc::clone(&booted.dir), options, log, last, policy),
            None => {
                let dir = booted.dir.log_dir().to_owned();
                LogWorker::new(TxnLog::new(self.disk.clone(), dir, log, last), policy)
            }
        }
    }

    fn node_settings(&self) -> Settings {
        let mut settings = Settings {
            tick_time_ms: self.settings.tick_ms,
            session_timeout_min_ms: 2 * self.settings.tick_ms as i32,
            session_timeout_max_ms: 20 * self.settings.tick_ms as i32,
            snap_count: self.settings.snap_count,
            container_check_interval_ms: 3000,
            server_id: self.id as u8 + 1,
            hold_writes_behind_reads: self.settings.fronts > 1,
            seed: 11 + self.life,
            ..Settings::default()
        };
        settings.rules.owners = OWNERS;
        let reconfig = self.settings.ensemble.as_ref().is_some_and(|ensemble| ensemble.reconfig);
        (settings.rules.reconfig_enabled, settings.rules.skip_acl) = (reconfig, reconfig);
        settings
    }

    /// Ends its process at once.
    pub fn fail(&mut self, ground: &mut Ground, outage: Outage) {
        let Some(running) = self.running.take() else { return };
        ground.note(format_args!("server {} goes: {outage:?}", self.id));
        let clients = running.io.iter().flat_map(|io| io.conns.keys().copied());
        let mut wires: Vec<(WireId, End)> = clients.map(|wire| (wire, End::Listener)).collect();
        wires.extend(running.ports.iter().flat_map(|ports| ports.wires()));
        drop(running);
        for (wire, end) in wires {
            match outage {
                Outage::Power if ground.net.port(wire) != Port::Client => {
                    ground.net.orphan(wire, end);
                }
                Outage::Power if self.dice.one_in(2) => ground.net.vanish(wire, end),
                Outage::Power => ground.net.break_wire(&mut ground.agenda, wire),
                Outage::Kill => ground.net.close(&mut ground.agenda, wire, end),
            }
        }
        if outage == Outage::Power {
            self.disk = self.disk.crash(self.dice.draw());
            self.fault = None;
        }
    }

    /// Ends all faults of the disk, planned and past.
    pub fn repair(&mut self) {
        self.disk.repair();
        self.fault = None;
        self.slowness = 1;
    }

    /// What the disk was slow with is done soon.
    pub fn hurry(&mut self, ground: &mut Ground) {
        let Some(running) = &mut self.running else { return };
        for stage in [Stage::Log, Stage::Snapshots, Stage::History] {
            running.planned.remove(&stage);
        }
        self.plan_all(ground);
    }

    /// Lets the disk fail at one of its next operations.
    pub fn plan_disk_fault(&mut self, fault: Fault) {
        let at = self.disk.operations() + self.dice.between(1, 30);
        self.disk.fail_at(at, fault);
        self.fault = Some(fault);
    }

    /// Makes the disk so many times slower than usual.
    pub fn slow_disk(&mut self, times: u64) {
        self.slowness = times;
    }

    /// Stops the process from running until then.
    pub fn freeze(&mut self, until: Micros) {
        self.frozen_until = until;
    }

    /// Moves the wall clock.
    pub fn jump_clock(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// What it holds now; none if it is down.
    pub fn held(&self) -> Option<Holding> {
        let running = self.running.as_ref()?;
        Some(self.holding(&running.shared, None))
    }

    fn holding(&self, shared: &Shared, amiss: Option<String>) -> Holding {
        let tree = &shared.tree;
        Holding {
            server: self.id,
            life: self.life,
            zxid: tree.last_zxid(),
            chain: 0,
            serving: shared.serving,
            digest: tree.digest(),
            amiss,
            state: State::of(tree),
        }
    }

    /// Something has arrived at its end of a wire.
    pub fn arrival(&mut self, ground: &mut Ground, wire: WireId, delivery: Delivery) {
        if self.running.is_some() && ground.net.port(wire) != Port::Client {
            self.peer_arrival(ground, wire, delivery);
            return self.plan_all(ground);
        }
        let Some(running) = &mut self.running else {
            // Nobody listens: the kernel of a machine that is up says so.
            return match delivery {
                Delivery::Closed => {}
                // Not even that, if the machine is off. Who goes on talking will be told.
                Delivery::Bytes(_) if ground.net.port(wire) != Port::Client => {}
                _ => ground.net.break_wire(&mut ground.agenda, wire),
            };
        };
        let now = clock(ground, self.wall_offset_ms);
        match delivery {
            Delivery::Accepted => {}
            Delivery::Opened => {
                let io = self.dice.below(running.io.len() as u64) as usize;
                let addr = "127.0.0.1:40000".parse().expect("an address");
                let conn = running.io[io].front.open(now, Peer { addr });
                running.io[io].conns.insert(wire, conn);
                running.io[io].sockets.insert(conn, Socket { wire, inbox: Vec::new() });
            }
            Delivery::Bytes(bytes) => match running.find(wire) {
                Some((io, conn)) => {
                    if let Some(socket) = running.io[io].sockets.get_mut(&conn) {
                        socket.inbox.extend(bytes);
                    }
                    // Half a request keeps nobody alive.
                    if running.feed(now, io, conn, self.dice.one_in(8)) {
                        ground.history.contact(ground.agenda.now(), wire);
                    }
                    running.flush(ground, now, io);
                }
                // A connection of an earlier life.
                None => ground.net.break_wire(&mut ground.agenda, wire),
            },
            Delivery::Closed => {
                if let Some((io, conn)) = running.find(wire) {
                    running.drop_conn(ground, now, io, conn);
                    running.flush(ground, now, io);
                }
            }
        }
        self.plan_all(ground);
    }

    /// A stage of it gets to run.
    pub fn turn(&mut self, ground: &mut Ground, life: u64, stage: Stage) {
        if life != self.life || self.running.is_none() {
            return;
        }
        let now = self.now(ground);
        let Some(running) = &mut self.running else { return };
        if running.planned.get(&stage).is_some_and(|at| *at > ground.agenda.now()) {
            return;
        }
        running.planned.remove(&stage);
        let done = match stage {
            Stage::Io(0) => {
                self.core_turn(ground, now);
                self.write_alone(ground, now)
            }
            Stage::Io(io) => {
                running.remote_turn(ground, now, io);
                Ok(())
            }
            Stage::Log => self.log_turn(ground),
            Stage::Snapshots => {
                running.snapshot_turn();
                Ok(())
            }
            Stage::History => {
                self.history_turn(ground);
                Ok(())
            }
        };
        if let Err(error) = done {
            return self.log_failed(ground, &error);
        }
        self.plan_all(ground);
    }

    /// As `IoThread::write_alone`: a batch may be written without its thread, and what follows from
    /// it is done at once.
    fn write_alone(&mut self, ground: &mut Ground, now: Now) -> Result<(), String> {
        let Server { running: Some(running), dice, .. } = self else { return Ok(()) };
        let Some(batch) = running.to_log.take_held() else { return Ok(()) };
        if dice.one_in(4) {
            running.to_log.push(LogCommand::Append(batch));
            return Ok(());
        }
        ground.note(format_args!("server {} writes {} itself", self.id, batch.last_zxid));
        running.to_log.left = 0;
        let append = LogCommand::Append(batch);
        let turned = running.log.turn(append, &mut running.to_log, &running.reports);
        turned.map_err(|error| error.to_string())?;
        self.core_turn(ground, now);
        if let Some(running) = &mut self.running {
            running.to_log.release();
        }
        Ok(())
    }

    /// The log cannot be written: the process ends, and the machine too if it has no power.
    pub(super) fn log_failed(&mut self, ground: &mut Ground, error: &str) {
        ground.note(format_args!("server {} ends: {error}", self.id));
        if self.fault.is_none() {
            let why = format!("server {}, life {}: {error}", self.id, self.life);
            ground.history.failed_starts.push(why);
        }
        let powerless = self.fault == Some(Fault::Stop);
        self.fail(ground, if powerless { Outage::Power } else { Outage::Kill });
        self.repair();
        let delay = self.dice.between(50, 2000) * MS;
        ground.agenda.plan(delay, Event::Start { server: self.id });
    }

    /// The turn of the thread that has the core, as `IoThread::core_turn` takes it.
    fn core_turn(&mut self, ground: &mut Ground, now: Now) {
        let Some(running) = &mut self.running else { return };
        (0..running.reports.chunks.take()).for_each(|_| running.core.snapshot_written());
        if running.reports.over.take() {
            running.core.snapshot_done();
            running.archive.look_again();
        }
        self.hear_peers(ground, now);
        let Some(running) = &mut self.running else { return };
        let mut messages = std::mem::take(&mut running.to_core);
        match running.mistake {
            Some(Mistake::TakesMailBackwards) => messages.reverse(),
            Some(Mistake::HoldsMessages) => {
                messages = running.hold(ground.agenda.now(), messages, &mut self.dice);
            }
            _ => {}
        }
        for (from, message) in messages {
            let message = running.misheard(now, message);
            running.core.submit(&running.shared, now, from, message.borrow());
        }
        running.core.wake(&running.shared, now);
        running.core.end_turn(now);
        self.effects(ground);
        let Some(running) = &mut self.running else { return };
        running.disk_reports(ground, self.id, now);
        let most = self.dice.between(1, 40) as usize;
        for _ in 0..most {
            let Running { core, shared, committed, .. } = &mut **running;
            committed.zxid = Zxid::ZERO;
            if !core.apply_next(shared, now, committed) {
                break;
            }
            if committed.zxid == Zxid::ZERO {
                // A change of role.
                if shared.serving {
                    let (now, zxid) = (ground.agenda.now(), shared.tree.last_zxid());
                    ground.note(format_args!("server {} serves from {zxid}", self.id));
                    ground.history.serves(now, self.id, self.life, zxid);
                    self.wiped = false;
                }
                continue;
            }
            let (digest, serving) = (shared.tree.digest(), shared.serving);
            ground.history.applied(self.id, self.life, serving, committed.zxid, digest);
            running.deliver(now, &mut self.dice);
        }
        running.core.snapshot_step(&mut running.shared);
        running.core.end_turn(now);
        self.effects(ground);
        let Some(running) = &mut self.running else { return };
        running.work(now, 0);
        running.io[0].front.sweep();
        running.flush(ground, now, 0);
        self.effects(ground);
    }

    /// Carries out what the core wants done, in its order.
    fn effects(&mut self, ground: &mut Ground) {
        let now = self.now(ground);
        let Some(running) = &mut self.running else { return };
        running.core.end_turn(now);
        while let Some(effect) = running.core.poll_effect() {
            match effect {
                Effect::Append(batch) => {
                    let leads = running.core.peer().filter(|peer| peer.leading().is_some());
                    let leads = leads.and_then(|peer| peer.established());
                    ground.history.appended(ground.agenda.now(), self.id, &batch, leads);
                    ground.note(format_args!("server {} appends to {}", self.id, batch.last_zxid));
                    if running.mistake == Some(Mistake::AnswersBeforeSync) {
                        running.reports.synced(batch.last_zxid, Default::default());
                    }
                    let ensemble = self.settings.ensemble.as_ref();
                    let alone = ensemble.is_some_and(|ensemble| ensemble.writes_alone);
                    // A leader leaves its log to the log's thread.
                    match alone && running.core.state() != Some(oxkeeper_zab::State::Leading) {
                        true => running.to_log.hold(batch),
                        false => running.to_log.push(LogCommand::Append(batch)),
                    }
                }
                Effect::RollLog => running.to_log.push(LogCommand::Roll),
                Effect::SnapshotBegin(head) => {
                    running.to_snapshots.push_back(SnapshotCommand::Begin(head));
                }
                Effect::SnapshotChunk(chunk) => {
                    running.to_snapshots.push_back(SnapshotCommand::Chunk(chunk));
                }
                Effect::SnapshotEnd => running.to_snapshots.push_back(SnapshotCommand::End),
                Effect::SnapshotAbandon => {
                    running.to_snapshots.push_back(SnapshotCommand::Abandon);
                }
                Effect::Peer(PeerEffect::ConfigSeen(_)) => {
                    self.membership = running.configured(ground, self.id, false);
                }
                Effect::Peer(PeerEffect::ConfigHeard(_)) => running.heard(),
                Effect::Peer(PeerEffect::ConfigActive(_)) => {
                    self.membership = running.configured(ground, self.id, true);
                }
                Effect::Peer(effect) => {
                    if !running.peer_effect(ground, self.id, now, effect) {
                        return self.log_failed(ground, "the agreement gives up");
                    }
                }
                Effect::Tell(FrontId(0), message) => {
                    let Running { core, shared, io, .. } = &mut **running;
                    let mut link = LocalLink { core, shared };
                    io[0].front.told(shared, now, message, &mut link);
                    running.core.end_turn(now);
                }
                Effect::Tell(to, message) => {
                    running.io[usize::from(to.0)].mail.push_back(Mail::Told(message));
                }
            }
        }
        running.flush(ground, now, 0);
    }

    /// Plans turns for every stage that has something to do.
    fn plan_all(&mut self, ground: &mut Ground) {
        let Server { running: Some(running), dice, slowness, id, life, settings, .. } = self else {
            return;
        };
        let stalls = settings.stalls_once_in;
        let mut wanted = Vec::new();
        for io in 0..running.io.len() {
            if running.wants_turn(io) {
                // Other threads than the core's have reads to answer and may be long about it.
                let most = if io == 0 { 300 } else { 3 * MS };
                wanted.push((Stage::Io(io), delay(dice, stalls, 1, most)));
            }
        }
        if running.to_log.can_go_on() {
            wanted.push((Stage::Log, delay(dice, stalls, 100, 4 * MS) * *slowness));
        }
        if !running.to_snapshots.is_empty() {
            wanted.push((Stage::Snapshots, delay(dice, stalls, 200, 10 * MS) * *slowness));
        }
        if running.archive.has_work() {
            wanted.push((Stage::History, delay(dice, stalls, 100, 5 * MS) * *slowness));
        }
        let votes = running.ports.as_ref().and_then(|ports| ports.votes.deadline_ms());
        let deadline =
            running.core.deadline_us().into_iter().chain(votes.map(|ms| ms * 1000)).min();
        if let Some(at) = deadline {
            // A moment more, so that what has arrived meanwhile is read first.
            let at = at.saturating_sub(MONO_START_US) + 2;
            wanted.push((Stage::Io(0), at.saturating_sub(ground.agenda.now())));
        }
        for (stage, delay) in wanted {
            let at = ground.agenda.now() + delay;
            let sooner = |planned: &Micros| match stage {
                // What is under way is not hurried by more of it.
                Stage::Log | Stage::Snapshots | Stage::History => true,
                Stage::Io(_) => *planned <= at,
            };
            if !running.planned.get(&stage).is_some_and(sooner) {
                running.planned.insert(stage, at);
                ground.agenda.plan_at(at, Event::Turn { server: *id, life: *life, stage });
            }
        }
    }

    fn now(&self, ground: &Ground) -> Now {
        clock(ground, self.wall_offset_ms)
    }
}

/// A delay, mostly of this range, now and then much longer.
fn delay(dice: &mut Dice, longer_once_in: u64, low: Micros, high: Micros) -> Micros {
    let delay = dice.between(low, high);
    if dice.one_in(longer_once_in) { delay * 20 } else { delay }
}

fn clock(ground: &Ground, offset_ms: i64) -> Now {
    let mono_us = ground.agenda.now() + MONO_START_US;
    Now { mono_us, wall_ms: WALL_START_MS + (mono_us / 1000) as i64 + offset_ms }
}

/// As a server is configured that allows TTL znodes.
fn boot_options() -> BootOptions {
    BootOptions {
        data_dir: DATA.into(),
        data_log_dir: DATA.into(),
        open: Default::default(),
        recovery: Default::default(),
        tree: TreeOptions { hash_seed: 7, digest_enabled: true, owner_rules: OWNERS },
        snapshot: SnapshotPolicy {
            compression: Compression::None,
            zxid_section: true,
            purge: Some(PurgePolicy { retain: 3, every: None }),
        },
    }
}

/// What recovery should never find after any of the faults that we make.
fn amiss(report: &BootReport) -> Option<String> {
    let log = &report.log;
    let found = [
        (report.digest_mismatches > 0, "transactions whose digest is not the tree's"),
        (log.gap.is_some(), "a gap in the log"),
        (log.out_of_order > 0, "entries out of order"),
        (report.orphans > 0, "ephemerals without a session"),
        (report.unreadable_acls > 0, "unreadable access control lists"),
    ];
    let found: Vec<&str> = found.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    (!found.is_empty()).then(|| found.join(", "))
}
