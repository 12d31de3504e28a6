//! Telling of the same trouble once in a while: what others do to us, and repeat, must not fill the
//! disk with logs.

use std::time::{Duration, Instant};

/// How often the same trouble is told of.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Lets one message in a while pass and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// How many messages were not said since the last, if this one may be.
    pub(crate) fn may_speak(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < TOLD_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}
