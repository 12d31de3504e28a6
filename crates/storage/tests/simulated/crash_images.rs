//! The power is cut at every operation of a workload, and what may be found afterwards is
//! recovered: everything acknowledged is there, nothing half-done is, and the log is a prefix of
//! what was written.

use crate::support::{Recovered, batch, log_options, open, recover, write_snapshot};
use oxkeeper_proto::Zxid;
use oxkeeper_storage::sim_disk::{Fault, SimDisk};
use oxkeeper_storage::{Compression, DataDir, LogError, TxnLog};

/// What a workload was told, and what it may have left behind.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The last zxid reported as synced.
    synced: i64,
    /// The last zxid handed to the log.
    written: i64,
}

fn check(recovered: &Recovered, progress: Progress, when: &str) {
    let Progress { synced, written } = progress;
    let last = recovered.last;
    assert!(last >= synced, "{when}: {synced} was acknowledged, {last} is the last found");
    assert!(last <= written, "{when}: {last} was found, only {written} written");
}

/// Starts on whatever is there, checks it, then writes batches with snapshots, purges and idle
/// moments in between until something fails.
fn run(disk: &SimDisk, progress: &mut Progress, batches: usize, seed: u64) -> Result<(), String> {
    let dir = open(disk).map_err(|e| e.to_string())?;
    let recovered = recover(&dir).map_err(|e| e.to_string())?;
    check(&recovered, *progress, "at the start");
    // What was recovered is built upon from here on: it must survive the next cut as well.
    *progress = Progress { synced: recovered.last, written: recovered.last };
    if recovered.snapshot.is_none() {
        write_snapshot(&dir, recovered.last, Compression::None).map_err(|e| e.to_string())?;
    }
    let log_dir = dir.log_dir().to_owned();
    let mut log = TxnLog::new(disk.clone(), log_dir, log_options(), Zxid(recovered.last));
    work(&dir, &mut log, progress, batches, seed).map_err(|e| e.to_string())
}

