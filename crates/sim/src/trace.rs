//! What happened, line by line.
//!
//! A run leaves a fingerprint of its whole trace, so that two runs can be compared byte for byte
//! without keeping either, and the last lines for whoever has to find out why it failed.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use crate::agenda::Micros;

/// Lines kept of a trace that is not kept whole.
const LINES_KEPT: usize = 200;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    lines: VecDeque<String>,
    keep: usize,
    count: u64,
    hash: u64,
}

impl Trace {
    /// A trace that keeps its end, or all of it.
    pub fn new(whole: bool) -> Trace {
        let keep = if whole { usize::MAX } else { LINES_KEPT };
        Trace { lines: VecDeque::new(), keep, count: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }

    /// Adds a line.
    pub fn note(&mut self, at: Micros, what: fmt::Arguments<'_>) {
        let mut line = match self.lines.len() >= self.keep {
            true => self.lines.pop_front().unwrap_or_default(),
            false => String::new(),
        };
        line.clear();
        let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
        let _ = write!(line, "{seconds:4}.{micros:06} {what}");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        tracing::trace!(target: "storm", "{line}");
        self.count += 1;
        self.lines.push_back(line);
    }

    /// Number of lines, and what all of them together hash to.
    pub fn fingerprint(&self) -> (u64, u64) {
        (self.count, self.hash)
    }

    /// The lines that were kept.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_all_of_it_counts() {
        let run = |first: u64| {
            let mut trace = Trace::new(false);
            (first..first + 300).for_each(|n| trace.note(n, format_args!("line {n}")));
            trace
        };
        let (one, other) = (run(0), run(0));
        assert_eq!(one.fingerprint(), other.fingerprint());
        assert_ne!(one.fingerprint(), run(1).fingerprint());
        assert_eq!(one.lines().len(), LINES_KEPT);
        assert_eq!(one.lines().last(), Some("   0.000299 line 299"));
    }
}
