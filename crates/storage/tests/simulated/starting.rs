//! What a server starts with, and when it refuses to.
//!
//! The rules are Java's (`FileTxnSnapLog`, `FileSnap`), except where Java goes on with less than
//! it once knew without a word: those tests say so.

use std::path::Path;

use oxkeeper_proto::Zxid;
use oxkeeper_storage::recovery::RecoveryOptions;
use oxkeeper_storage::{
    Compression, DataDir, Disk, OpenError, OpenOptions, Recovery, RecoveryError, SimDisk, Start,
    TxnLog,
};

use crate::support::{DIR, batch, log_options, open, read_snapshot, recover, write_snapshot};

fn start(disk: &SimDisk, options: RecoveryOptions) -> Result<Start, RecoveryError> {
    let dir = open(disk).unwrap();
    Recovery::new(&dir, options).map(|recovery| recovery.start())
}

fn put(disk: &SimDisk, name: &str, bytes: &[u8]) {
    disk.put(&Path::new(DIR).join(name), bytes);
}

fn log_txns(disk: &SimDisk, first: i64, last: i64) {
    let dir = open(disk).unwrap();
    let path = dir.log_dir().to_owned();
    let mut log = TxnLog::new(disk.clone(), path, log_options(), Zxid(first - 1));
    log.append(&batch(first, last), Zxid(last)).unwrap();
}

#[test]
fn an_empty_directory_is_a_new_server_if_that_is_allowed() {
    let careful = RecoveryOptions { db_autocreate: false, ..RecoveryOptions::default() };
    let disk = SimDisk::new();
    assert_eq!(start(&disk, RecoveryOptions::default()).unwrap(), Start::Empty);
    assert_eq!(start(&disk, careful).unwrap(), Start::EmptyUntrusted);
    put(&disk, "initialize", b"");
    assert_eq!(start(&disk, careful).unwrap(), Start::Empty);
    // Used up once the first snapshot is there, not by a start that is interrupted before.
    assert_eq!(start(&disk, careful).unwrap(), Start::Empty);
    let dir = open(&disk).unwrap();
    let recovery = Recovery::new(&dir, careful).unwrap();
    let log = recovery.replay().unwrap();
    recovery.finish(log).unwrap();
    drop(dir);
    assert_eq!(start(&disk, careful).unwrap(), Start::Empty);
    open(&disk).unwrap().remove_initialize().unwrap();
    assert_eq!(start(&disk, careful).unwrap(), Start::EmptyUntrusted);
}

#[test]
fn logs_without_a_snapshot_are_refused_unless_trusted() {
    let disk = SimDisk::new();
    log_txns(&disk, 1, 4);
    let error = start(&disk, RecoveryOptions::default()).unwrap_err();
    assert!(matches!(error, RecoveryError::NoSnapshot(_)), "{error}");
    assert!(error.to_string().contains("zookeeper.snapshot.trust.empty"), "{error}");
    let trusting = RecoveryOptions { trust_empty_snapshot: true, ..RecoveryOptions::default() };
    assert_eq!(start(&disk, trusting).unwrap(), Start::LogsOnly);
    let dir = open(&disk).unwrap();
    let recovery = Recovery::new(&dir, trusting).unwrap();
    let log = recovery.replay().unwrap();
    assert_eq!(recovery.finish(log).unwrap().last, Some(Zxid(4)));
}

/// Java takes this for a new server and forgets everything.
#[test]
fn incomplete_snapshots_alone_are_not_an_empty_directory() {
    let disk = SimDisk::new();
    put(&disk, "version-2/snapshot.0", b"ZKSN");
    assert_eq!(start(&disk, RecoveryOptions::default()).unwrap(), Start::Empty);
    put(&disk, "version-2/snapshot.5", b"ZKSN");
    let error = start(&disk, RecoveryOptions::default()).unwrap_err();
    assert!(matches!(error, RecoveryError::NoWholeSnapshot(_)), "{error}");
}

