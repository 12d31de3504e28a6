//! A host in miniature: one server on a simulated disk, with clients that speak bytes.
//!
//! It does what the real one does with threads and sockets, one thing after the other: which thread
//! gets on when is for the workload to say. The log and the snapshots have queues of their own, so
//! both lag behind the core as they do in a process.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_node::core::ThrottleSettings;
use oxkeeper_node::{
    Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Now, Peer, Settings, Shared, ToCore,
};
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::response::ReplyHeader;
use oxkeeper_proto::{Request, SessionId, Zxid};
use oxkeeper_server::boot::{BootError, BootOptions, BootReport, boot};
use oxkeeper_server::log_thread::{
    FlushPolicy, LogCommand, LogInbox, LogReports, LogWorker, Rebuilt,
};
use oxkeeper_server::snapshot_thread::{
    PurgePolicy, SnapshotCommand, SnapshotPolicy, SnapshotReports, SnapshotWorker,
};
use oxkeeper_storage::{Compression, LogError, SimDisk, TxnLog, TxnLogOptions};
use oxkeeper_tree::{OwnerRules, TreeOptions};
use oxkeeper_zab::Epochs;

use crate::state::State;

/// Where the directories are on the disk.
pub const DATA: &str = "/data";

/// As a server is configured that allows TTL znodes.
pub fn options() -> BootOptions {
    BootOptions {
        data_dir: DATA.into(),
        data_log_dir: DATA.into(),
        open: Default::default(),
        recovery: Default::default(),
        tree: TreeOptions {
            hash_seed: 7,
            digest_enabled: true,
            owner_rules: OwnerRules { extended_types: true, emulate_353: false },
        },
        snapshot: SnapshotPolicy {
            compression: Compression::None,
            zxid_section: true,
            purge: Some(PurgePolicy { retain: 3, every: None }),
        },
    }
}

fn settings() -> Settings {
    let mut settings = Settings {
        tick_time_ms: 1000,
        session_timeout_min_ms: 1000,
        snap_count: 24,
        container_check_interval_ms: 4000,
        throttle: ThrottleSettings::default(),
        seed: 11,
        ..Settings::default()
    };
    settings.rules.owners.extended_types = true;
    settings
}

/// What log and snapshots have reported and the core has not yet been told.
#[derive(Debug, Default)]
struct Reports {
    synced: Cell<Option<Zxid>>,
    chunks: Cell<usize>,
    over: Cell<bool>,
}

impl LogReports for Reports {
    fn synced(&self, zxid: Zxid, _: Duration) {
        self.synced.set(Some(zxid));
    }

    fn epochs_saved(&self, epochs: Epochs) {
        unreachable!("a standalone server has no {epochs:?}");
    }

    fn ensemble_id_saved(&self, _: u128) {}

    fn rebuilt(&self, rebuilt: Rebuilt) {
        unreachable!("a standalone server keeps its history: {:?}", rebuilt.disk);
    }

    fn failed(&self, error: LogError) {
        unreachable!("workers return their errors: {error}");
    }
}

impl SnapshotReports for Reports {
    fn chunk_written(&self) {
        self.chunks.set(self.chunks.get() + 1);
    }

    fn snapshot_over(&self) {
        self.over.set(true);
    }
}

/// Commands that wait, and a time that stands still.
#[derive(Debug, Default)]
struct Waiting(VecDeque<LogCommand>);

impl LogInbox for Waiting {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, _: Duration) -> Option<LogCommand> {
        self.0.pop_front()
    }

    fn pause(&self, _: Duration) {}
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

/// A client with a session.
#[derive(Debug)]
pub struct Client {
    id: ConnId,
    pub session: SessionId,
    xid: i32,
    left: Vec<u8>,
}

/// A running server.
pub struct Host {
    shared: Shared,
    core: Core,
    front: Front,
    log: LogWorker<SimDisk>,
    snapshots: SnapshotWorker<SimDisk>,
    to_log: Waiting,
    to_snapshots: VecDeque<SnapshotCommand>,
    reports: Reports,
    now: Now,
    /// The state at each zxid that was applied, the one booted from first; if asked for.
    states: Option<Vec<Rc<State>>>,
    pub report: BootReport,
    /// Replies and events that clients got.
    pub answers: u64,
}

