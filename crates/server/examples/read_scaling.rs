//! How reads scale with Fronts while one writer applies transactions.
//!
//! N threads, each with a Front that is fed the bytes of a pipelining client, read a shared tree
//! behind the lock that the server uses, while another thread applies 50,000 transactions a second
//! to it and hands every one to every Front. No sockets: what is measured is the lock, the queue
//! between threads and the Fronts themselves. Prints reads per second for N = 1 up to the number of
//! cores, and the ratio to N = 1.
//!
//! `cargo run --release -p oxkeeper-server --example read_scaling [seconds per round]`

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oxkeeper_node::limits::APPLY_BATCH;
use oxkeeper_node::{
    Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Outcome, OutcomeKind, Peer,
    Settings, Shared, ToCore, ToFront,
};
use oxkeeper_proto::connect::{ConnectRequest, begin_frame, end_frame};
use oxkeeper_proto::request::{CreateRequest, PathWatch, RequestHeader, SetDataRequest};
use oxkeeper_proto::{OPEN_ACL_UNSAFE, OpCode, Request, SessionId, Zxid};
use oxkeeper_server::clock::Clock;
use oxkeeper_server::tree_lock::TreeLock;
use oxkeeper_tree::{Tree, TreeOptions};
use parking_lot::Mutex;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ZNODES: usize = 10_000;
const TXNS_PER_SECOND: u64 = 50_000;
/// What one read from a socket brings at most.
const BYTES_PER_TURN: usize = 32 << 10;
const ROUNDS: usize = 5;

type Queue = Mutex<VecDeque<Arc<Committed>>>;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut medians = Vec::new();
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); cores];
    for _ in 0..ROUNDS {
        for fronts in 1..=cores {
            rounds[fronts - 1].push(measure(fronts, Duration::from_secs_f64(seconds)));
        }
    }
    for (index, mut round) in rounds.into_iter().enumerate() {
        round.sort_by(f64::total_cmp);
        medians.push(round[ROUNDS / 2]);
        println!(
            "{} fronts: {:>6.2} M reads/s, {:.2} of one",
            index + 1,
            medians[index] / 1e6,
            medians[index] / medians[0]
        );
    }
}

fn measure(fronts: usize, duration: Duration) -> f64 {
    let clock = Clock::new();
    let shared =
        Shared { tree: Tree::new(TreeOptions::default()), serving: true, read_only: false };
    let settings = Arc::new(Settings::default());
    let mut writer = Writer {
        core: Core::new(Arc::clone(&settings), &shared, clock.now()),
        clock,
        shared: Arc::new(TreeLock::new(shared)),
        queues: (0..fronts).map(|_| Arc::default()).collect(),
        body: Vec::new(),
        session: SessionId::NONE,
    };
    writer.connect();
    for n in 0..ZNODES {
        writer.create(&path(n));
    }
    let shared = Arc::clone(&writer.shared);
    let queues = writer.queues.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (index, queue) in queues.iter().enumerate() {
            let front = Front::new(FrontId(index as u16), Arc::clone(&settings));
            let (shared, stop, reads) = (&shared, &stop, &reads);
            named("front")
                .spawn_scoped(scope, move || read(front, clock, shared, queue, stop, reads))
                .expect("a thread");
        }
        let stop = &stop;
        named("writer").spawn_scoped(scope, move || writer.write(stop)).expect("a thread");
        std::thread::sleep(duration / 4);
        let (before, began) = (reads.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(duration);
        let rate = (reads.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        rate
    })
}

/// So that a profile tells them apart.
fn named(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into())
}

fn path(n: usize) -> String {
    format!("/n{n:06}")
}

/// One I/O thread without its sockets.
fn read(
    mut front: Front,
    clock: Clock,
    shared: &TreeLock,
    queue: &Queue,
    stop: &AtomicBool,
    reads: &AtomicU64,
) {
    let id = open(&mut front, clock, shared);
    let (bytes, requests) = requests();
    let mut link = Nowhere;
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let used = shared.read_in_slices(&bytes, |shared, slice, fresh| {
            let mail = if fresh { std::mem::take(&mut *queue.lock()) } else { VecDeque::new() };
            for committed in mail {
                front.committed(shared, now, &committed, &mut link);
            }
            front.receive(shared, now, id, slice, &mut link)
        });
        assert_eq!(used, bytes.len());
        let sent = front.output(id).len();
        assert!(sent as u64 > requests * 100, "every request is answered with its znode's data");
        front.sent(id, sent);
        reads.fetch_add(requests, Ordering::Relaxed);
    }
}

