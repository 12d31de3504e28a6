//! What the disk does for a member of an ensemble: promises saved, the end of a history given up, a
//! leader's taken over, each interrupted at every operation, and booted afterwards.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_node::Batch;
use oxkeeper_proto::{Put, Zxid};
use oxkeeper_server::boot::{BootOptions, Booted, boot};
use oxkeeper_server::log_thread::{
    Epochs, FlushPolicy, LogCommand, LogInbox, LogReports, LogWorker, Rebuilt,
};
use oxkeeper_server::member::{MemberOptions, boot_member};
use oxkeeper_server::snapshot_link::SnapshotSource;
use oxkeeper_server::snapshot_thread::{SnapshotCommand, SnapshotReports, SnapshotWorker};
use oxkeeper_storage::past::EMPTIED_FILE;
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_storage::{
    Compression, Disk as _, LogError, SimDisk, SnapshotError, SnapshotReader, TxnLogOptions,
};
use oxkeeper_tree::snapshot::{Body, SIGNATURE};
use oxkeeper_zab::{Disk, Recovered};

use crate::host::{DATA, files, options, start_time};
use crate::state::{State, assert_equal};
use crate::workload::Life;

pub const MEMBER: MemberOptions =
    MemberOptions { db_autocreate: true, tail_count_max: 20, tail_bytes_max: 1 << 20 };

/// What the log thread has said.
#[derive(Debug, Default)]
pub struct Said {
    lines: RefCell<Vec<String>>,
    pub rebuilt: RefCell<Vec<Rebuilt>>,
}

impl LogReports for Said {
    fn synced(&self, zxid: Zxid, _: Duration) {
        self.lines.borrow_mut().push(format!("synced {}", zxid.0));
    }

    fn epochs_saved(&self, Epochs { accepted, current }: Epochs) {
        self.lines.borrow_mut().push(format!("epochs {accepted} {current}"));
    }

    fn ensemble_id_saved(&self, id: u128) {
        self.lines.borrow_mut().push(format!("ensemble {id:x}"));
    }

    fn rebuilt(&self, rebuilt: Rebuilt) {
        let line = match rebuilt.disk {
            Disk::Truncated { generation, last } => format!("truncated {generation} {}", last.0),
            Disk::SnapshotInstalled { generation } => format!("installed {generation}"),
            Disk::Reloaded { generation, last } => format!("reloaded {generation} {}", last.0),
            other => unreachable!("{other:?} exchanges nothing"),
        };
        self.lines.borrow_mut().push(line);
        self.rebuilt.borrow_mut().push(rebuilt);
    }

    fn failed(&self, error: LogError) {
        unreachable!("a worker returns its errors: {error}");
    }
}

#[derive(Debug, Default)]
struct Queue(VecDeque<LogCommand>);

impl LogInbox for Queue {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, _: Duration) -> Option<LogCommand> {
        self.0.pop_front()
    }

    fn pause(&self, _: Duration) {}
}

/// Chunks of a leader, and what was given back of them.
pub struct Chunks {
    chunks: VecDeque<Bytes>,
    dies: bool,
    rest: Arc<Mutex<Option<Bytes>>>,
}

impl Chunks {
    pub fn new(bytes: &[u8], len: usize) -> (Box<Chunks>, Arc<Mutex<Option<Bytes>>>) {
        let chunks = bytes.chunks(len).map(Bytes::copy_from_slice).collect();
        let rest = Arc::new(Mutex::new(None));
        (Box::new(Chunks { chunks, dies: false, rest: Arc::clone(&rest) }), rest)
    }
}

impl SnapshotSource for Chunks {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.chunks.pop_front() {
            None if self.dies => Err(io::ErrorKind::ConnectionReset.into()),
            chunk => Ok(chunk),
        }
    }

    fn give_back(mut self: Box<Self>, rest: Bytes) {
        let mut all = rest.to_vec();
        self.chunks.drain(..).for_each(|chunk| all.extend(chunk));
        *self.rest.lock().unwrap() = Some(all.into());
    }
}

