//! TRUNC: going back to every zxid there is, and being interrupted at every operation of it.

use std::path::Path;

use oxkeeper_proto::Zxid;
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_storage::snapshots::list_snapshots;
use oxkeeper_storage::{Compression, Disk, LogReader, SimDisk, TruncateError, TxnLog};
use proptest::prelude::*;

use crate::support::{batch, log_options, open, payload, recover, write_snapshot};

const LAST: i64 = 24;

/// Logs from 1, 9 and 17 on, snapshots at 0, 8 and 16.
fn disk() -> SimDisk {
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
    disk
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new("/data/version-2")).unwrap()
}

#[test]
fn every_zxid_can_be_gone_back_to() {
    let whole = disk();
    for zxid in 1..=LAST {
        let disk = whole.crash(0);
        let dir = open(&disk).unwrap();
        let truncated = dir.truncate(Zxid(zxid)).unwrap();
        let log = truncated.log.map(|(name, _)| name);
        assert_eq!(log, Some(format!("log.{:x}", (zxid - 1) / 8 * 8 + 1)));
        assert_eq!(truncated.last, Some(Zxid(zxid)));
        let image = disk.crash(zxid as u64);
        let recovered = recover(&open(&image).unwrap()).unwrap();
        assert_eq!(recovered.last, zxid);
        assert_eq!(recovered.snapshot, Some(zxid / 8 * 8).map(|s| s.min(16)));
        assert_eq!(recovered.report.cut, [], "the cut was clean");

        // Other txns can follow.
        let dir = open(&image).unwrap();
        let path = dir.log_dir().to_owned();
        let mut log = TxnLog::new(image.clone(), path, log_options(), Zxid(zxid));
        log.append(&batch(zxid + 1, zxid + 2), Zxid(zxid + 2)).unwrap();
        drop(dir);
        assert_eq!(recover(&open(&image).unwrap()).unwrap().last, zxid + 2);
    }
}

/// The leader believes that we have it. What is left is a beginning of what it knows, too.
#[test]
fn what_is_before_a_zxid_that_is_not_there_is_kept() {
    let disk = disk();
    let dir = open(&disk).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(LAST));
    log.append(&batch(LAST + 5, LAST + 5), Zxid(LAST + 5)).unwrap();
    drop(dir);
    for (zxid, last) in [(LAST + 9, LAST + 5), (LAST + 4, LAST), (LAST + 1, LAST)] {
        let disk = disk.crash(0);
        let truncated = open(&disk).unwrap().truncate(Zxid(zxid)).unwrap();
        assert_eq!(truncated.last, Some(Zxid(last)), "{zxid}");
    }
    let truncated = open(&disk).unwrap().truncate(Zxid(0)).unwrap();
    assert_eq!((truncated.last, truncated.log), (None, None));
    assert_eq!(files(&disk), ["snapshot.0"]);
    assert_eq!(recover(&open(&disk).unwrap()).unwrap().last, 0);
}

#[test]
fn without_an_older_snapshot_a_leader_must_send_one() {
    let disk = disk();
    let dir = open(&disk).unwrap();
    for old in ["snapshot.0", "snapshot.8"] {
        disk.remove(&dir.snapshot_dir().join(old)).unwrap();
    }
    let operations = disk.operations();
    let error = dir.truncate(Zxid(12)).unwrap_err();
    assert!(matches!(error, TruncateError::Impossible { .. }), "{error}");
    assert_eq!(disk.operations(), operations, "nothing was touched");
    dir.truncate(Zxid(16)).unwrap();
}

#[test]
fn damage_before_the_zxid_changes_nothing() {
    let disk = disk();
    let dir = open(&disk).unwrap();
    disk.rot(&dir.log_dir().join("log.9"), 100, 1);
    let operations = disk.operations();
    let error = dir.truncate(Zxid(14)).unwrap_err();
    assert!(matches!(error, TruncateError::Read(_)), "{error}");
    assert_eq!(disk.operations(), operations, "nothing was touched");
}