fn open(front: &mut Front, clock: Clock, shared: &TreeLock) -> ConnId {
    let now = clock.now();
    let id = front.open(now, Peer { addr: "127.0.0.1:1".parse().expect("an address") });
    let mut bytes = Vec::new();
    let start = begin_frame(&mut bytes);
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 10_000,
        session: SessionId::NONE,
        password: None,
        read_only: None,
    }
    .encode(&mut bytes);
    end_frame(&mut bytes, start);
    front.receive(&shared.read(), now, id, &bytes, &mut Nowhere);
    let renewed = ToFront::Opened { conn: id, session: SessionId(1), timeout_ms: 10_000 };
    front.told(&shared.read(), now, renewed, &mut Nowhere);
    let sent = front.output(id).len();
    front.sent(id, sent);
    id
}

/// As many getData frames as one read from a socket brings, over paths far apart.
fn requests() -> (Vec<u8>, u64) {
    let (mut bytes, mut count) = (Vec::new(), 0);
    while bytes.len() + 64 < BYTES_PER_TURN {
        let start = begin_frame(&mut bytes);
        RequestHeader { xid: count as i32 + 1, op: OpCode::GET_DATA }.encode(&mut bytes);
        let path = path(count as usize * 7919 % ZNODES);
        Request::GetData(PathWatch { path: path.into(), watch: false }).encode(&mut bytes);
        end_frame(&mut bytes, start);
        count += 1;
    }
    (bytes, count)
}

/// The core's thread without its log: what it proposes counts as synced at once.
struct Writer {
    core: Core,
    clock: Clock,
    shared: Arc<TreeLock>,
    queues: Vec<Arc<Queue>>,
    body: Vec<u8>,
    session: SessionId,
}

impl Writer {
    /// Opens the session that writes.
    fn connect(&mut self) {
        let message = ToCore::Connect {
            conn: ConnId { slot: 0, generation: 0 },
            session: SessionId::NONE,
            password_ok: false,
            timeout_ms: 40_000,
        };
        self.core.submit(&self.shared.read(), self.clock.now(), FrontId(u16::MAX), message);
        self.commit();
        assert_ne!(self.session, SessionId::NONE, "the session is open");
    }

    fn create(&mut self, path: &str) {
        self.body.clear();
        Request::Create(CreateRequest {
            op: OpCode::CREATE,
            path: path.into(),
            data: Some(&[7; 100]),
            acl: OPEN_ACL_UNSAFE,
            flags: 0,
            ttl_ms: -1,
        })
        .encode(&mut self.body);
        self.submit(OpCode::CREATE);
        self.commit();
    }

    fn write(&mut self, stop: &AtomicBool) {
        let began = Instant::now();
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * TXNS_PER_SECOND as f64) as u64;
            while written < due {
                self.body.clear();
                let path = path(written as usize * 31 % ZNODES);
                let set = SetDataRequest { path: path.into(), data: Some(&[9; 100]), version: -1 };
                Request::SetData(set).encode(&mut self.body);
                self.submit(OpCode::SET_DATA);
                written += 1;
            }
            self.commit();
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn submit(&mut self, op: OpCode) {
        let auth = Arc::from([]);
        let conn = ConnId { slot: 0, generation: 0 };
        let session = self.session;
        let (xid, nth, body, auth) = (1, 0, &self.body, &auth);
        let message = ToCore::Write { conn, session, xid, nth, op, body, auth };
        self.core.submit(&self.shared.read(), self.clock.now(), FrontId(u16::MAX), message);
    }

    fn commit(&mut self) {
        self.core.end_turn(self.clock.now());
        while let Some(effect) = self.core.poll_effect() {
            if let Effect::Append(batch) = effect {
                self.core.synced(batch.last_zxid);
            }
        }
        let now = self.clock.now();
        while self.core.can_apply() {
            let mut shared = self.shared.write();
            for _ in 0..APPLY_BATCH {
                let mut committed = Committed::default();
                if !self.core.apply_next(&mut shared, now, &mut committed) {
                    break;
                }
                if let Some(Outcome { kind: OutcomeKind::Connected { session, .. }, .. }) =
                    committed.outcome
                {
                    self.session = session;
                }
                let committed = Arc::new(committed);
                for queue in &self.queues {
                    queue.lock().push_back(Arc::clone(&committed));
                }
            }
        }
    }
}

/// Reads send the core nothing.
struct Nowhere;

impl CoreLink for Nowhere {
    fn submit(&mut self, _: oxkeeper_node::Now, _: FrontId, _: ToCore<'_>) {}
}