struct Source(SnapshotReader);

impl oxkeeper_tree::snapshot::SnapshotSource for Source {
    type Error = SnapshotError;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], SnapshotError> {
        self.0.next_bytes(len)
    }

    fn check_seal(&mut self) -> Result<(), SnapshotError> {
        self.0.check_seal()
    }

    fn remaining(&mut self, max: usize) -> Result<usize, SnapshotError> {
        self.0.remaining(max)
    }
}

/// A member's files with a worker on them.
pub struct Member {
    pub booted: Booted<SimDisk>,
    recovered: Recovered,
    worker: LogWorker<SimDisk>,
    pub said: Said,
}

impl Member {
    pub fn start(disk: &SimDisk, options: &BootOptions, member: MemberOptions) -> Member {
        let (booted, recovered) = boot_member(disk.clone(), options, member)
            .unwrap_or_else(|error| panic!("{error}; files {:?}", files(disk)));
        let policy =
            FlushPolicy { delay: Duration::ZERO, batch_max: 1000, slow: Duration::from_secs(1) };
        let log = TxnLogOptions { prealloc_bytes: 8 << 10, ..TxnLogOptions::default() };
        let dir = Arc::clone(&booted.dir);
        let last = recovered.last_logged;
        let worker = LogWorker::member(dir, options.clone(), log, last, policy);
        Member { booted, recovered, worker, said: Said::default() }
    }

    pub fn boot(disk: &SimDisk) -> Member {
        Member::start(disk, &options(), MEMBER)
    }

    fn state(&self) -> State {
        State::of(&self.booted.shared.tree)
    }

    /// Carries out commands that are waiting at once, then settles as an idle thread does.
    pub fn run(&mut self, commands: impl IntoIterator<Item = LogCommand>) -> Result<(), LogError> {
        let mut queue = Queue(commands.into_iter().collect());
        while let Some(first) = queue.0.pop_front() {
            self.worker.turn(first, &mut queue, &self.said)?;
        }
        self.worker.settle()
    }

    fn said(&self) -> Vec<String> {
        self.said.lines.take()
    }

    pub fn tree(&self) -> State {
        State::of(&self.said.rebuilt.borrow_mut().pop().expect("a tree").tree)
    }
}

/// A transaction that every tree takes: an error.
pub fn append(zxids: &[i64]) -> LogCommand {
    let (mut payloads, mut ends) = (Vec::new(), Vec::new());
    for zxid in zxids {
        let mut payload = [0; 36];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        payload[28..32].copy_from_slice(&(-1i32).to_be_bytes());
        payloads.extend(payload);
        ends.push(payloads.len() as u32);
    }
    let last_zxid = Zxid(*zxids.last().unwrap());
    LogCommand::Append(Batch { payloads: payloads.into(), ends: ends.into(), last_zxid })
}

/// A transaction as it comes from a leader.
pub fn append_payload(zxid: Zxid, payload: &[u8]) -> LogCommand {
    let ends = [payload.len() as u32].into();
    let payloads = Bytes::copy_from_slice(payload);
    LogCommand::Append(Batch { payloads, ends, last_zxid: zxid })
}

/// One transaction with so many bytes more.
pub fn append_large(zxid: i64, more: usize) -> LogCommand {
    let LogCommand::Append(batch) = append(&[zxid]) else { unreachable!() };
    let mut payload = batch.payloads.to_vec();
    payload.extend(vec![7; more]);
    let ends = [payload.len() as u32].into();
    LogCommand::Append(Batch { payloads: payload.into(), ends, last_zxid: Zxid(zxid) })
}

/// A disk with some history, and what it was at every zxid.
pub fn history(seed: u64) -> (SimDisk, Life) {
    let disk = SimDisk::new();
    let life = Life::run(&disk, start_time(), seed, 60, true);
    assert!(life.served > Zxid(40), "only {} of history", life.served);
    (disk, life)
}