impl Host {
    /// Boots whatever is on the disk. `record` keeps the state at every zxid.
    pub fn boot(disk: &SimDisk, now: Now, record: bool) -> Result<Host, BootError> {
        let options = options();
        let booted = boot(disk.clone(), &options)?;
        let settings = Arc::new(settings());
        let mut core = Core::new(Arc::clone(&settings), &booted.shared, now);
        if booted.wants_snapshot {
            core.request_snapshot();
        }
        // Small enough that files are extended in the middle of a workload.
        let log_options = TxnLogOptions { prealloc_bytes: 8 << 10, ..TxnLogOptions::default() };
        let log_dir = booted.dir.log_dir().to_owned();
        let last = booted.shared.tree.last_zxid();
        let log = TxnLog::new(disk.clone(), log_dir, log_options, last);
        let policy =
            FlushPolicy { delay: Duration::ZERO, batch_max: 1000, slow: Duration::from_secs(1) };
        let states = record.then(|| vec![Rc::new(State::of(&booted.shared.tree))]);
        Ok(Host {
            core,
            front: Front::new(FrontId(0), settings),
            shared: booted.shared,
            log: LogWorker::new(log, policy),
            snapshots: SnapshotWorker::new(booted.dir, options.snapshot),
            to_log: Waiting::default(),
            to_snapshots: VecDeque::new(),
            reports: Reports::default(),
            now,
            states,
            report: booted.report,
            answers: 0,
        })
    }

    /// What clients could have seen: everything applied.
    pub fn served(&self) -> Zxid {
        self.shared.tree.last_zxid()
    }

    pub fn state(&self) -> State {
        State::of(&self.shared.tree)
    }

    pub fn check(&self, when: &str) {
        self.state().check(&self.shared.tree, when);
    }

    pub fn states(&mut self) -> Vec<Rc<State>> {
        self.states.take().unwrap_or_default()
    }

    /// Whether nothing waits for the log.
    pub fn is_settled(&self) -> bool {
        self.core.outstanding() == 0 && self.to_log.0.is_empty()
    }

