//! What the tree costs here: memory per znode, time to read, write, list, snapshot and load, and
//! the longest single step of each, which is what a client would feel.
//!
//! `cargo run --release -p oxkeeper-tree --example tree_cost [znodes]`
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it measures: it needs a clock

use std::hint::black_box;
use std::time::{Duration, Instant};

use oxkeeper_proto::txn::{CreateTxn, SetDataTxn};
use oxkeeper_proto::{OPEN_ACL_UNSAFE, OpCode, Payload, Put, SessionId, Txn, TxnHeader, Zxid};
use oxkeeper_tree::snapshot::{SnapshotSource, load};
use oxkeeper_tree::{Changes, Chunk, Tree, TreeOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DATA: [u8; 100] = [7; 100];

/// How the znodes are spread.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A thousand children a parent.
    Wide,
    /// Topics with partitions with a state each: five of eight znodes have children, one to four.
    Kafka,
    /// All below one parent.
    Flat,
}

fn main() {
    let arg = |n: usize| std::env::args().nth(n);
    let znodes: usize = arg(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    match arg(2).as_deref() {
        Some("wide") => measure(Shape::Wide, znodes),
        Some("kafka") => measure(Shape::Kafka, znodes),
        Some("flat") => measure(Shape::Flat, znodes),
        // Each in a process of its own: an allocator does not forget.
        _ => {
            let own = std::env::current_exe().expect("this program");
            for shape in ["wide", "kafka", "flat"] {
                let znodes = znodes.to_string();
                let status = std::process::Command::new(&own).args([&znodes, shape]).status();
                assert!(status.expect("it runs").success());
            }
        }
    }
}

/// Resident bytes of this process, 0 where the system does not say.
fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4_096.0 / 1e6
}

/// Time this thread was running: others on the machine do not count. Exact to a few ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Durations of single steps.
struct Steps(Vec<Duration>);

impl Steps {
    /// As many as fit: the room is there before memory is measured.
    fn new() -> Steps {
        let mut steps = vec![Duration::MAX; 1 << 20];
        steps.clear();
        Steps(steps)
    }

    fn add(&mut self, start: Instant) {
        if self.0.len() < self.0.capacity() {
            self.0.push(start.elapsed());
        }
    }

    /// The longest ones are mostly other programs' turns, hence the parts.
    fn report(&mut self, what: &str) {
        self.0.sort_unstable();
        let part = |per_mille: usize| {
            let at = (self.0.len() * per_mille / 10_000).min(self.0.len().saturating_sub(1));
            self.0.get(at).copied().unwrap_or_default()
        };
        let (p99, p999, p9999) = (part(9_900), part(9_990), part(9_999));
        println!("  {what}: p99 {p99:?}, p999 {p999:?}, p9999 {p9999:?}, max {:?}", part(10_000));
        self.0.clear();
    }
}

impl Shape {
    /// Paths in the order in which they can be created.
    fn paths(self, znodes: usize) -> impl Iterator<Item = String> {
        (0..znodes).map(move |n| match self {
            Shape::Wide => match (n / 1001, n % 1001) {
                (app, 0) => format!("/app-{app:03}"),
                (app, inst) => format!("/app-{app:03}/inst-{inst:010}"),
            },
            Shape::Kafka => {
                let (topic, part) = (n / 8, n % 8);
                let topic = format!("/topic-{topic:06}");
                match part {
                    0 => topic,
                    1 => format!("{topic}/partitions"),
                    n if n % 2 == 0 => format!("{topic}/partitions/{}", n / 2 - 1),
                    n => format!("{topic}/partitions/{}/state", n / 2 - 1),
                }
            }
            Shape::Flat => match n {
                0 => "/flat".to_owned(),
                n => format!("/flat/inst-{n:010}"),
            },
        })
    }
}

struct Bench {
    tree: Tree,
    changes: Changes,
    zxid: i64,
    steps: Steps,
}

impl Bench {
    fn apply(&mut self, op: OpCode, txn: Txn<'_>) {
        self.zxid += 1;
        let zxid = Zxid(self.zxid);
        let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time_ms: self.zxid, op };
        let start = Instant::now();
        let code = self.tree.apply(&Payload { header, txn, digest: None }, &mut self.changes, None);
        self.steps.add(start);
        assert!(code.is_ok());
        if self.changes.len() > 100 {
            self.changes.clear();
        }
    }

    fn create(&mut self, path: &str) {
        let create = CreateTxn {
            op: OpCode::CREATE,
            path: path.into(),
            data: Some(&DATA),
            acl: OPEN_ACL_UNSAFE,
            ephemeral: false,
            parent_cversion: -1,
            ttl_ms: -1,
        };
        self.apply(OpCode::CREATE, Txn::Create(create));
    }

    fn set(&mut self, path: &str) {
        let set = SetDataTxn { path: path.into(), data: Some(&DATA), version: 1 };
        self.apply(OpCode::SET_DATA, Txn::SetData(set));
    }

    fn report(&mut self, what: &str, count: usize, took: Duration) {
        let each = took.as_nanos() as f64 / count.max(1) as f64;
        println!("  {what}: {each:.0} ns each");
        if !self.steps.0.is_empty() {
            self.steps.report("  single");
        }
    }
}

/// Numbers in no order, the same each time.
fn scattered(count: usize, below: usize) -> Vec<usize> {
    let mut state = 1u64;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        })
        .collect()
}