/// What a leader with these files sends, to its signature, and the state it stands for.
pub fn stream(seed: u64) -> (Vec<u8>, State) {
    let (disk, life) = history(seed);
    let mut booted = Member::boot(&disk).booted;
    let mut worker = SnapshotWorker::new(Arc::clone(&booted.dir), options().snapshot);
    worker.write_now(&mut booted.shared.tree).unwrap();
    let list = oxkeeper_storage::snapshots::list_snapshots(&disk, booted.dir.snapshot_dir());
    let newest = &list.unwrap()[0];
    let mut reader = Source(SnapshotReader::open(&disk, newest).unwrap());
    let mut bytes = Vec::new();
    assert!(Body::default().copy(&mut reader, &mut bytes, usize::MAX).unwrap());
    bytes.extend(SIGNATURE);
    (bytes, life.state_at(newest.zxid).unwrap().clone())
}

pub fn receive(generation: u64, zxid: Zxid, source: Box<Chunks>) -> LogCommand {
    LogCommand::ReceiveSnapshot { generation, zxid, source }
}

/// A snapshot that arrives.
pub fn receive_all(generation: u64, zxid: Zxid, bytes: &[u8]) -> LogCommand {
    receive(generation, zxid, Chunks::new(bytes, 1000).0)
}

const EPOCHS: fn(u32, u32) -> LogCommand =
    |accepted, current| LogCommand::SaveEpochs(Epochs { accepted, current });

#[test]
fn everything_is_reported_in_its_order_once_it_is_on_disk() {
    let (disk, life) = history(1);
    let last = life.served.0;
    let mut member = Member::boot(&disk);
    let next = 1 << 32;
    member
        .run([
            append(&[last + 1, last + 2]),
            EPOCHS(1, 0),
            LogCommand::Truncate { generation: 1, to: Zxid(last) },
            append(&[next + 1, next + 2]),
            EPOCHS(1, 1),
            append(&[next + 3]),
            LogCommand::Reload { generation: 2 },
            append(&[next + 4]),
        ])
        .unwrap();
    let expected = [
        format!("synced {}", last + 2),
        "epochs 1 0".into(),
        format!("truncated 1 {last}"),
        format!("synced {}", next + 2),
        "epochs 1 1".into(),
        format!("synced {}", next + 3),
        format!("reloaded 2 {}", next + 3),
        format!("synced {}", next + 4),
    ];
    assert_eq!(member.said(), expected);
    drop(member);
    for seed in 0..10 {
        let again = Member::boot(&disk.crash(seed));
        assert_eq!(again.recovered.last_logged, Zxid(next + 4));
        assert_eq!(again.recovered.epochs, Epochs { accepted: 1, current: 1 });
    }
}

#[test]
fn nothing_is_reported_that_a_power_cut_takes_back() {
    let (whole, life) = history(2);
    let last = life.served.0;
    for operation in 1.. {
        let disk = whole.crash(0);
        let mut member = Member::boot(&disk);
        disk.fail_at(disk.operations() + operation, Fault::Stop);
        let done = member.run([
            append(&[last + 1]),
            EPOCHS(3, 2),
            append(&[(2 << 32) + 1]),
            EPOCHS(4, 4),
            LogCommand::Truncate { generation: 1, to: Zxid(last) },
        ]);
        let said = member.said();
        drop(member);
        if done.is_ok() {
            assert!(operation > 20, "all of it in {operation} operations");
            break;
        }
        for seed in 0..6 {
            let again = Member::boot(&disk.crash(seed));
            let Epochs { accepted, current } = again.recovered.epochs;
            let has = |line: &str| said.iter().any(|said| said == line);
            let when = format!("{operation}, seed {seed}: {said:?}");
            assert!(accepted >= current, "{when}");
            assert!(!has("epochs 3 2") || (accepted, current) >= (3, 2), "{when}");
            assert!(!has("epochs 4 4") || (accepted, current) == (4, 4), "{when}");
            let zxid = again.recovered.last_logged.0;
            assert!(zxid >= last, "{when}");
            let second = format!("synced {}", (2i64 << 32) + 1);
            assert!(!has(&second) || has("epochs 4 4") || zxid == (2 << 32) + 1, "{when}");
        }
    }
}

