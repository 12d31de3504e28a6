//! What one generator thread has seen: replies, refusals and how long they took.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use oxkeeper_proto::ErrorCode;

/// Longest time that is told apart: anything slower counts as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Replies of one kind of request, or of all.
#[derive(Debug)]
pub struct Tally {
    /// Replies counted.
    pub replies: u64,
    /// Watch events counted.
    pub events: u64,
    /// Replies that were refusals, by code.
    pub errors: BTreeMap<i32, u64>,
    /// Latencies in nanoseconds, one histogram per kind.
    latencies: Vec<Histogram<u64>>,
}

/// A histogram of nanoseconds, exact to a thousandth.
pub fn latency_histogram() -> Histogram<u64> {
    // The bounds are constants within what the crate accepts.
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds")
}

impl Tally {
    /// An empty one for `kinds` kinds of requests.
    pub fn new(kinds: usize) -> Tally {
        Tally {
            replies: 0,
            events: 0,
            errors: BTreeMap::new(),
            latencies: (0..kinds).map(|_| latency_histogram()).collect(),
        }
    }

    /// Counts one reply.
    #[inline]
    pub fn record(&mut self, kind: u8, latency_ns: u64, err: ErrorCode) {
        self.replies += 1;
        self.latencies[kind as usize].saturating_record(latency_ns);
        if !err.is_ok() {
            *self.errors.entry(err.0).or_default() += 1;
        }
    }

    /// Takes in what another thread has counted.
    pub fn merge(&mut self, other: &Tally) {
        self.replies += other.replies;
        self.events += other.events;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(theirs).expect("histograms of one make");
        }
    }

    /// Latencies of one kind.
    pub fn latency(&self, kind: usize) -> &Histogram<u64> {
        &self.latencies[kind]
    }

    /// Latencies of all kinds together.
    pub fn all_latencies(&self) -> Histogram<u64> {
        let mut all = latency_histogram();
        for one in &self.latencies {
            all.add(one).expect("histograms of one make");
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_count_everything_once() {
        let mut a = Tally::new(2);
        a.record(0, 1_000, ErrorCode::OK);
        a.record(1, 9_000, ErrorCode::NO_NODE);
        let mut b = Tally::new(2);
        b.record(1, 5_000_000, ErrorCode::NO_NODE);
        b.events = 3;
        a.merge(&b);
        assert_eq!((a.replies, a.events), (3, 3));
        assert_eq!(a.errors, BTreeMap::from([(ErrorCode::NO_NODE.0, 2)]));
        assert_eq!((a.latency(0).len(), a.latency(1).len()), (1, 2));
        let worst = a.all_latencies().max();
        assert!(worst.abs_diff(5_000_000) <= 5_000, "{worst}");
    }

    #[test]
    fn a_latency_beyond_the_scale_is_kept_as_the_longest() {
        let mut tally = Tally::new(1);
        tally.record(0, u64::MAX, ErrorCode::OK);
        assert!(tally.latency(0).max() >= LATENCY_NS_MAX);
    }
}
