//! The lock on the tree: many threads read, the core's thread writes.
//!
//! A plain lock for readers and a writer, with one thing added: readers hold the lock for
//! microseconds at a time, look between two pieces of work whether the writer wants it, and while
//! it has it they wait awake. The writer needs it for some tens of microseconds; going to sleep and
//! being woken takes longer than that, on every thread and for every batch of transactions. The
//! time is bounded, and the processor is offered to others meanwhile: with fewer processors than
//! threads, the writer may be waiting for this one.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;

use oxkeeper_node::Shared;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Looks at the lock before a reader goes to sleep: some 100 µs.
const LOOKS_MAX: u32 = 4_000;
/// Looks between two offers of the processor to other threads.
const LOOKS_PER_YIELD: u32 = 200;

/// Input taken before it is looked whether the writer wants the lock: some 5 µs of small reads.
const SLICE_BYTES: usize = 1 << 10;

/// See the module's essay.
#[derive(Debug)]
pub struct TreeLock {
    lock: RwLock<Shared>,
    wanted: Wanted,
}

/// Whether the writer waits, or has the lock and will not for long. A hint, nothing hangs on it. On
/// a cache line of its own: readers look at it all the time, and the lock's own changes with each
/// of them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Wanted(AtomicBool);

impl TreeLock {
    /// A lock on a server's state.
    pub fn new(shared: Shared) -> Self {
        TreeLock { lock: RwLock::new(shared), wanted: Wanted::default() }
    }

    /// For reading.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, Shared> {
        if self.wanted.0.load(Ordering::Relaxed) {
            self.let_the_writer_go_first();
        }
        self.lock.read()
    }

    #[cold]
    fn let_the_writer_go_first(&self) {
        for look in 1..=LOOKS_MAX {
            if look % LOOKS_PER_YIELD == 0 {
                yield_now()
            } else {
                spin_loop()
            }
            if !self.wanted.0.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// For writing: the core's thread only.
    pub fn write(&self) -> Writing<'_> {
        self.wanted.0.store(true, Ordering::Relaxed);
        Writing { guard: self.lock.write(), wanted: &self.wanted.0 }
    }

    /// Hands input over a slice at a time, as many bytes as are taken, giving up the lock for a
    /// moment when the writer wants it; `take` is told whether that was so, or it is the first
    /// slice: things may have changed. A frame larger than a slice comes with all there is.
    /// Returns how many bytes were taken.
    pub fn read_in_slices(
        &self,
        bytes: &[u8],
        mut take: impl FnMut(&Shared, &[u8], bool) -> usize,
    ) -> usize {
        let mut shared = self.read();
        let mut fresh = true;
        let mut used = 0;
        let mut end = SLICE_BYTES.min(bytes.len());
        loop {
            let taken = take(&shared, &bytes[used..end], fresh);
            used += taken;
            if end == bytes.len() {
                return used;
            }
            end = if taken == 0 { bytes.len() } else { bytes.len().min(used + SLICE_BYTES) };
            fresh = self.wanted.0.load(Ordering::Relaxed);
            if fresh {
                drop(shared);
                shared = self.read();
            }
        }
    }
}

/// The lock, held for writing.
#[derive(Debug)]
pub struct Writing<'a> {
    guard: RwLockWriteGuard<'a, Shared>,
    wanted: &'a AtomicBool,
}

impl std::ops::Deref for Writing<'_> {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.guard
    }
}

impl std::ops::DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Shared {
        &mut self.guard
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // Before the lock itself is given up: a reader that sees it early waits for the lock.
        self.wanted.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_tree::{Tree, TreeOptions};

    fn lock() -> TreeLock {
        TreeLock::new(Shared {
            tree: Tree::new(TreeOptions::default()),
            serving: true,
            read_only: false,
        })
    }

    #[test]
    fn input_comes_in_slices_and_a_large_frame_whole() {
        let lock = lock();
        let bytes = vec![7; 3 * SLICE_BYTES];
        let mut seen = Vec::new();
        // Takes whole frames of 300 bytes.
        let used = lock.read_in_slices(&bytes, |_, slice, fresh| {
            seen.push(fresh);
            slice.len() / 300 * 300
        });
        assert_eq!(used, bytes.len() / 300 * 300);
        assert!(seen.len() > 3 && seen[0] && !seen[1], "{seen:?}");
        let mut offered = Vec::new();
        let used = lock.read_in_slices(&bytes, |_, slice, _| {
            offered.push(slice.len());
            if slice.len() == bytes.len() { slice.len() } else { 0 }
        });
        assert_eq!((used, offered), (bytes.len(), vec![SLICE_BYTES, bytes.len()]));
        assert_eq!(lock.read_in_slices(&bytes, |_, _, _| 0), 0, "a connection that takes no more");
    }

    #[test]
    fn a_reader_gives_way_between_slices_and_is_told() {
        let lock = lock();
        // More than is read while a writer comes.
        let bytes = vec![7; 10_000 * SLICE_BYTES];
        std::thread::scope(|scope| {
            let (told, writer) = std::sync::mpsc::channel();
            let lock = &lock;
            scope.spawn(move || {
                writer.recv().unwrap();
                lock.write().serving = false;
            });
            let mut told = Some(told);
            let mut serving = true;
            lock.read_in_slices(&bytes, |shared, slice, fresh| {
                if let Some(told) = told.take() {
                    assert!(fresh);
                    told.send(()).unwrap();
                    // Until the writer is on its way.
                    while !lock.wanted.0.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    assert!(shared.serving, "no writer while we read");
                }
                assert!(fresh || shared.serving == serving, "a change that nobody was told of");
                serving = shared.serving;
                slice.len()
            });
            assert!(!serving, "the writer had to wait until all was read");
        });
        assert!(!lock.read().serving);
        assert!(!lock.wanted.0.load(Ordering::Relaxed));
    }
}