#[test]
fn a_truncated_member_is_what_it_was_at_that_zxid() {
    let (whole, life) = history(3);
    let oldest = whole_snapshots(&whole)[0];
    for zxid in (oldest..=life.served.0).step_by(3) {
        let disk = whole.crash(0);
        let mut member = Member::boot(&disk);
        assert_equal(&member.state(), life.state_at(life.served).unwrap(), "at the start");
        member.run([LogCommand::Truncate { generation: 7, to: Zxid(zxid) }]).unwrap();
        let said = member.said();
        assert_eq!(said, [format!("truncated 7 {zxid}")]);
        assert_equal(&member.tree(), life.state_at(Zxid(zxid)).unwrap(), "truncated");
        drop(member);
        let again = Member::boot(&disk.crash(zxid as u64));
        assert_equal(&again.state(), life.state_at(Zxid(zxid)).unwrap(), "booted again");
    }
}

/// Snapshots of what is to be given up are all that is left: only a leader's can help, and the
/// report says that nothing was cut.
#[test]
fn going_back_behind_all_snapshots_changes_nothing_and_is_said() {
    let (disk, life) = history(3);
    let oldest = whole_snapshots(&disk)[0];
    assert!(oldest > 0, "nothing was purged");
    let before = files(&disk);
    let mut member = Member::boot(&disk);
    member.run([LogCommand::Truncate { generation: 1, to: Zxid(oldest - 1) }]).unwrap();
    assert_eq!(member.said(), [format!("truncated 1 {}", life.served.0)]);
    assert_equal(&member.tree(), life.state_at(life.served).unwrap(), "as it was");
    let mut after = files(&disk);
    after.retain(|name| !name.ends_with("Epoch") && name != "oxkeeper.held");
    assert_eq!(after, before);
}

/// TRUNC while the snapshot thread is in the middle of what is given up.
#[test]
fn a_snapshot_under_way_ends_with_its_history() {
    let (disk, life) = history(3);
    let mut member = Member::boot(&disk);
    let to = Zxid(life.served.0 - 3);
    let mut snapshots = SnapshotWorker::new(Arc::clone(&member.booted.dir), options().snapshot);
    let reports = Published::default();
    let tree = &mut member.booted.shared.tree;
    let head = tree.snapshot_begin().unwrap();
    snapshots.carry_out(SnapshotCommand::Begin(Box::new(head)), &reports);
    let chunk = tree.snapshot_next(usize::MAX).unwrap();
    member.run([LogCommand::Truncate { generation: 1, to }]).unwrap();
    snapshots.carry_out(SnapshotCommand::Chunk(chunk), &reports);
    snapshots.carry_out(SnapshotCommand::End, &reports);
    assert_eq!((reports.over.get(), reports.published.get()), (1, 0));
    assert!(whole_snapshots(&disk).into_iter().all(|zxid| zxid <= to.0));
    assert!(!files(&disk).iter().any(|name| name.starts_with("unfinished")));
    // The tree that was built instead can be written down.
    let mut tree = member.said.rebuilt.take().pop().unwrap().tree;
    snapshots.write_now(&mut tree).unwrap();
    assert!(whole_snapshots(&disk).contains(&to.0));
    drop(member);
    let again = Member::boot(&disk.crash(5));
    assert_equal(&again.state(), life.state_at(to).unwrap(), "booted again");
}

/// What the snapshot thread has said.
#[derive(Debug, Default)]
struct Published {
    over: Cell<u32>,
    published: Cell<u32>,
}

impl SnapshotReports for Published {
    fn chunk_written(&self) {}

    fn snapshot_over(&self) {
        self.over.set(self.over.get() + 1);
    }

