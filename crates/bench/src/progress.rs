//! One line on a terminal that says what is being measured and how fast it goes.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::units::Unit;

/// Shortest time between two updates.
const EVERY: Duration = Duration::from_millis(200);

/// The line; silent when stderr is no terminal.
pub struct Progress {
    shown: bool,
    dirty: AtomicBool,
}

/// Speed since the last look, for the line.
pub struct Pulse {
    at: Instant,
    done: u64,
}

impl Pulse {
    /// Begins at `done` operations.
    pub fn new(done: u64) -> Pulse {
        Pulse { at: Instant::now(), done }
    }

    /// Operations per second since the last call, if it was long enough ago to say.
    pub fn beat(&mut self, done: u64) -> Option<f64> {
        let elapsed = self.at.elapsed();
        if elapsed < EVERY {
            return None;
        }
        let rate = (done - self.done) as f64 / elapsed.as_secs_f64();
        *self = Pulse::new(done);
        Some(rate)
    }
}

impl Progress {
    /// Progress on stderr if a person is looking.
    pub fn on_terminal() -> Progress {
        Progress { shown: std::io::stderr().is_terminal(), dirty: AtomicBool::new(false) }
    }

    /// No progress.
    pub fn silent() -> Progress {
        Progress { shown: false, dirty: AtomicBool::new(false) }
    }

    /// Says what goes on.
    pub fn say(&self, what: &str) {
        if self.shown {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{what}");
            let _ = stderr.flush();
            self.dirty.store(true, Ordering::Relaxed);
        }
    }

    /// Says how fast it goes.
    pub fn rate(&self, what: &str, done: u64, rate: f64) {
        let (done, rate) = (Unit::Count.show(done as f64), Unit::PerSecond.show(rate));
        self.say(&format!("{what} · {done} done · {rate}"));
    }

    /// Removes the line, so that results can be printed.
    pub fn clear(&self) {
        if self.dirty.swap(false, Ordering::Relaxed) {
            eprint!("\r\x1b[K");
        }
    }
}
