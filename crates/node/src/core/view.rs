//! What the four-letter words show of the core.

use oxkeeper_proto::SessionId;

use super::Core;
use crate::messages::Now;
use crate::stats::CoreStats;

/// The core's part of the reports.
#[derive(Debug, Clone)]
pub struct CoreView {
    /// Counters.
    pub stats: CoreStats,
    /// Transactions proposed and not applied.
    pub outstanding: usize,
    /// Sessions by the wall-clock time at which their bucket is due, ms since 1970.
    pub buckets: Vec<(i64, Vec<SessionId>)>,
    /// Live sessions.
    pub sessions: usize,
}

impl Core {
    /// A copy of what reports need.
    pub fn view(&self, now: Now) -> CoreView {
        let to_wall =
            |deadline_us: u64| now.wall_ms + (deadline_us as i64 - now.mono_us as i64) / 1000;
        CoreView {
            stats: self.stats.clone(),
            outstanding: self.outstanding(),
            buckets: self
                .sessions
                .buckets()
                .map(|(deadline_us, sessions)| (to_wall(deadline_us), sessions))
                .collect(),
            sessions: self.sessions.len(),
        }
    }
}