    fn snapshot_published(&self, _: Duration) {
        self.published.set(self.published.get() + 1);
    }
}

/// Every moment of TRUNC: a beginning of the old history that has all that is to be kept.
#[test]
fn wherever_a_truncation_is_interrupted_a_beginning_is_left() {
    let (whole, life) = history(3);
    let to = Zxid(life.served.0 - 12);
    for operation in 1.. {
        let disk = whole.crash(0);
        let mut member = Member::boot(&disk);
        disk.fail_at(disk.operations() + operation, Fault::Stop);
        let done = member.run([LogCommand::Truncate { generation: 1, to }]);
        let truncated = !member.said().is_empty();
        drop(member);
        for seed in 0..6 {
            let again = Member::boot(&disk.crash(seed));
            let found = again.state();
            let when = format!("{operation}, seed {seed}");
            assert!(found.zxid >= to && (found.zxid == to || !truncated), "{when}");
            assert_equal(&found, life.state_at(found.zxid).unwrap(), &when);
        }
        if done.is_ok() {
            assert!(operation > 5, "all of it in {operation} operations");
            break;
        }
    }
}

fn whole_snapshots(disk: &SimDisk) -> Vec<i64> {
    let names = files(disk);
    let mut zxids: Vec<i64> = names
        .iter()
        .filter_map(|name| i64::from_str_radix(name.strip_prefix("snapshot.")?, 16).ok())
        .collect();
    zxids.sort_unstable();
    zxids
}

#[test]
fn a_received_snapshot_is_the_whole_history() {
    let (bytes, state) = stream(4);
    let theirs = Zxid(5 << 32 | 9);
    let (whole, life) = history(5);
    for (chunk, zxid, compression) in [
        (1, theirs, Compression::None),
        (7, theirs, Compression::Gzip),
        (4096, Zxid(5 << 32), Compression::Snappy),
        (1 << 20, Zxid(20), Compression::None),
    ] {
        let disk = whole.crash(0);
        let mut options = options();
        options.snapshot.compression = compression;
        let mut member = Member::start(&disk, &options, MEMBER);
        assert_equal(&member.state(), life.state_at(life.served).unwrap(), "at the start");
        let packets = b"packets that follow";
        let (source, rest) = Chunks::new(&[&bytes[..], packets].concat(), chunk);
        member.run([receive(3, zxid, source), append(&[zxid.0 + 1])]).unwrap();
        let next = format!("synced {}", zxid.0 + 1);
        assert_eq!(member.said(), ["installed 3".to_owned(), next]);
        assert_eq!(rest.lock().unwrap().as_deref(), Some(&packets[..]));
        let expected = State { zxid, ..state.clone() };
        assert_equal(&member.tree(), &expected, "installed");
        assert_eq!(member.booted.dir.floor(), zxid);
        drop(member);
        let again = Member::start(&disk.crash(1), &options, MEMBER);
        assert_eq!(again.recovered.last_logged, zxid.next());
        assert_eq!(again.recovered.tail.len(), 1, "what is older is not of this history");
        assert_eq!(again.booted.dir.floor(), zxid);
        let found = State { zxid, ..again.state() };
        assert_equal(&found, &expected, "booted again");
    }
}

#[test]
fn a_snapshot_that_does_not_arrive_changes_nothing() {
    let (bytes, _) = stream(4);
    let (disk, life) = history(5);
    let mut member = Member::boot(&disk);
    member.run([append(&[life.served.0 + 1])]).unwrap();
    let before = files(&disk);
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    // No sessions, no lists, a znode with a path of impossible length.
    let rubbish = [&[0; 8][..], &[0xff; 400]].concat();
    for (bytes, dies) in [
        (&bytes[..bytes.len() - 1], true),
        (&bytes[..bytes.len() / 2], true),
        (&bytes[..bytes.len() / 3], false),
        (&damaged[..], false),
        (&rubbish[..], true),
        (&[][..], true),
    ] {
        let (mut source, rest) = Chunks::new(bytes, 100);
        source.dies = dies;
        member.said();
        member.run([receive(1, Zxid(1 << 40), source)]).unwrap();
        assert_eq!(member.said(), [""; 0]);
        assert_eq!(*rest.lock().unwrap(), None);
        assert_eq!(files(&disk), before);
    }
    member.run([append(&[life.served.0 + 2]), LogCommand::Reload { generation: 2 }]).unwrap();
    let last = life.served.0 + 2;
    assert_eq!(member.said(), [format!("synced {last}"), format!("reloaded 2 {last}")]);
}

