//! What a start leaves on disk, and what it does with odd directories.

use std::path::Path;

use oxkeeper_server::boot::boot;
use oxkeeper_storage::{Disk, SimDisk};

use crate::host::{DATA, Host, files, options, start_time};
use crate::state::State;
use crate::workload::Life;

/// A log without any snapshot is refused by every ZooKeeper. So there must never be one, not even
/// for a moment.
#[test]
fn snapshot_0_is_durable_before_the_first_log_exists() {
    let disk = SimDisk::new();
    let host = Host::boot(&disk, start_time(), false).unwrap();
    assert_eq!(files(&disk), ["snapshot.0"]);
    assert!(host.report.snapshot.is_none());
    drop(host);
    for seed in 0..20 {
        assert_eq!(files(&disk.crash(seed)), ["snapshot.0"], "it was synced, name and all");
    }
    let bytes = disk.bytes(&Path::new(DATA).join("version-2/snapshot.0"));
    assert_eq!(bytes.len(), 478, "as long as that of 3.9");
}

#[test]
fn a_second_server_is_refused_while_the_first_runs() {
    let disk = SimDisk::new();
    let first = boot(disk.clone(), &options()).unwrap();
    let error = boot(disk.clone(), &options()).unwrap_err().to_string();
    assert!(error.contains("in use by another server"), "{error}");
    drop(first);
    boot(disk, &options()).unwrap();
}

#[test]
fn a_start_that_is_repeated_changes_nothing() {
    let disk = SimDisk::new();
    let life = Life::run(&disk, start_time(), 5, 40, true);
    let expected = life.states.last().unwrap();
    let first = boot(disk.clone(), &options()).unwrap();
    assert_eq!(State::of(&first.shared.tree), **expected);
    drop(first);
    let before = contents(&disk);
    let second = boot(disk.clone(), &options()).unwrap();
    assert_eq!(State::of(&second.shared.tree), **expected);
    assert!(contents(&disk) == before, "the second start changed files");
}

/// Java's rule, because such a log may be a piece of something larger. With the setting for data of
/// 3.4 it is taken as the whole, and has its snapshot before anything is served.
#[test]
fn logs_without_a_snapshot_are_refused_unless_trusted() {
    let disk = SimDisk::new();
    let life = Life::run(&disk, start_time(), 6, 3, true);
    let dir = Path::new(DATA).join("version-2");
    for name in files(&disk).iter().filter(|name| name.starts_with("snapshot.")) {
        disk.remove(&dir.join(name)).unwrap();
    }
    assert!(files(&disk).contains(&"log.1".to_owned()));
    let error = boot(disk.clone(), &options()).unwrap_err().to_string();
    assert!(error.contains("zookeeper.snapshot.trust.empty=true"), "{error}");
    let mut trusting = options();
    trusting.recovery.trust_empty_snapshot = true;
    let booted = boot(disk.clone(), &trusting).unwrap();
    assert_eq!(State::of(&booted.shared.tree), **life.states.last().unwrap());
    drop(booted);
    boot(disk.crash(0), &options()).expect("from now on it needs no trust");
}

/// What the files of a disk hold, by name.
fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(DATA).join("version-2");
    files(disk).into_iter().map(|name| (name.clone(), disk.bytes(&dir.join(name)))).collect()
}