fn measure(shape: Shape, znodes: usize) {
    println!("{shape:?}, {znodes} znodes of {} bytes", DATA.len());
    let tree = Tree::new(TreeOptions { hash_seed: 1, ..TreeOptions::default() });
    let mut bench = Bench { tree, changes: Changes::new(), zxid: 0, steps: Steps::new() };
    let empty = resident_mb();
    let start = cpu();
    shape.paths(znodes).for_each(|path| bench.create(&path));
    bench.report("create", znodes, cpu() - start);
    let full = resident_mb();
    let each = (full - empty) * 1e6 / znodes as f64;
    println!("  memory: {:.1} MB, {each:.1} B a znode", full - empty);

    let some: Vec<String> = {
        let wanted = scattered(200_000, znodes);
        let all: Vec<String> = shape.paths(znodes).collect();
        wanted.into_iter().map(|n| all[n].clone()).collect()
    };
    reads_and_writes(&mut bench, &some);
    listing(&mut bench, shape);
    let file = snapshot(&mut bench, &some, shape);
    println!("  memory after the snapshot: {:.1} MB", resident_mb());
    loading(&file, bench);
}

fn reads_and_writes(bench: &mut Bench, some: &[String]) {
    let mut out = Vec::new();
    let start = cpu();
    for path in some {
        let node = bench.tree.node(path).expect("it exists");
        out.clear();
        out.put_buffer(node.data());
        node.stat().encode(&mut out);
        black_box(&out);
    }
    bench.report("read", some.len(), cpu() - start);
    let start = cpu();
    some.iter().for_each(|path| bench.set(path));
    bench.report("set", some.len(), cpu() - start);
}

fn listing(bench: &mut Bench, shape: Shape) {
    let path = match shape {
        Shape::Wide => "/app-000",
        Shape::Kafka => "/",
        Shape::Flat => "/flat",
    };
    let mut out = Vec::new();
    let rounds = if let Shape::Wide = shape { 100_000 } else { 20 };
    let start = cpu();
    for _ in 0..rounds {
        out.clear();
        let taking = Instant::now();
        let list = bench.tree.children_handles(path).expect("it exists");
        bench.steps.add(taking);
        list.encode(&mut out);
        black_box(&out);
    }
    let children = bench.tree.node(path).expect("it exists").num_children();
    println!("  {children} children listed in {:?}", (cpu() - start) / rounds);
    bench.steps.report("  taking the handles");
}

/// A snapshot while znodes are set, created and deleted, and the chunks encoded a few steps late.
fn snapshot(bench: &mut Bench, some: &[String], shape: Shape) -> Vec<u8> {
    let mut file = Vec::with_capacity(300 << 20);
    let begin = Instant::now();
    let head = bench.tree.snapshot_begin().expect("no other");
    println!("  snapshot begun in {:?}", begin.elapsed());
    head.encode(&mut file);
    let mut steps = Steps::new();
    let mut late: std::collections::VecDeque<Chunk> = std::collections::VecDeque::new();
    let mut kept = 0;
    let mut writes = some.iter().cycle();
    let mut written = 0;
    loop {
        let start = Instant::now();
        let chunk = bench.tree.snapshot_next(256);
        steps.add(start);
        let ended = chunk.is_none();
        late.extend(chunk);
        if (late.len() > 8 || ended)
            && let Some(chunk) = late.pop_front()
        {
            chunk.encode(&mut file);
        }
        if ended && late.is_empty() {
            break;
        }
        if !ended {
            for _ in 0..50 {
                bench.set(writes.next().expect("endless"));
                written += 1;
            }
            if let Shape::Flat | Shape::Wide = shape {
                let path = format!("/new-{written}");
                bench.create(&path);
                bench.apply(OpCode::DELETE, Txn::Delete(path.into()));
            }
        }
        kept = kept.max(bench.tree.snapshot_kept());
    }
    head.encode_end(&mut file);
    let nodes = file.len() / 1_000_000;
    let stepping: Duration = steps.0.iter().sum();
    println!("  snapshot of {nodes} MB: {} steps, {stepping:?} in all", steps.0.len());
    println!("    {written} sets meanwhile, at most {kept} znodes kept");
    steps.report("  steps");
    bench.steps.report("  writes meanwhile");
    file.extend_from_slice(&[0; 13]);
    file
}

/// A file in memory whose seal is not looked at: storage knows what that costs.
struct Memory<'a> {
    rest: &'a [u8],
}

impl SnapshotSource for Memory<'_> {
    type Error = std::io::Error;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], Self::Error> {
        match self.rest.split_at_checked(len) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn check_seal(&mut self) -> Result<(), Self::Error> {
        self.next_bytes(13).map(|_| ())
    }

    fn remaining(&mut self, max: usize) -> Result<usize, Self::Error> {
        Ok(self.rest.len().min(max + 1))
    }
}

fn loading(file: &[u8], bench: Bench) {
    let znodes = bench.tree.node_count();
    drop(bench);
    let options = TreeOptions { hash_seed: 2, ..TreeOptions::default() };
    let start = cpu();
    let loaded = load(&mut Memory { rest: file }, options, Zxid(1)).expect("what was written");
    println!("  loaded in {:?}, {znodes} znodes", cpu() - start);
    black_box(loaded.tree.digest());
}