/// Every moment of SNAP: there is the old history up to where it was last, or the leader's.
#[test]
fn wherever_a_snapshot_is_interrupted_there_is_one_history() {
    let (bytes, state) = stream(6);
    let (whole, life) = history(7);
    // Inside the old history, too: a leader has cut it off without our knowing. Where the log alone
    // goes on behind it, and where there is a newer snapshot as well.
    let newest = *whole_snapshots(&whole).last().unwrap();
    assert!(newest + 5 < life.served.0 && newest > 10, "{newest} of {}", life.served);
    for zxid in [Zxid(newest + 2), Zxid(newest - 2), Zxid(2 << 32 | 5)] {
        let expected = State { zxid, ..state.clone() };
        for operation in 1.. {
            let disk = whole.crash(0);
            let mut member = Member::boot(&disk);
            disk.fail_at(disk.operations() + operation, Fault::Stop);
            let (source, _) = Chunks::new(&bytes, 4096);
            let done = member.run([receive(1, zxid, source)]);
            let installed = !member.said().is_empty();
            drop(member);
            for seed in 0..4 {
                let again = Member::boot(&disk.crash(seed));
                let found = again.state();
                let when = format!("{zxid} at {operation}, seed {seed}");
                let new = found == expected;
                assert!(new || !installed, "{when}: it was reported");
                if !new {
                    let old = life.state_at(found.zxid);
                    assert!(old.is_some() && found.zxid >= zxid.min(life.served), "{when}");
                    assert_equal(&found, old.unwrap(), &when);
                }
            }
            if done.is_ok() {
                assert!(operation > 10, "all of it in {operation} operations");
                break;
            }
        }
    }
}

#[test]
fn a_failing_disk_is_final() {
    let (bytes, _) = stream(6);
    let (whole, life) = history(7);
    let truncate = LogCommand::Truncate { generation: 1, to: Zxid(life.served.0 - 5) };
    let commands: [fn(&[u8]) -> LogCommand; 2] =
        [|bytes| receive(1, Zxid(3 << 32), Chunks::new(bytes, 4096).0), |_| EPOCHS(3, 3)];
    for at in 1..=4 {
        for fault in [Fault::Io, Fault::NoSpace] {
            for command in commands {
                let disk = whole.crash(0);
                let mut member = Member::boot(&disk);
                disk.fail_at(disk.operations() + at, fault);
                let failed = member.run([command(&bytes)]);
                let nothing = member.said().is_empty();
                assert_eq!(failed.is_err(), nothing, "{fault:?} at {at}");
                assert!(failed.is_err() || fault == Fault::NoSpace, "{fault:?} at {at}");
            }
        }
    }
    let mut member = Member::boot(&whole);
    whole.fail_at(whole.operations() + 1, Fault::Io);
    assert!(member.run([truncate]).is_err() && member.said().is_empty());
}

