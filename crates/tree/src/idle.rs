//! Containers and TTL nodes without children: what the reaper looks at (`ContainerManager`).
//!
//! Java walks every container and TTL node once a minute. Here those that have no children are kept
//! in the order in which they fall due, so asking for the due ones costs as much as there are.

use std::collections::BTreeSet;

use oxkeeper_proto::StatPersisted;

use crate::ephemeral_type::EphemeralType;

#[derive(Debug, Default)]
pub(crate) struct IdleIndex {
    /// By the moment after which they may go.
    ttl: BTreeSet<(i64, Box<str>)>,
    /// Containers that had a child once.
    containers: BTreeSet<Box<str>>,
    /// Containers that never had one, by the moment they were written last.
    never_used: BTreeSet<(i64, Box<str>)>,
}

impl IdleIndex {
    pub fn insert(&mut self, path: &str, kind: EphemeralType, stat: &StatPersisted) {
        match kind {
            EphemeralType::Ttl(0) | EphemeralType::Persistent | EphemeralType::Ephemeral(_) => {}
            EphemeralType::Ttl(ms) => _ = self.ttl.insert((due(stat, ms), path.into())),
            EphemeralType::Container if stat.cversion > 0 => {
                self.containers.insert(path.into());
            }
            EphemeralType::Container => {
                self.never_used.insert((stat.mtime_ms, path.into()));
            }
        }
    }

    /// Takes out what [`IdleIndex::insert`] put in with the same stat; what is not there is left.
    pub fn remove(&mut self, path: &str, kind: EphemeralType, stat: &StatPersisted) {
        match kind {
            EphemeralType::Ttl(0) | EphemeralType::Persistent | EphemeralType::Ephemeral(_) => {}
            EphemeralType::Ttl(ms) => _ = self.ttl.remove(&(due(stat, ms), path.into())),
            EphemeralType::Container if stat.cversion > 0 => {
                self.containers.remove(path);
            }
            EphemeralType::Container => {
                self.never_used.remove(&(stat.mtime_ms, path.into()));
            }
        }
    }

    pub fn due(&self, now_ms: i64, never_used_ms: i64, max: usize) -> Vec<&str> {
        let never_used = match never_used_ms {
            0 => i64::MIN,
            _ => now_ms.saturating_sub(never_used_ms),
        };
        let never_used = self.never_used.iter().take_while(move |(mtime, _)| *mtime < never_used);
        let ttl = self.ttl.iter().take_while(move |(due, _)| *due < now_ms);
        let timed = never_used.chain(ttl).map(|(_, path)| path);
        self.containers.iter().chain(timed).take(max).map(|path| &**path).collect()
    }
}

/// The last moment at which a TTL node may not be removed yet.
fn due(stat: &StatPersisted, ttl_ms: i64) -> i64 {
    stat.mtime_ms.saturating_add(ttl_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mtime_ms: i64, cversion: i32) -> StatPersisted {
        StatPersisted { mtime_ms, cversion, ..StatPersisted::default() }
    }

    #[test]
    fn what_is_due_is_found_and_nothing_else() {
        let mut idle = IdleIndex::default();
        let container = EphemeralType::Container;
        idle.insert("/ttl", EphemeralType::Ttl(10), &stat(100, 0));
        idle.insert("/used", container, &stat(100, 1));
        idle.insert("/new", container, &stat(100, 0));
        idle.insert("/plain", EphemeralType::Persistent, &stat(0, 1));
        assert_eq!(idle.due(110, 0, 9), ["/used"]);
        assert_eq!(idle.due(111, 0, 9), ["/used", "/ttl"]);
        assert_eq!(idle.due(110, 10, 9), ["/used"]);
        assert_eq!(idle.due(111, 10, 9), ["/used", "/new", "/ttl"]);
        assert_eq!(idle.due(111, 10, 1), ["/used"]);
        idle.remove("/ttl", EphemeralType::Ttl(10), &stat(100, 0));
        idle.remove("/used", container, &stat(100, 1));
        idle.remove("/new", container, &stat(100, 0));
        assert!(idle.due(i64::MAX, 1, 9).is_empty());
    }
}
