//! Containers and TTL znodes whose time has come (`ContainerManager`).
//!
//! The core looks for them once per interval and deletes them by transactions of its own, one by
//! one at the configured pace, so that a million running out at once delay nobody.

use std::collections::VecDeque;
use std::sync::Arc;

use oxkeeper_proto::{SessionId, Zxid};
use oxkeeper_tree::EphemeralType;

use super::Core;
use crate::front::Shared;
use crate::limits;
use crate::messages::{AuthSet, Now};
use crate::settings::Settings;

/// When to look for them, and those found and not removed yet.
#[derive(Debug)]
pub(super) struct Reaper {
    interval_us: u64,
    /// The least time between two removals: `znode.container.maxPerMinute`.
    pace_us: u64,
    next_scan_us: u64,
    next_removal_us: u64,
    /// The path of each, and which znode it was there.
    found: VecDeque<(String, Zxid)>,
}

impl Reaper {
    pub fn new(settings: &Settings, now: Now) -> Self {
        let interval_us = settings.container_check_interval_ms * 1000;
        Reaper {
            interval_us,
            pace_us: 60_000_000 / u64::from(settings.container_max_per_minute.max(1)),
            next_scan_us: now.mono_us + interval_us,
            next_removal_us: 0,
            found: VecDeque::new(),
        }
    }

    pub fn next_look_us(&self) -> Option<u64> {
        if self.interval_us == 0 {
            None
        } else if self.found.is_empty() {
            Some(self.next_scan_us)
        } else {
            Some(self.next_removal_us)
        }
    }
}

impl Core {
    /// Looks for candidates once per interval and proposes their removal at the configured pace.
    /// The transaction itself decides: a child that came meanwhile keeps its parent. What has been
    /// touched meanwhile, or replaced by another znode of that name, is left alone.
    pub(super) fn reap(&mut self, shared: &Shared, now: Now) {
        let settings = Arc::clone(&self.settings);
        if self.reaper.interval_us == 0 {
            return;
        }
        if self.reaper.found.is_empty() && now.mono_us >= self.reaper.next_scan_us {
            self.reaper.next_scan_us = now.mono_us + self.reaper.interval_us;
            let max = settings.container_max_per_minute as usize;
            let never_used_ms = settings.container_never_used_ms;
            let found = shared.tree.reap_candidates(now.wall_ms, never_used_ms, max);
            let named =
                |path: &str| Some((path.to_owned(), shared.tree.node(path)?.persisted().czxid));
            self.reaper.found = found.into_iter().filter_map(named).collect();
        }
        for _ in 0..limits::REAPED_PER_TURN {
            if now.mono_us < self.reaper.next_removal_us {
                break;
            }
            let Some((path, czxid)) = self.reaper.found.pop_front() else { break };
            if !self.is_still_due(shared, now, &path, czxid) {
                continue;
            }
            let nobody: AuthSet = Arc::from([]);
            let Some(context) = self.context(now, SessionId::NONE, 0, &nobody) else { return };
            self.reaper.next_removal_us =
                self.reaper.next_removal_us.max(now.mono_us.saturating_sub(1_000_000))
                    + self.reaper.pace_us;
            let rules = &settings.rules;
            let tree = &shared.tree;
            self.overlay.prep_delete_container(tree, rules, &context, &path, &mut self.open);
            self.proposed(None);
            self.stats.reaped += 1;
        }
    }

    /// Whether a candidate still is one when everything proposed is applied.
    fn is_still_due(&self, shared: &Shared, now: Now, path: &str, czxid: Zxid) -> bool {
        let stat = self.overlay.stat_of(&shared.tree, path);
        stat.is_some_and(|stat| {
            let rules = shared.tree.options().owner_rules;
            stat.czxid == czxid
                && match EphemeralType::of(stat.ephemeral_owner, rules) {
                    EphemeralType::Container => true,
                    EphemeralType::Ttl(ms) => stat.mtime_ms.saturating_add(ms) < now.wall_ms,
                    EphemeralType::Persistent | EphemeralType::Ephemeral(_) => false,
                }
        })
    }
}
