//! SNAP: a leader's history takes the place of our own, interrupted at every operation of it.

use oxkeeper_proto::Zxid;
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_storage::{
    Compression, DataDir, Disk, DiskError, PreparedSnapshot, RecoveryError, SimDisk,
    SnapshotWriter, TruncateError, TxnLog,
};

use crate::support::{batch, log_options, open, recover, snapshot_bytes, write_snapshot};

const LAST: i64 = 24;

/// Logs from 1, 9 and 17 on, snapshots at 0, 8 and 16; and, perhaps, at the end.
fn disk(snapshot_at_end: bool) -> SimDisk {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(0));
    for first in (1..LAST).step_by(2) {
        if first % 8 == 1 {
            log.roll().unwrap();
            write_snapshot(&dir, first - 1, Compression::None).unwrap();
        }
        log.append(&batch(first, first + 1), Zxid(first + 1)).unwrap();
    }
    log.settle().unwrap();
    if snapshot_at_end {
        write_snapshot(&dir, LAST, Compression::None).unwrap();
    }
    disk
}

fn received(
    dir: &DataDir<SimDisk>,
    zxid: i64,
    compression: Compression,
) -> Result<PreparedSnapshot<SimDisk>, DiskError> {
    let disk = dir.disk().clone();
    let mut writer = SnapshotWriter::receive(disk, dir.snapshot_dir(), Zxid(zxid), compression)?;
    writer.write(&snapshot_bytes(zxid))?;
    writer.seal()?;
    writer.prepare()
}

#[test]
fn the_new_history_goes_on_where_its_snapshot_ends() {
    for zxid in [0, 3, 16, 20, LAST, LAST + 7] {
        for compression in [Compression::None, Compression::Gzip] {
            let disk = disk(true);
            let dir = open(&disk).unwrap();
            dir.install(received(&dir, zxid, compression).unwrap()).unwrap();
            assert_eq!(dir.floor(), Zxid(zxid));
            let path = dir.log_dir().to_owned();
            let mut log = TxnLog::new(disk.clone(), path, log_options(), Zxid(zxid));
            log.append(&batch(zxid + 1, zxid + 3), Zxid(zxid + 3)).unwrap();
            drop(dir);
            for seed in 0..5 {
                let recovered = recover(&open(&disk.crash(seed)).unwrap()).unwrap();
                assert_eq!((recovered.snapshot, recovered.last), (Some(zxid), zxid + 3));
            }
        }
    }
}

/// Neither entries of the old history behind the new snapshot, nor a newer snapshot with the new
/// log, nor nothing at all.
#[test]
fn wherever_it_is_interrupted_there_is_one_history() {
    for snapshot_at_end in [false, true] {
        let whole = disk(snapshot_at_end);
        for zxid in [5, 16, 20, LAST, LAST + 7] {
            for operation in 1.. {
                let disk = whole.crash(0);
                let dir = open(&disk).unwrap();
                disk.fail_at(disk.operations() + operation, Fault::Stop);
                let prepared = received(&dir, zxid, Compression::None);
                if prepared.and_then(|prepared| dir.install(prepared)).is_ok() {
                    assert!(operation > 8, "an installation of {operation} operations");
                    break;
                }
                for seed in 0..10 {
                    let image = disk.crash(seed);
                    let dir = open(&image).unwrap();
                    // Checks that the log follows the snapshot without a gap.
                    let recovered = recover(&dir).unwrap();
                    let (last, snapshot) = (recovered.last, recovered.snapshot.unwrap());
                    // Our own log behind the leader's snapshot would be a third one.
                    let own = snapshot % 8 == 0 && (snapshot < LAST || snapshot_at_end);
                    let old = own && (zxid.min(LAST)..=LAST).contains(&last);
                    let new = snapshot == zxid && last == zxid;
                    let when = format!("{zxid} at {operation}: {snapshot} and {last}");
                    assert!(old || new, "{when}");
                    // The next attempt has it.
                    dir.install(received(&dir, zxid, Compression::None).unwrap()).unwrap();
                    let again = recover(&dir).unwrap();
                    assert_eq!((again.snapshot, again.last), (Some(zxid), zxid), "{when}");
                }
            }
        }
    }
}

/// The old log may hold what an old leader proposed and nobody accepted.
#[test]
fn what_lies_below_a_received_snapshot_does_not_stand_in_for_it() {
    let disk = disk(false);
    let dir = open(&disk).unwrap();
    let installed = dir.install(received(&dir, LAST, Compression::None).unwrap()).unwrap();
    dir.find_floor(Zxid(LAST)).unwrap();
    assert_eq!(dir.floor(), Zxid(LAST));
    let path = dir.log_dir().to_owned();
    let mut log = TxnLog::new(disk.clone(), path, log_options(), Zxid(LAST));
    log.append(&batch(LAST + 1, LAST + 1), Zxid(LAST + 1)).unwrap();
    disk.rot(&installed.path, 100, 1);
    let error = recover(&dir).unwrap_err();
    assert!(matches!(error, RecoveryError::Received { .. }), "{error}");
}

