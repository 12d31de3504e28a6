//! The limit on open files: raised as far as it goes, and how much of it is used.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one and returns what is in force.
pub fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        return limit.current;
    }
    getrlimit(Resource::Nofile).current
}

/// The limit in force; no limit at all shows as the largest number, as in Java.
pub fn limit() -> i64 {
    getrlimit(Resource::Nofile).current.map_or(i64::MAX, |limit| limit.min(i64::MAX as u64) as i64)
}

/// Descriptors open now; −1 where the system does not tell. Walks a directory with an entry each.
pub fn open() -> i64 {
    // The walk itself has one open.
    std::fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64 - 1)
}
