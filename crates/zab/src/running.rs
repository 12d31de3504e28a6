//! Time in which this server itself ran.
//!
//! Who was stopped for a while, by the system, a debugger or a page fault, finds on its return that
//! everybody has been silent, though nobody was. Silence that is held against others by a short
//! measure is therefore counted in time in which this server was there to hear them: from one
//! turn to the next, but no more than a *step* at once, because turns come at least that often
//! while it runs.

/// A clock that stands still while this server does.
#[derive(Debug, Clone, Copy)]
pub struct RunningTime {
    step_ms: u64,
    ran_ms: u64,
    turn_ms: u64,
}

impl RunningTime {
    /// A clock that begins now. There is to be a turn at least every `step_ms`.
    pub fn new(now_ms: u64, step_ms: u64) -> RunningTime {
        RunningTime { step_ms, ran_ms: 0, turn_ms: now_ms }
    }

    /// A turn: returns the time run until now, in ms.
    pub fn turn(&mut self, now_ms: u64) -> u64 {
        self.ran_ms += now_ms.saturating_sub(self.turn_ms).min(self.step_ms);
        self.turn_ms = self.turn_ms.max(now_ms);
        self.ran_ms
    }

    /// The time run until the last turn, in ms.
    pub fn ran_ms(&self) -> u64 {
        self.ran_ms
    }

    /// When there has to be a turn so that this clock reaches `ran_ms` in time.
    pub fn due_ms(&self, ran_ms: u64) -> u64 {
        self.turn_ms + ran_ms.saturating_sub(self.ran_ms).min(self.step_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_as_one_step() {
        let mut clock = RunningTime::new(1000, 250);
        assert_eq!((clock.turn(1100), clock.turn(1350)), (100, 350));
        assert_eq!(clock.turn(61_350), 600, "a minute of standstill");
        assert_eq!(clock.turn(61_000), 600, "time does not run backwards");
        assert_eq!((clock.due_ms(700), clock.due_ms(2000)), (61_450, 61_600));
        assert_eq!(clock.due_ms(500), 61_350, "at once");
    }
}
