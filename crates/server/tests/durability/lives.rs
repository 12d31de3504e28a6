//! Lives that are cut, and how what is found afterwards is judged.

use oxkeeper_storage::SimDisk;
use oxkeeper_storage::sim_disk::Fault;

use crate::host::{Host, files, start_time};
use crate::state::assert_equal;
use crate::workload::{Dice, Life};

/// Boots an image and holds what it says against the life that was cut.
///
/// `before` is the undisturbed life of the same seed on the same disk: up to the cut both did the
/// same, so its states are those that may be found.
pub fn check_image(image: &SimDisk, life: &Life, before: &Life, when: &str) -> Host {
    let host = Host::boot(image, life.now, false)
        .unwrap_or_else(|error| panic!("{when}: {error}; files {:?}", files(image)));
    let zxid = host.served();
    assert!(zxid >= life.served, "{when}: {} was served, {zxid} is the last found", life.served);
    let expected = before.state_at(zxid);
    let expected = expected.unwrap_or_else(|| panic!("{when}: {zxid} was never written"));
    assert_equal(&host.state(), expected, when);
    host.check(when);
    assert_eq!(host.report.digest_mismatches, 0, "{when}");
    assert_eq!((host.report.log.gap, host.report.log.out_of_order), (None, 0), "{when}");
    assert_eq!(host.report.orphans, 0, "{when}");
    assert!(host.report.unreadable.is_empty(), "{when}: {:?}", host.report.unreadable);
    host
}

/// Lives one after the other on what the last one left, each cut somewhere. Returns how many
/// answers clients got.
pub fn lives(seed: u64, count: u64) -> u64 {
    let mut answers = 0;
    let mut disk = SimDisk::new();
    let mut now = start_time();
    for n in 0..count {
        let life_seed = seed * 1000 + n;
        let steps = 20 + (life_seed % 40) as usize;
        // Every disk is used twice, so it must be made twice: `crash` gives equal ones.
        let image = |disk: &SimDisk| disk.crash(life_seed);
        let undisturbed = image(&disk);
        let before = Life::run(&undisturbed, now, life_seed, steps, true);
        assert_eq!(before.failure, None, "seed {seed}, life {n}");
        let operations = undisturbed.operations();
        let cut_disk = image(&disk);
        // Most cuts early: recovery is short.
        let spread = if n % 2 == 0 { operations } else { operations.min(12) };
        let cut = 1 + Dice(life_seed).roll(spread);
        cut_disk.fail_at(cut, Fault::Stop);
        let mut life = Life::run(&cut_disk, now, life_seed, steps, false);
        // What was found at the start was served from then on, if it came to that.
        life.served = life.served.max(life.booted.unwrap_or(before.states[0].zxid));
        for other in 0..2 {
            let when = format!("seed {seed}, life {n}, cut at {cut}, image {other}");
            check_image(&cut_disk.crash(other), &life, &before, &when);
        }
        answers += life.answers;
        now = before.now;
        disk = cut_disk;
    }
    answers
}
