//! The power is cut at every operation of a whole server's workload. What may be found afterwards
//! is booted: everything that anyone could have seen is there, nothing half-done is, and the state
//! is to the last field the one that the server had at that zxid.

use oxkeeper_storage::SimDisk;
use oxkeeper_storage::sim_disk::Fault;

use crate::host::{files, start_time};
use crate::lives::{check_image, lives};
use crate::workload::Life;

/// Steps of one life: some hundred requests and half a dozen snapshots.
const STEPS: usize = 140;

/// The undisturbed life, with a look at whether it is worth disturbing.
fn whole_life(seed: u64) -> (Life, u64) {
    let disk = SimDisk::new();
    let life = Life::run(&disk, start_time(), seed, STEPS, true);
    assert_eq!(life.failure, None);
    (life, disk.operations())
}

#[test]
fn the_workload_does_what_it_should() {
    let disk = SimDisk::new();
    let life = Life::run(&disk, start_time(), 1, STEPS, true);
    let names = files(&disk);
    let snapshots = names.iter().filter(|name| name.starts_with("snapshot.")).count();
    assert_eq!(snapshots, 3, "several were taken, all but three purged: {names:?}");
    assert!(!names.iter().any(|name| name == "snapshot.0" || name == "log.1"), "{names:?}");
    let last = life.states.last().unwrap();
    assert!(last.zxid.0 > 120 && life.answers > 100, "{} {}", last.zxid, life.answers);
    let most = |what: fn(&crate::state::State) -> usize| {
        life.states.iter().map(|state| what(state)).max().unwrap()
    };
    assert!(most(|state| state.sessions.len()) >= 3);
    assert!(most(|state| state.znodes.len()) >= 12);
    let owners = |state: &crate::state::State| {
        state.znodes.values().filter(|znode| znode.stat.ephemeral_owner != 0).count()
    };
    assert!(most(owners) >= 3, "ephemerals, containers and TTL znodes");
}

#[test]
fn everything_served_is_found_wherever_the_power_is_cut() {
    let (before, operations) = whole_life(1);
    assert!(operations > 250, "the workload shrank to {operations} operations");
    let mut torn = 0;
    let mut ahead = 0;
    for cut in 1..=operations {
        let disk = SimDisk::new();
        disk.fail_at(cut, Fault::Stop);
        let life = Life::run(&disk, start_time(), 1, STEPS, false);
        for image in 0..3 {
            let when = format!("cut at {cut}, image {image}");
            let host = check_image(&disk.crash(cut << 8 | image), &life, &before, &when);
            torn += u32::from(!host.report.log.cut.is_empty());
            ahead += u32::from(host.served() > life.served);
        }
    }
    assert!(torn > 20, "only {torn} images had a torn tail: the disk is too kind");
    assert!(ahead > 20, "only {ahead} images had more than was served");
}

/// The power is cut again while the server recovers, writes its snapshot and goes on.
#[test]
fn lives_that_are_cut_again_and_again() {
    let answers: u64 = (0..60).map(|seed| lives(seed, 5)).sum();
    assert!(answers > 2000, "only {answers} answers: the lives are too short");
}
