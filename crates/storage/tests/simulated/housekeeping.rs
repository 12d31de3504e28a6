//! What goes on beside reading and writing txns: purging, epochs, the growth of a log's file,
//! and the refusal of batches that nobody could read back.
//!
//! As everywhere in these tests, whatever changes the disk is interrupted at each of its
//! operations.

use std::path::Path;

use oxkeeper_proto::Zxid;
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_storage::{
    Compression, Disk, Epochs, LogError, SimDisk, TxnLog, TxnLogOptions, frame_entry,
};

use crate::support::{batch, log_options, open, payload, recover, write_snapshot};

/// Logs and snapshots every four txns up to 32; the snapshots are two behind the logs, as when
/// they were taken while txns went on.
fn used_directory() -> SimDisk {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(0));
    for first in (1..=32).step_by(4) {
        log.append(&batch(first, first + 3), Zxid(first + 3)).unwrap();
        log.roll().unwrap();
        write_snapshot(&dir, first + 1, Compression::None).unwrap();
    }
    disk
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new("/data/version-2")).unwrap()
}

#[test]
fn a_purge_keeps_what_recovery_needs() {
    let disk = used_directory();
    let dir = open(&disk).unwrap();
    // Looks whole, and therefore counts; a broken one does not.
    disk.put(Path::new("/data/version-2/snapshot.40"), b"broken");
    disk.put(Path::new("/data/version-2/snapshot.3"), b"broken, old");
    disk.put(Path::new("/data/version-2/other"), b"not ours");
    let removed = dir.purge(1, &mut || ()).unwrap();
    assert_eq!(removed.len(), 7 + 5, "{removed:?}");
    let kept = ["log.15", "log.19", "log.1d", "other"];
    let snapshots = ["snapshot.16", "snapshot.1a", "snapshot.1e", "snapshot.40"];
    assert_eq!(names(&disk), [kept.as_slice(), &snapshots].concat());
    assert_eq!(recover(&dir).unwrap().last, 32);
    assert_eq!(dir.purge(3, &mut || ()).unwrap(), Vec::<String>::new());
    // Each of the kept ones can still be started from.
    for newest in ["snapshot.1e", "snapshot.1a"] {
        disk.remove(&dir.snapshot_dir().join(newest)).unwrap();
        assert_eq!(recover(&dir).unwrap().last, 32, "without {newest}");
    }
}

#[test]
fn a_purge_cut_short_leaves_every_snapshot_its_logs() {
    for operation in 1.. {
        let disk = used_directory();
        let dir = open(&disk).unwrap();
        disk.fail_at(disk.operations() + operation, Fault::Stop);
        if dir.purge(3, &mut || ()).is_ok() {
            assert!(operation > 10);
            break;
        }
        for seed in 0..8 {
            let image = disk.crash(seed);
            let dir = open(&image).unwrap();
            let snapshots =
                oxkeeper_storage::snapshots::list_snapshots(&image, dir.snapshot_dir()).unwrap();
            assert!(snapshots.len() >= 3);
            for snapshot in snapshots {
                let recovered = recover(&dir).unwrap();
                assert_eq!(recovered.snapshot, Some(snapshot.zxid.0));
                assert_eq!(recovered.last, 32);
                image.remove(&snapshot.path).unwrap();
            }
        }
    }
}

#[test]
fn a_large_file_is_purged_in_steps_and_never_seen_half() {
    let disk = used_directory();
    let dir = open(&disk).unwrap();
    disk.put(Path::new("/data/version-2/snapshot.2"), &vec![7; 20 << 20]);
    let mut seen = Vec::new();
    let removed = dir.purge(3, &mut || seen.push(names(&disk))).unwrap();
    assert!(removed.iter().any(|name| name == "snapshot.2"));
    assert_eq!(seen.len(), 2, "of 20 MiB, 16 go in steps");
    assert!(seen.iter().flatten().all(|name| name != "snapshot.2"));
    assert!(seen.iter().all(|names| names.iter().any(|name| name == "purged-snapshot.2")));
    assert!(names(&disk).iter().all(|name| !name.starts_with("purged")));
}

#[test]
fn what_a_purge_left_half_done_is_removed_at_the_next_start() {
    for name in ["snapshot.2", "log.1"] {
        let disk = used_directory();
        let doomed = format!("/data/version-2/purged-{name}");
        disk.put(Path::new(&doomed), b"the rest of it");
        let dir = open(&disk).unwrap();
        assert!(names(&disk).iter().all(|name| !name.starts_with("purged")));
        assert_eq!(recover(&dir).unwrap().last, 32);
    }
}

#[test]
fn without_a_whole_snapshot_nothing_is_purged() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    disk.put(Path::new("/data/version-2/snapshot.9"), b"broken");
    disk.put(Path::new("/data/version-2/log.1"), b"");
    assert_eq!(dir.purge(3, &mut || ()).unwrap(), Vec::<String>::new());
    assert_eq!(names(&disk).len(), 2);
}