fn work(
    dir: &DataDir<SimDisk>,
    log: &mut TxnLog<SimDisk>,
    progress: &mut Progress,
    batches: usize,
    seed: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    for i in 0..batches {
        let first = progress.written + 1;
        let last = first + ((seed as usize + i) % 3) as i64;
        progress.written = last;
        log.write(&batch(first, last), Zxid(last))?;
        if i % 5 == 3 {
            // Two writes to one sync.
            progress.written += 1;
            log.write(&batch(last + 1, last + 1), Zxid(last + 1))?;
        }
        progress.synced = log.sync()?.0;
        match i % 7 {
            2 => log.settle()?,
            4 => log.roll()?,
            6 => {
                let compression =
                    [Compression::None, Compression::Gzip, Compression::Snappy][i % 3];
                write_snapshot(dir, progress.synced, compression)?;
                dir.purge(3, &mut || ())?;
            }
            _ => {}
        }
    }
    Ok(log.settle()?)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_is_cut() {
    const BATCHES: usize = 30;
    let whole = SimDisk::new();
    run(&whole, &mut Progress::default(), BATCHES, 0).unwrap();
    let operations = whole.operations();
    assert!(operations > 150, "the workload shrank to {operations} operations");
    let mut torn = 0;
    for cut in 1..=operations {
        let disk = SimDisk::new();
        disk.fail_at(cut, Fault::Stop);
        let mut progress = Progress::default();
        run(&disk, &mut progress, BATCHES, 0).unwrap_err();
        for seed in 0..12 {
            let image = disk.crash(cut << 8 | seed);
            let dir = open(&image).unwrap();
            let recovered = recover(&dir)
                .unwrap_or_else(|e| panic!("cut at {cut}, seed {seed}, {progress:?}: {e}"));
            check(&recovered, progress, &format!("cut at {cut}, seed {seed}"));
            torn += u32::from(!recovered.report.cut.is_empty());
            // Recovery is repeatable, and has left nothing to cut.
            let again = recover(&dir).unwrap();
            assert_eq!((again.last, again.report.cut), (recovered.last, vec![]));
        }
    }
    assert!(torn > 50, "only {torn} images had a torn tail: the disk is too kind");
}

/// Cut, recover, go on, cut again: also during recovery.
#[test]
fn lives_of_a_server_that_is_cut_again_and_again() {
    for seed in 0..150 {
        let mut disk = SimDisk::new();
        let mut progress = Progress::default();
        for life in 0..8 {
            let cut = 1 + (seed * 31 + life * 17) % 67;
            disk.fail_at(cut, Fault::Stop);
            let _ = run(&disk, &mut progress, 12, seed + life);
            disk = disk.crash(seed << 8 | life);
        }
        run(&disk, &mut progress, 3, seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

/// The process is killed, or ends because a write or sync failed; the next one starts on what
/// the page cache holds; then the power goes. What was recovered in between was served to
/// clients and built upon, synced before or not: it must survive.
#[test]
fn what_a_restart_has_read_survives_a_later_power_cut() {
    let whole = SimDisk::new();
    run(&whole, &mut Progress::default(), 20, 1).unwrap();
    let mut unsynced = 0;
    for fault in [Fault::Stop, Fault::Io] {
        for at in 1..=whole.operations() {
            let disk = SimDisk::new();
            disk.fail_at(at, fault);
            let mut progress = Progress::default();
            run(&disk, &mut progress, 20, 1).unwrap_err();
            disk.repair();
            let recovered = recover(&open(&disk).unwrap()).unwrap();
            check(&recovered, progress, &format!("{fault:?} at {at}"));
            unsynced += u32::from(recovered.last > progress.synced);
            for seed in 0..8 {
                let after = recover(&open(&disk.crash(seed)).unwrap()).unwrap();
                assert_eq!(after.last, recovered.last, "{fault:?} at {at}, seed {seed}");
            }
        }
    }
    assert!(unsynced > 30, "only {unsynced} restarts saw unsynced txns");
}

#[test]
fn after_a_failure_the_log_takes_nothing_more() {
    for (fault, operations) in [(Fault::Io, 1..=8), (Fault::NoSpace, 1..=8)] {
        for at in operations {
            let disk = SimDisk::new();
            let dir = open(&disk).unwrap();
            let path = dir.log_dir().to_owned();
            let mut log = TxnLog::new(disk.clone(), path, log_options(), Zxid(0));
            disk.fail_at(disk.operations() + at, fault);
            let outcome =
                log.append(&batch(1, 1), Zxid(1)).and_then(|_| log.append(&batch(2, 2), Zxid(2)));
            let Err(error) = outcome else { continue };
            match fault {
                Fault::NoSpace => assert!(matches!(error, LogError::DiskFull { .. }), "{error}"),
                _ => assert!(matches!(error, LogError::Failed(_)), "{error}"),
            }
            let synced = log.last_synced();
            disk.repair();
            assert!(matches!(log.append(&batch(3, 3), Zxid(3)), Err(LogError::AfterFailure)));
            assert!(matches!(log.sync(), Err(LogError::AfterFailure)));
            assert!(matches!(log.roll(), Err(LogError::AfterFailure)));
            assert_eq!(log.last_synced(), synced);
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_a_restart_goes_on() {
    let whole = SimDisk::new();
    run(&whole, &mut Progress::default(), 30, 2).unwrap();
    let mut full = 0;
    for at in 1..=whole.operations() {
        let disk = SimDisk::new();
        disk.fail_at(at, Fault::NoSpace);
        let mut progress = Progress::default();
        // Snapshots and logs both fail; after the last write there is nothing left to fail.
        full += u32::from(run(&disk, &mut progress, 30, 2).is_err());
        let synced = progress.synced;
        disk.repair();
        run(&disk, &mut progress, 5, 2).unwrap_or_else(|e| panic!("full at {at}: {e}"));
        assert!(progress.synced >= synced + 5);
    }
    assert!(full > 100, "only {full} workloads noticed that the disk was full");
}
