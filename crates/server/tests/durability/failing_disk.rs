//! A disk that is full or fails, at every operation: the server ends before anything is answered
//! that is not on disk, or goes on if only a snapshot was hit; a restart loses nothing.

use oxkeeper_storage::SimDisk;
use oxkeeper_storage::sim_disk::Fault;

use crate::host::{files, start_time};
use crate::lives::check_image;
use crate::workload::Life;

const STEPS: usize = 60;

fn strike_everywhere(fault: Fault, mut check: impl FnMut(&SimDisk, &Life, &Life, u64)) {
    let whole = SimDisk::new();
    let before = Life::run(&whole, start_time(), 2, STEPS, true);
    assert_eq!(before.failure, None);
    for at in 1..=whole.operations() {
        let disk = SimDisk::new();
        disk.fail_at(at, fault);
        let life = Life::run(&disk, start_time(), 2, STEPS, false);
        check(&disk, &life, &before, at);
    }
}

#[test]
fn a_full_disk_ends_the_server_and_a_restart_loses_nothing() {
    let mut ended = 0;
    strike_everywhere(Fault::NoSpace, |disk, life, before, at| {
        if let Some(why) = &life.failure {
            ended += 1;
            let full = why.contains("disk is full") && why.contains("make space")
                || life.booted.is_none() && why.contains("No space left");
            assert!(full, "full at {at}: {why}");
        }
        // Space is made, and the server started again on what the last one left.
        disk.repair();
        let host = check_image(disk, life, before, &format!("full at {at}"));
        drop(host);
        let again = Life::run(disk, life.now, 3, 10, false);
        assert_eq!(again.failure, None, "full at {at}: it does not go on");
        // Also if the power went off before.
        let disk = SimDisk::new();
        disk.fail_at(at, Fault::NoSpace);
        let life = Life::run(&disk, start_time(), 2, STEPS, false);
        check_image(&disk.crash(at), &life, before, &format!("full at {at}, then a power cut"));
    });
    assert!(ended > 100, "only {ended} servers noticed that the disk was full");
}

#[test]
fn a_failing_disk_ends_the_server_unless_only_a_snapshot_is_hit() {
    let (mut ended, mut went_on, mut tried_again) = (0, 0, 0);
    let whole = SimDisk::new();
    Life::run(&whole, start_time(), 2, STEPS, false);
    let whole = files(&whole);
    strike_everywhere(Fault::Io, |disk, life, before, at| {
        match &life.failure {
            Some(why) if life.booted.is_some() => {
                ended += 1;
                assert!(why.contains("can no longer be trusted"), "failing at {at}: {why}");
            }
            Some(why) => assert!(why.contains("Input/output error"), "failing at {at}: {why}"),
            None => {
                went_on += 1;
                let last = before.states.last().unwrap().zxid;
                assert_eq!(life.served, last, "failing at {at}: it went on, but not to the end");
                let found = files(disk);
                // A purge that was hit is finished by the next.
                let kinds = ["snapshot.", "log.", "purged-"];
                let known = |name: &String| kinds.iter().any(|kind| name.starts_with(kind));
                assert!(found.iter().all(known), "failing at {at}: remains in {found:?}");
                // The snapshot that was hit is missing, the one after it is not.
                tried_again += u32::from(found != whole && found.last() == whole.last());
            }
        }
        for image in 0..2 {
            let when = format!("failing at {at}, then a power cut, image {image}");
            check_image(&disk.crash(at << 8 | image), life, before, &when);
        }
        disk.repair();
        check_image(disk, life, before, &format!("failing at {at}, then a restart"));
    });
    assert!(ended > 60, "only {ended} servers ended");
    assert!(went_on > 15, "only {went_on} servers lost nothing but a snapshot");
    assert!(tried_again > 5, "only {tried_again} servers wrote another snapshot later");
}