#[test]
fn a_member_that_has_lost_its_data_has_no_voice() {
    let disk = SimDisk::new();
    let fresh = Member::boot(&disk);
    assert!(fresh.recovered.trusted && fresh.recovered.last_logged == Zxid::ZERO);
    assert_eq!(files(&disk), ["acceptedEpoch", "currentEpoch", "snapshot.0"]);
    drop(fresh);
    // It has promised nothing yet.
    wipe(&disk);
    let mut again = Member::boot(&disk);
    assert!(again.recovered.trusted);
    again.run([append(&[1 << 32 | 1])]).unwrap();
    drop(again);
    wipe(&disk);
    let mut without = Member::boot(&disk);
    assert!(!without.recovered.trusted);
    assert_eq!(files(&disk), [""; 0], "nothing that a later start could take for data");
    // A leader has it start from nothing, after all: there must be a snapshot before the log.
    without.run([append(&[2 << 32 | 1])]).unwrap();
    drop(without);
    // It has a history again; what it has forgotten may matter still.
    let emptied = disk.crash(2);
    let disk = disk.crash(1);
    let mut again = Member::boot(&disk);
    assert!(!again.recovered.trusted && again.recovered.last_logged == Zxid(2 << 32 | 1));
    again.run([LogCommand::SaveTrust, append(&[2 << 32 | 2])]).unwrap();
    drop(again);
    assert!(Member::boot(&disk.crash(3)).recovered.trusted, "and now it does not");
    // An operator says that this is meant.
    wipe(&emptied);
    emptied.put(&Path::new(DATA).join("initialize"), b"");
    assert!(Member::boot(&emptied).recovered.trusted);
    let names = emptied.list(Path::new(DATA)).unwrap();
    assert!(!names.iter().any(|name| name == "initialize" || name == EMPTIED_FILE), "{names:?}");
}

/// Every moment at which a member may be told that it counts again: it does, or it does not, and
/// once it does, it goes on to.
#[test]
fn a_member_counts_again_for_good() {
    let disk = SimDisk::new();
    Member::boot(&disk).run([append(&[1 << 32 | 1])]).unwrap();
    wipe(&disk);
    Member::boot(&disk).run([append(&[2 << 32 | 1])]).unwrap();
    for operation in 1.. {
        let image = disk.crash(0);
        let mut member = Member::boot(&image);
        assert!(!member.recovered.trusted);
        image.fail_at(image.operations() + operation, Fault::Stop);
        let done = member.run([LogCommand::SaveTrust]).is_ok();
        drop(member);
        for seed in 0..4 {
            let again = Member::boot(&image.crash(seed));
            assert!(again.recovered.trusted || !done, "{operation}: forgotten");
            assert_eq!(again.recovered.last_logged, Zxid(2 << 32 | 1));
        }
        if done {
            assert!(operation > 1, "nothing was written");
            break;
        }
    }
}

fn wipe(disk: &SimDisk) {
    for name in files(disk) {
        disk.remove(&Path::new(DATA).join("version-2").join(name)).unwrap();
    }
}

#[test]
fn an_empty_database_counts_only_if_that_was_asked_for() {
    let careful = MemberOptions { db_autocreate: false, ..MEMBER };
    let disk = SimDisk::new();
    assert!(!Member::start(&disk, &options(), careful).recovered.trusted);
    assert_eq!(files(&disk), [""; 0]);
    disk.put(&Path::new(DATA).join("initialize"), b"");
    for operation in 1.. {
        let image = disk.crash(0);
        image.fail_at(operation, Fault::Stop);
        let done = boot_member(image.clone(), &options(), careful).is_ok();
        for seed in 0..4 {
            let again = Member::start(&image.crash(seed), &options(), careful);
            assert!(again.recovered.trusted, "{operation}: it was asked for, and is forgotten");
        }
        if done {
            break;
        }
    }
}