    /// Sends a handshake; its answer comes once the session is in the log.
    pub fn connect(&mut self, timeout_ms: i32) -> Client {
        let addr = "127.0.0.1:40000".parse().unwrap();
        let id = self.front.open(self.now, Peer { addr });
        let password = SessionId::NONE.password();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms,
            session: SessionId::NONE,
            password: Some(&password),
            read_only: Some(false),
        };
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        request.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(id, &bytes);
        Client { id, session: SessionId::NONE, xid: 0, left: Vec::new() }
    }

    /// Sends a request without waiting for anything.
    pub fn send(&mut self, client: &mut Client, request: &Request<'_>) {
        client.xid += 1;
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        RequestHeader { xid: client.xid, op: request.op() }.encode(&mut bytes);
        request.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(client.id, &bytes);
    }

    /// The client's socket breaks; its session lives on until it expires.
    pub fn lose(&mut self, client: &Client) {
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        self.front.closed(self.now, client.id, &mut link);
        self.effects();
    }

    /// Whether the server still talks to the client.
    pub fn talks_to(&self, client: &Client) -> bool {
        let state = self.front.state(client.id);
        !state.close_now && !state.close_after_output
    }

    /// Time passes: sessions expire, containers are looked at.
    pub fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        self.core.wake(&self.shared, self.now);
        self.core.end_turn(self.now);
        self.effects();
    }

    pub fn now(&self) -> Now {
        self.now
    }

    /// The log thread gets on: everything queued is written and synced, then applied and answered.
    pub fn log_turn(&mut self) -> Result<(), LogError> {
        if let Some(first) = self.to_log.0.pop_front() {
            self.log.turn(first, &mut self.to_log, &self.reports)?;
        }
        if let Some(synced) = self.reports.synced.take() {
            self.core.synced(synced);
            self.apply();
        }
        Ok(())
    }

    /// The log is idle for a while.
    pub fn log_idle(&mut self) -> Result<(), LogError> {
        self.log_turn()?;
        self.log.settle()
    }

    /// The snapshot thread gets on by some commands, and the core's walk with it.
    pub fn snapshot_turn(&mut self, commands: usize) {
        for _ in 0..commands {
            let Some(command) = self.to_snapshots.pop_front() else { break };
            self.snapshots.carry_out(command, &self.reports);
        }
        (0..self.reports.chunks.take()).for_each(|_| self.core.snapshot_written());
        if self.reports.over.take() {
            self.core.snapshot_done();
        }
        self.core.snapshot_step(&mut self.shared);
        self.effects();
    }

    /// Whether a snapshot is being taken.
    pub fn snapshot_under_way(&self) -> bool {
        self.core.snapshot_running() || !self.to_snapshots.is_empty()
    }

    /// Reads what the server has sent. Every answer must be of the past: nothing that it shows may
    /// still be on its way to the disk.
    pub fn read(&mut self, client: &mut Client) {
        let bytes = self.front.output(client.id).to_vec();
        self.front.sent(client.id, bytes.len());
        client.left.extend(bytes);
        let mut left = std::mem::take(&mut client.left);
        let mut rest = &left[..];
        while let Ok(Some((frame, after))) = split_frame(rest, usize::MAX) {
            rest = after;
            self.answers += 1;
            let mut reader = Reader::new(frame);
            if client.session == SessionId::NONE {
                client.session = ConnectResponse::decode(&mut reader).unwrap().session;
                continue;
            }
            let header = ReplyHeader::decode(&mut reader).unwrap();
            assert!(header.zxid <= self.served(), "{} was answered too early", header.zxid);
        }
        let used = left.len() - rest.len();
        left.drain(..used);
        client.left = left;
    }

    fn receive(&mut self, id: ConnId, bytes: &[u8]) {
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        let used = self.front.receive(&self.shared, self.now, id, bytes, &mut link);
        assert!(used == bytes.len() || self.front.state(id).close_now, "requests are held back");
        self.core.end_turn(self.now);
        self.effects();
    }

    fn effects(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Append(batch) => self.to_log.0.push_back(LogCommand::Append(batch)),
                Effect::RollLog => self.to_log.0.push_back(LogCommand::Roll),
                Effect::SnapshotBegin(head) => {
                    self.to_snapshots.push_back(SnapshotCommand::Begin(head));
                }
                Effect::SnapshotChunk(chunk) => {
                    self.to_snapshots.push_back(SnapshotCommand::Chunk(chunk));
                }
                Effect::SnapshotEnd => self.to_snapshots.push_back(SnapshotCommand::End),
                // A server that is alone has neither.
                Effect::SnapshotAbandon | Effect::Peer(_) => {}
                Effect::Tell(_, message) => {
                    let mut link = Link { core: &mut self.core, shared: &self.shared };
                    self.front.told(&self.shared, self.now, message, &mut link);
                    self.core.end_turn(self.now);
                }
            }
        }
    }

    fn apply(&mut self) {
        let mut out = Committed::default();
        while self.core.apply_next(&mut self.shared, self.now, &mut out) {
            let mut link = Link { core: &mut self.core, shared: &self.shared };
            self.front.committed(&self.shared, self.now, &out, &mut link);
            if let Some(states) = &mut self.states {
                states.push(Rc::new(State::of(&self.shared.tree)));
            }
        }
        self.core.end_turn(self.now);
        self.effects();
    }
}

/// The moment at which the first life begins.
pub fn start_time() -> Now {
    Now { mono_us: 60_000_000, wall_ms: 1_700_000_000_000 }
}

/// Names of the files on a disk.
pub fn files(disk: &SimDisk) -> Vec<String> {
    use oxkeeper_storage::Disk;
    let mut names = disk.list(&Path::new(DATA).join("version-2")).unwrap_or_default();
    names.sort();
    names
}