#[test]
fn an_epoch_is_the_old_or_the_new_one() {
    let base = SimDisk::new();
    let path = open(&base).unwrap().snapshot_dir().to_owned();
    assert_eq!(Epochs::read(&base, &path).unwrap(), Epochs::default());
    Epochs::write_accepted(&base, &path, 4).unwrap();
    Epochs::write_current(&base, &path, 3).unwrap();
    assert_eq!(base.bytes(&path.join("acceptedEpoch")), b"4");
    for operation in 1.. {
        let disk = base.crash(0);
        disk.fail_at(operation, Fault::Stop);
        let written = Epochs::write_current(&disk, &path, 40_000);
        for seed in 0..20 {
            let found = Epochs::read(&disk.crash(seed), &path).unwrap();
            assert_eq!(found.accepted, Some(4));
            match written {
                Ok(()) => assert_eq!(found.current, Some(40_000)),
                Err(_) => assert!([Some(3), Some(40_000)].contains(&found.current)),
            }
        }
        if written.is_ok() {
            assert_eq!(operation, 6, "create, write, fsync, rename, directory fsync, and done");
            break;
        }
    }
    base.put(&path.join("currentEpoch"), b"three");
    let error = Epochs::read(&base, &path).unwrap_err().to_string();
    assert!(error.contains("currentEpoch: it does not hold a number"), "{error}");
}

#[test]
fn logs_are_extended_as_java_does() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    let options = TxnLogOptions { prealloc_bytes: 65536, ..TxnLogOptions::default() };
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), options, Zxid(0));
    let size = || disk.bytes(&dir.log_dir().join("log.1")).len();
    let mut sizes = vec![];
    for zxid in 1..400 {
        log.append(&batch(zxid, zxid), Zxid(zxid)).unwrap();
        if sizes.last() != Some(&size()) {
            sizes.push(size());
        }
    }
    // 16 bytes of header before the first 64 KiB, as in Java's files.
    assert_eq!(sizes[..3], [65552, 2 * 65536 + 16, 3 * 65536 + 16]);
    assert_eq!(log.total_bytes(), *sizes.last().unwrap() as u64);
    drop(dir);
    assert_eq!(
        recover(&open(&disk).unwrap()).err().map(|e| e.to_string().contains("no snapshot")),
        Some(true)
    );
}

#[test]
fn without_preallocation_a_file_is_as_long_as_its_entries() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    let options = TxnLogOptions { prealloc_bytes: 0, ..TxnLogOptions::default() };
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), options, Zxid(0));
    log.append(&batch(1, 9), Zxid(9)).unwrap();
    assert_eq!(disk.bytes(&dir.log_dir().join("log.1")).len(), 16 + batch(1, 9).len());
}

#[test]
fn a_log_over_its_limit_is_continued_in_another() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    let options = TxnLogOptions { size_limit_bytes: Some(20_000), ..log_options() };
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), options, Zxid(0));
    for zxid in 1..=100 {
        assert_eq!(log.append(&batch(zxid, zxid), Zxid(zxid)).unwrap(), Zxid(zxid));
    }
    let logs = names(&disk).iter().filter(|name| name.starts_with("log.")).count();
    assert_eq!(logs, 1 + batch(1, 100).len() / 20_500);
    drop(dir);
    assert_eq!(recover(&open(&disk).unwrap()).unwrap().last, 100);
}

#[test]
fn without_force_sync_nothing_claims_to_be_synced() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    let options = TxnLogOptions { force_sync: false, ..log_options() };
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), options, Zxid(0));
    for zxid in 1..=100 {
        log.append(&batch(zxid, zxid), Zxid(zxid)).unwrap();
        if zxid == 50 {
            log.roll().unwrap();
        }
    }
    log.settle().unwrap();
    let mut lost = 0;
    for seed in 0..30 {
        // Anything may be missing, but what is there is a prefix, and nothing is called rotten.
        let recovered = recover(&open(&disk.crash(seed)).unwrap()).unwrap();
        assert!(recovered.last >= 50, "a finished file is whole");
        lost += u32::from(recovered.last < 100);
    }
    assert!(lost > 0);
    drop(dir);
    assert_eq!(recover(&open(&disk).unwrap()).unwrap().last, 100);
}

#[test]
fn batches_that_no_reader_would_take_are_refused() {
    let good = batch(5, 6);
    let mut headless = Vec::new();
    frame_entry(&mut headless, &payload(5)[..31]);
    let cases = [
        (good.clone(), 4, "end elsewhere"),
        (batch(5, 5), 6, "end elsewhere"),
        (good[..good.len() / 3].to_vec(), 6, "not whole"),
        (headless, 5, "not whole"),
        (b"short".to_vec(), 5, "shorter than one entry"),
        (batch(3, 6), 6, "does not follow"),
    ];
    for (entries, last, why) in cases {
        let disk = SimDisk::new();
        let dir = open(&disk).unwrap();
        let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(3));
        let error = log.write(&entries, Zxid(last)).unwrap_err();
        assert!(matches!(error, LogError::BadBatch { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error} instead of {why}");
        assert_eq!(names(&disk), Vec::<String>::new());
    }
}