#[test]
fn epochs_are_what_the_files_say() {
    let in_epoch_5 = || {
        let disk = SimDisk::new();
        let mut member = Member::boot(&disk);
        member.run([append(&[5 << 32 | 1, 5 << 32 | 2])]).unwrap();
        drop(member);
        disk
    };
    type Files = &'static [(&'static str, &'static str)];
    let cases: [(Files, (u32, u32)); 7] = [
        (&[], (5, 5)),
        (&[("currentEpoch", "5")], (5, 5)),
        (&[("acceptedEpoch", "6")], (6, 5)),
        (&[("acceptedEpoch", "6"), ("currentEpoch", "5")], (6, 5)),
        // The log came first, the epoch was to follow.
        (&[("acceptedEpoch", "5"), ("currentEpoch", "4")], (5, 4)),
        // Java was writing it.
        (&[("acceptedEpoch", "5"), ("currentEpoch", "4"), ("currentEpoch.tmp", "5")], (5, 5)),
        // Java's empty server that does not trust itself.
        (&[("acceptedEpoch", "-1"), ("currentEpoch", "-1")], (0, 0)),
    ];
    for (contents, (accepted, current)) in cases {
        let disk = in_epoch_5();
        let dir = Path::new(DATA).join("version-2");
        disk.remove(&dir.join("acceptedEpoch")).unwrap();
        disk.remove(&dir.join("currentEpoch")).unwrap();
        disk.sync_dir(&dir).unwrap();
        for (name, text) in contents {
            disk.put(&dir.join(name), text.as_bytes());
        }
        let member = Member::boot(&disk);
        assert_eq!(member.recovered.epochs, Epochs { accepted, current }, "{contents:?}");
        drop(member);
        for file in ["acceptedEpoch", "currentEpoch"] {
            assert!(!disk.crash(3).bytes(&dir.join(file)).is_empty(), "{file}, {contents:?}");
        }
    }
    let disk = in_epoch_5();
    disk.put(&Path::new(DATA).join("version-2/currentEpoch"), b"4294967296");
    let error = boot_member(disk, &options(), MEMBER).unwrap_err().to_string();
    assert!(error.contains("currentEpoch"), "{error}");
}

#[test]
fn the_end_of_the_log_comes_along() {
    let (disk, life) = history(8);
    let member = Member::boot(&disk);
    let tail: Vec<i64> = member.recovered.tail.iter().map(|entry| entry.zxid.0).collect();
    let last = life.served.0;
    let count = (member.booted.report.replayed as i64).min(20);
    assert!(count > 0);
    assert_eq!(tail, (last - count + 1..=last).collect::<Vec<_>>());
    for entry in &member.recovered.tail {
        let payload = oxkeeper_proto::Payload::decode(&entry.payload).unwrap();
        assert_eq!(payload.header.zxid, entry.zxid);
    }
    drop(member);
    let few = MemberOptions { tail_bytes_max: 400, ..MEMBER };
    let member = Member::start(&disk, &options(), few);
    let bytes: usize = member.recovered.tail.iter().map(|entry| entry.payload.len()).sum();
    assert!(bytes <= 400, "{bytes}");
}

/// What a standalone server removes at its start belongs to everybody in an ensemble.
#[test]
fn ephemerals_without_a_session_stay_until_the_ensemble_says_otherwise() {
    let disk = SimDisk::new();
    let mut payload = Vec::new();
    payload.put_long(0x77);
    payload.put_int(1);
    payload.put_long(1 << 32 | 1);
    payload.put_long(1_700_000_000_000);
    payload.put_int(1);
    payload.put_string("/orphan");
    payload.put_buffer(Some(b"data"));
    // One list entry: all permissions for world:anyone.
    payload.put_int(1);
    payload.put_int(31);
    payload.put_string("world");
    payload.put_string("anyone");
    payload.put_bool(true);
    payload.put_int(1);
    let ends = [payload.len() as u32].into();
    let batch = Batch { payloads: payload.into(), ends, last_zxid: Zxid(1 << 32 | 1) };
    Member::boot(&disk).run([LogCommand::Append(batch)]).unwrap();
    let member = Member::boot(&disk.crash(0));
    assert_eq!(member.booted.report.orphans, 0);
    assert!(member.state().znodes.contains_key("/orphan"));
    assert!(!member.booted.shared.serving);
    let alone = boot(disk.crash(0), &options()).unwrap();
    assert_eq!(alone.report.orphans, 1);
    assert!(alone.shared.tree.node("/orphan").is_none());
}