#[test]
fn one_that_is_not_installed_leaves_nothing() {
    let disk = disk(true);
    let dir = open(&disk).unwrap();
    let before = disk.list(dir.snapshot_dir()).unwrap();
    drop(received(&dir, LAST + 7, Compression::Gzip).unwrap());
    assert_eq!(disk.list(dir.snapshot_dir()).unwrap(), before);
    assert_eq!(recover(&dir).unwrap().last, LAST);
}

/// A snapshot is being taken while a leader has us give up what is in it.
#[test]
fn a_snapshot_of_a_history_that_is_over_is_not_published() {
    let disk = disk(false);
    let dir = open(&disk).unwrap();
    let taken_of = dir.lineage();
    let prepared = received(&dir, LAST, Compression::None).unwrap();
    let lineage = dir.next_lineage();
    dir.truncate(Zxid(20)).unwrap();
    assert!(dir.publish(prepared, taken_of).unwrap().is_none());
    assert_eq!(recover(&dir).unwrap().last, 20);
    let prepared = received(&dir, 20, Compression::None).unwrap();
    assert!(dir.publish(prepared, lineage).unwrap().is_some());
    assert_eq!(recover(&dir).unwrap().snapshot, Some(20));
}

#[test]
fn logs_that_are_read_are_not_purged() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(0));
    for first in (1..60).step_by(10) {
        log.roll().unwrap();
        write_snapshot(&dir, first - 1, Compression::None).unwrap();
        log.append(&batch(first, first + 9), Zxid(first + 9)).unwrap();
    }
    dir.claim_logs(7, Zxid(14));
    dir.claim_logs(8, Zxid(55));
    dir.purge(3, &mut || ()).unwrap();
    let names = disk.list(dir.log_dir()).unwrap();
    assert!(names.contains(&"log.b".into()) && !names.contains(&"log.1".into()), "{names:?}");
    dir.release_logs(7);
    dir.purge(3, &mut || ()).unwrap();
    let names = disk.list(dir.log_dir()).unwrap();
    assert!(!names.contains(&"log.b".into()) && names.contains(&"log.1f".into()), "{names:?}");
}

/// The next leader may not have all of it. Below lies another history, perhaps with what this
/// server alone had logged, and without what it has acknowledged since.
#[test]
fn nobody_goes_back_to_before_it() {
    let disk = disk(true);
    let dir = open(&disk).unwrap();
    dir.install(received(&dir, LAST + 7, Compression::None).unwrap()).unwrap();
    let path = dir.log_dir().to_owned();
    let mut log = TxnLog::new(disk.clone(), path, log_options(), Zxid(LAST + 7));
    for zxid in LAST + 8..LAST + 14 {
        log.append(&batch(zxid, zxid), Zxid(zxid)).unwrap();
        log.roll().unwrap();
    }
    let operations = disk.operations();
    for zxid in [3, 20, LAST, LAST + 6] {
        let error = dir.truncate(Zxid(zxid)).unwrap_err();
        assert!(matches!(error, TruncateError::Impossible { .. }), "{error}");
    }
    assert_eq!(disk.operations(), operations, "nothing was touched");
    for zxid in [LAST + 10, LAST + 7] {
        dir.truncate(Zxid(zxid)).unwrap();
        assert_eq!(recover(&dir).unwrap().last, zxid);
    }
}

/// It is noted before it is there; until then the old history is the one that counts.
#[test]
fn until_it_is_there_the_old_history_can_be_cut() {
    let whole = disk(true);
    for operation in 1.. {
        let disk = whole.crash(0);
        let dir = open(&disk).unwrap();
        let prepared = received(&dir, LAST + 7, Compression::None).unwrap();
        disk.fail_at(disk.operations() + operation, Fault::Stop);
        let done = dir.install(prepared).is_ok();
        drop(dir);
        let image = disk.crash(operation);
        let dir = open(&image).unwrap();
        let last = recover(&dir).unwrap().last;
        let cut = dir.truncate(Zxid(20));
        match last {
            LAST => assert_eq!(cut.unwrap().last, Some(Zxid(20))),
            _ => assert!(matches!(cut, Err(TruncateError::Impossible { .. })), "{last}: {cut:?}"),
        }
        if done {
            break;
        }
    }
}