#[test]
fn an_interrupted_truncation_leaves_a_prefix_and_can_be_repeated() {
    let whole = disk();
    for zxid in [3, 8, 13, 20] {
        for operation in 1.. {
            let disk = whole.crash(0);
            let dir = open(&disk).unwrap();
            disk.fail_at(disk.operations() + operation, Fault::Stop);
            if dir.truncate(Zxid(zxid)).is_ok() {
                assert!(operation > 3, "a truncation of {operation} operations");
                break;
            }
            for seed in 0..10 {
                let image = disk.crash(seed);
                let recovered = recover(&open(&image).unwrap()).unwrap();
                let (last, snapshot) = (recovered.last, recovered.snapshot.unwrap());
                assert!((zxid..=LAST).contains(&last), "{zxid} at {operation}: {last}");
                assert!(snapshot <= last);
                assert_eq!(recovered.report.gap, None);
                open(&image).unwrap().truncate(Zxid(zxid)).unwrap();
                let again = recover(&open(&image).unwrap()).unwrap();
                assert_eq!(again.last, zxid);
            }
        }
    }
}

/// A history as a member may have it: epochs that begin anew, logs that begin and snapshots that
/// are taken anywhere, the power cut now and then.
#[derive(Debug, Clone)]
enum Step {
    Txns(u8),
    Epoch,
    Roll,
    Snapshot,
    Restart(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..9u8).prop_map(Step::Txns),
        2 => Just(Step::Epoch),
        2 => Just(Step::Roll),
        2 => Just(Step::Snapshot),
        1 => (0..9u64).prop_map(Step::Restart),
    ];
    proptest::collection::vec(step, 1..16)
}

/// What is written: the disk, the zxids in its logs, and those of its snapshots.
fn written(steps: &[Step]) -> (SimDisk, Vec<i64>, Vec<i64>) {
    let mut disk = SimDisk::new();
    let mut dir = open(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(0));
    let (mut zxids, mut snapshots, mut epoch, mut last) = (vec![], vec![0], 1i64, 0i64);
    for step in steps {
        match step {
            Step::Txns(count) => {
                let first = if last >> 32 == epoch { last + 1 } else { epoch << 32 | 1 };
                last = first + i64::from(*count) - 1;
                log.append(&batch(first, last), Zxid(last)).unwrap();
                zxids.extend(first..=last);
            }
            Step::Epoch => epoch += 1,
            Step::Roll => log.roll().unwrap(),
            Step::Snapshot => {
                write_snapshot(&dir, last, Compression::None).unwrap();
                snapshots.push(last);
            }
            Step::Restart(seed) => {
                log.settle().unwrap();
                drop((log, dir));
                disk = disk.crash(*seed);
                dir = open(&disk).unwrap();
                let path = dir.log_dir().to_owned();
                log = TxnLog::new(disk.clone(), path, log_options(), Zxid(last));
            }
        }
    }
    log.settle().unwrap();
    (disk, zxids, snapshots)
}

fn in_logs(disk: &SimDisk) -> Vec<i64> {
    let mut reader = LogReader::new(disk.clone(), "/data/version-2".into(), Zxid(0)).unwrap();
    let mut zxids = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        assert!(entry.payload == payload(entry.zxid.0), "{:x}", entry.zxid.0);
        zxids.push(entry.zxid.0);
    }
    zxids
}

fn of_snapshots(disk: &SimDisk) -> Vec<i64> {
    let found = list_snapshots(disk, Path::new("/data/version-2")).unwrap();
    found.iter().rev().map(|snapshot| snapshot.zxid.0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// ZOOKEEPER-1156, 1489: exactly what is behind the place goes, wherever it is: within a file,
    /// at the edge of one, in an earlier one, between two epochs, before or behind everything.
    #[test]
    fn what_is_behind_any_place_of_any_history_goes_and_nothing_else(steps in steps()) {
        let (whole, zxids, snapshots) = written(&steps);
        prop_assert_eq!(&in_logs(&whole), &zxids);
        let last = zxids.last().copied().unwrap_or(0);
        let mut places: Vec<i64> = zxids.iter().flat_map(|zxid| [*zxid, *zxid + 1]).collect();
        places.extend((0..=(last >> 32) + 1).map(|epoch| epoch << 32));
        places.sort_unstable();
        places.dedup();
        for to in places {
            let disk = whole.crash(0);
            let truncated = open(&disk).unwrap().truncate(Zxid(to)).unwrap();
            let kept: Vec<i64> = zxids.iter().copied().filter(|zxid| *zxid <= to).collect();
            prop_assert_eq!(truncated.last, kept.last().copied().map(Zxid), "to {:x}", to);
            let image = disk.crash(to as u64);
            prop_assert_eq!(&in_logs(&image), &kept, "to {:x}", to);
            let mut left: Vec<i64> = snapshots.iter().copied().filter(|zxid| *zxid <= to).collect();
            left.dedup();
            prop_assert_eq!(of_snapshots(&image), left, "to {:x}", to);
        }
    }
}
