//! The two clocks, sampled together: one for intervals that nobody can set back, one for the times
//! that znodes and reports carry.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oxkeeper_node::Now;

/// A clock whose monotonic part starts a minute after zero, so that "a while ago" never underflows.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

const HEAD_START: Duration = Duration::from_secs(60);

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Clock { start: Instant::now() }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_us: (self.start.elapsed() + HEAD_START).as_micros() as u64,
            wall_ms: wall.as_millis() as i64,
        }
    }

    /// Since the clock was started.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// How long until a moment of the monotonic clock.
    pub fn until(&self, mono_us: u64) -> Duration {
        Duration::from_micros(mono_us).saturating_sub(self.start.elapsed() + HEAD_START)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}