#[test]
fn an_older_snapshot_will_do_if_the_logs_cover_the_newer() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    for zxid in [0, 4, 8] {
        write_snapshot(&dir, zxid, Compression::None).unwrap();
    }
    drop(dir);
    log_txns(&disk, 1, 9);
    disk.rot(Path::new("/data/version-2/snapshot.8"), 100, 1);
    let recovered = recover(&open(&disk).unwrap()).unwrap();
    assert_eq!((recovered.snapshot, recovered.last), (Some(4), 9));
    disk.rot(Path::new("/data/version-2/snapshot.4"), 100, 1);
    disk.rot(Path::new("/data/version-2/snapshot.0"), 100, 1);
    let error = recover(&open(&disk).unwrap()).unwrap_err();
    assert!(error.to_string().contains("none of the 3 snapshots can be read"), "{error}");
}

/// Java goes on without the txns between.
#[test]
fn an_unreadable_snapshot_that_knew_more_than_is_left_is_a_loss() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    write_snapshot(&dir, 8, Compression::Gzip).unwrap();
    drop(dir);
    log_txns(&disk, 1, 6);
    disk.rot(Path::new("/data/version-2/snapshot.8.gz"), 60, 1);
    let dir = open(&disk).unwrap();
    let mut recovery = Recovery::new(&dir, RecoveryOptions::default()).unwrap();
    let loaded = recovery.load(read_snapshot).unwrap();
    assert_eq!((loaded.zxid, loaded.unreadable.len()), (Zxid(0), 1));
    let log = recovery.replay().unwrap();
    let error = recovery.finish(log).unwrap_err();
    assert!(matches!(error, RecoveryError::Lost { last: Zxid(6), .. }), "{error}");
    drop(dir);
    log_txns(&disk, 7, 8);
    recover(&open(&disk).unwrap()).unwrap();
}

#[test]
fn directories_that_were_swapped_are_refused() {
    let open_two = |disk: &SimDisk| {
        let paths = (Path::new("/snapshots"), Path::new("/logs"));
        DataDir::open(disk.clone(), paths.0, paths.1, OpenOptions::default())
    };
    let disk = SimDisk::new();
    let dir = open_two(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(0));
    log.append(&batch(1, 3), Zxid(3)).unwrap();
    assert_eq!(recover(&dir).unwrap().last, 3);
    drop(dir);
    assert!(open_two(&disk).is_ok());
    disk.put(Path::new("/logs/version-2/snapshot.3"), b"");
    assert!(matches!(open_two(&disk), Err(OpenError::SnapshotsInLogDir(_))));
    disk.remove(Path::new("/logs/version-2/snapshot.3")).unwrap();
    disk.put(Path::new("/snapshots/version-2/log.1"), b"");
    assert!(matches!(open_two(&disk), Err(OpenError::LogsInSnapshotDir(_))));
}

#[test]
fn one_server_at_a_time() {
    let disk = SimDisk::new();
    let first = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::Lock(_))));
    drop(first);
    open(&disk).unwrap();
}

#[test]
fn a_missing_directory_is_created_only_if_allowed() {
    let disk = SimDisk::new();
    let path = Path::new("/data");
    let options = OpenOptions { autocreate: false };
    let error = DataDir::open(disk.clone(), path, path, options).unwrap_err();
    assert!(matches!(error, OpenError::Missing(_)), "{error}");
    drop(open(&disk).unwrap());
    DataDir::open(disk, path, path, options).unwrap();
}

#[test]
fn only_a_directory_that_was_empty_counts_as_created_by_us() {
    let disk = SimDisk::new();
    assert!(open(&disk).unwrap().created_by_us());
    log_txns(&disk, 1, 2);
    assert!(open(&disk).unwrap().created_by_us(), "also the next time");
    for file in ["version-2/snapshot.0", "version-2/log.1", "version-2/acceptedEpoch"] {
        let disk = SimDisk::new();
        put(&disk, file, b"1");
        assert!(!open(&disk).unwrap().created_by_us(), "{file}");
    }
}
