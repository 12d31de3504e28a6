//! Memory made ready ahead of a tree that grows fast.
//!
//! Memory that a process never touched has to be found and cleared by the kernel, page by page, at
//! the moment it is touched first; on a virtual machine by the host's kernel too. While a million
//! znodes are created that is between a tenth and a half of the core's time, and nobody else can
//! create znodes. So a thread that has nothing else to do touches the next piece before the core
//! comes to it.
//!
//! It never knows which memory the core will get: it takes the piece that the allocator would hand
//! out next, touches it and gives it back. An allocator that keeps what it was given back
//! (mimalloc, which the binary chooses) hands it to the core; with one that does not, only time is
//! lost, on a thread that nobody waits for. A server that does not grow, or slowly, is never
//! touched, and once growth is over what was left is given back to the system.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::snapshot_thread::step_back;

/// Growth after which the next piece is looked at: often enough that it is ready before the core
/// has used up the one before.
const STEP_BYTES: u64 = 8 << 20;

/// Growth that is slower than a step in this time needs no help.
const STEP_US_MAX: u64 = 250_000;

/// What a znode takes beside its path and data.
const ZNODE_BYTES: u64 = 112;

/// A little less than the 32 MiB in which the allocator divides its memory: it takes one of those
/// and leaves room for what the allocator writes in front.
const PIECE_BYTES: usize = 31 << 20;

/// Enough to be one of those pieces and not a part of one.
const PROBE_BYTES: usize = 17 << 20;

/// Distance of the bytes touched: no system has smaller pages.
const PAGE_BYTES: usize = 4096;

/// Touched between two moments at which whoever waits for this CPU goes first.
const STRETCH_BYTES: usize = 128 << 10;

/// Growth is over when none was seen for so long. The allocator keeps what it was given back for
/// 100 ms.
const OVER: Duration = Duration::from_millis(150);

/// The core's end: sees the tree grow.
#[derive(Debug)]
pub struct Headroom {
    /// None where there is no second CPU to do it on.
    steps: Option<SyncSender<()>>,
    bytes: u64,
    since_us: u64,
}

impl Headroom {
    /// Starts the thread, if the machine has a CPU for it. One that cannot be started is no loss.
    pub fn start() -> Headroom {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let (steps, heard) = sync_channel(1);
        let spawn = || thread::Builder::new().name("headroom".into()).spawn(move || run(&heard));
        let running = cpus > 1 && spawn().is_ok();
        Headroom { steps: running.then_some(steps), bytes: 0, since_us: 0 }
    }

    /// Takes note of the tree's size.
    pub fn note(&mut self, znodes: usize, data_bytes: i64, now_us: u64) {
        let bytes = znodes as u64 * ZNODE_BYTES + data_bytes.max(0) as u64;
        if bytes < self.bytes {
            (self.bytes, self.since_us) = (bytes, now_us);
        }
        if bytes - self.bytes < STEP_BYTES {
            return;
        }
        let fast = now_us.saturating_sub(self.since_us) <= STEP_US_MAX;
        (self.bytes, self.since_us) = (bytes, now_us);
        if fast
            && let Some(steps) = &self.steps
            && steps.try_send(()) == Err(TrySendError::Disconnected(()))
        {
            self.steps = None;
        }
    }
}

fn run(steps: &Receiver<()>) {
    step_back();
    while steps.recv().is_ok() {
        loop {
            make_ready();
            match steps.recv_timeout(OVER) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => {
                    give_up();
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Takes the piece that is next, touches it and gives it back.
fn make_ready() {
    let mut piece: Vec<u8> = Vec::with_capacity(PIECE_BYTES);
    for stretch in piece.spare_capacity_mut().chunks_mut(STRETCH_BYTES) {
        stretch.iter_mut().step_by(PAGE_BYTES).for_each(|byte| _ = byte.write(0));
        // The log's thread above all: growth waits for it as much as for memory.
        thread::yield_now();
    }
    black_box(&mut piece);
    // Whatever the allocator had been given back long enough ago, it gives up now, and not
    // together with this piece.
    give_up();
}

/// Has the allocator give to the system what it was given back a while ago.
fn give_up() {
    drop(black_box(Vec::<u8>::with_capacity(PROBE_BYTES)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    /// How many steps are told when a tree grows by a MiB at a time.
    fn steps(mib: i64, us_per_mib: u64) -> usize {
        let (steps, heard) = sync_channel(64);
        let mut headroom = Headroom { steps: Some(steps), bytes: 0, since_us: 1_000_000 };
        for at in 1..=mib {
            headroom.note(1, at * MIB, 1_000_000 + at as u64 * us_per_mib);
        }
        heard.try_iter().count()
    }

    #[test]
    fn only_a_tree_that_grows_fast_is_helped() {
        assert_eq!(steps(80, 4_000), 9, "250 MB/s");
        assert_eq!(steps(80, 100_000), 0, "10 MB/s");
        assert_eq!(steps(6, 4_000), 0, "hardly any");
    }

    #[test]
    fn a_tree_that_shrinks_and_grows_again_is_helped_again() {
        let (steps, heard) = sync_channel(64);
        let mut headroom = Headroom { steps: Some(steps), bytes: 0, since_us: 0 };
        headroom.note(1, 100 * MIB, 1_000);
        headroom.note(1, 10 * MIB, 2_000);
        headroom.note(1, 19 * MIB, 3_000);
        assert_eq!(heard.try_iter().count(), 2);
    }

    #[test]
    fn the_thread_ends_with_whoever_it_helps() {
        let (steps, heard) = sync_channel(1);
        let thread = thread::spawn(move || run(&heard));
        steps.send(()).unwrap();
        drop(steps);
        thread.join().unwrap();
    }
}
