//! Numbers about many values: smallest, largest, mean, percentiles.
//!
//! Recording is a handful of plain additions: no lock, no clock, no chance. ZooKeeper draws a
//! sample of 4,096 values for its percentiles; here every value is counted in a histogram that is
//! exact below 64 and within 3 % above, so the same values always give the same answer and
//! summaries of several threads can be added up.

use std::hash::BuildHasher;
use std::mem;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Values below this have a bucket of their own.
const EXACT: u64 = 64;
/// Buckets per power of two from there on.
const PER_OCTAVE: usize = 32;
/// Values from 2^36 on (2 years in ms) share the last bucket.
const OCTAVES: usize = 30;
const BUCKETS_MAX: usize = EXACT as usize + OCTAVES * PER_OCTAVE;

/// Count, sum, smallest and largest (`AvgMinMaxCounter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Summary { count: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Summary {
    /// Adds a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds what another one recorded.
    pub fn merge(&mut self, other: &Summary) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Values recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest, 0 if there is none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The largest, 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean with four decimals, halves rounded up; 0 if there is no value.
    pub fn avg(&self) -> f64 {
        if self.count == 0 { 0.0 } else { four_decimals(self.sum as f64 / self.count as f64) }
    }
}

/// Rounds as `BigDecimal.setScale(4, HALF_UP)` does: on the exact binary value, so that 1/32 is
/// 0.0313. The value is finite and not negative.
fn four_decimals(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1_075;
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    if exponent >= 0 {
        return value;
    }
    let shift = exponent.unsigned_abs();
    if shift > 100 {
        return 0.0;
    }
    let scaled = u128::from(mantissa) * 10_000;
    let whole = (scaled + (1 << (shift - 1))) >> shift;
    whole as f64 / 10_000.0
}

/// A summary with percentiles (`AvgMinMaxPercentileCounter`).
#[derive(Debug, Clone, Default)]
pub struct DetailedSummary {
    summary: Summary,
    /// Counts by bucket, as long as the largest value recorded needs it.
    buckets: Vec<u64>,
}

fn bucket_of(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let octave = (63 - value.leading_zeros()) as usize;
    let shift = octave - 5;
    let within = (value >> shift) as usize - PER_OCTAVE;
    (EXACT as usize + (octave - 6) * PER_OCTAVE + within).min(BUCKETS_MAX - 1)
}

/// The middle of a bucket.
fn value_of(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(EXACT as usize) else { return bucket as u64 };
    let shift = above / PER_OCTAVE + 1;
    let low = ((PER_OCTAVE + above % PER_OCTAVE) as u64) << shift;
    low + (1 << shift) / 2
}

impl DetailedSummary {
    /// Adds a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.summary.record(value);
        let bucket = bucket_of(value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        } else {
            self.buckets.resize(bucket + 1, 0);
            self.buckets[bucket] = 1;
        }
    }

    /// Adds what another one recorded.
    pub fn merge(&mut self, other: &DetailedSummary) {
        self.summary.merge(&other.summary);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
    }

    /// Count, sum, smallest, largest, mean.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The value below which `permille` of 1,000 values lie, interpolated between neighbours and
    /// rounded to a whole number like Java's; 0 if there is no value.
    pub fn percentile(&self, permille: u16) -> u64 {
        let count = self.summary.count;
        if count == 0 {
            return 0;
        }
        let position = f64::from(permille) / 1_000.0 * (count as f64 + 1.0);
        let rank = position as u64;
        if rank < 1 {
            return self.at_rank(1);
        }
        if rank >= count {
            return self.at_rank(count);
        }
        let (lower, upper) = (self.at_rank(rank), self.at_rank(rank + 1));
        let between = lower as f64 + position.fract() * (upper - lower) as f64;
        (between + 0.5) as u64
    }

    /// The value with this rank; 1 is the smallest.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return value_of(bucket).clamp(self.summary.min(), self.summary.max);
            }
        }
        self.summary.max
    }
}

/// Keys a set keeps apart; ZooKeeper keeps any number. Keys come from clients (the first element of
/// a path), so there must be an end; what comes later is not counted.
pub const KEYS_MAX: usize = 1_000;

/// One number or summary per key, for instance per namespace (`AvgMinMaxCounterSet`).
#[derive(Debug, Clone, Default)]
pub struct Keyed<T> {
    /// In the order in which they came.
    entries: Vec<(Box<str>, T)>,
    /// Where each key is, by its hash.
    places: HashTable<u32>,
    /// Where the last key was found: requests come in runs.
    last: usize,
}

/// Keys are bounded, so it does not matter that a client could choose some that collide.
fn hash(key: &str) -> u64 {
    FixedState::default().hash_one(key.as_bytes())
}

impl<T: Default> Keyed<T> {
    /// What belongs to a key, made if need be; `None` if there are too many keys.
    #[inline]
    pub fn entry(&mut self, key: &str) -> Option<&mut T> {
        if self.entries.get(self.last).is_none_or(|entry| *entry.0 != *key) {
            self.last = self.find_or_add(key)?;
        }
        Some(&mut self.entries[self.last].1)
    }

    fn find_or_add(&mut self, key: &str) -> Option<usize> {
        let hash_of_key = hash(key);
        let entries = &mut self.entries;
        let found = self.places.find(hash_of_key, |at| *entries[*at as usize].0 == *key);
        if let Some(at) = found {
            return Some(*at as usize);
        }
        if entries.len() == KEYS_MAX {
            return None;
        }
        let at = entries.len();
        entries.push((key.into(), T::default()));
        self.places.insert_unique(hash_of_key, at as u32, |at| hash(&entries[*at as usize].0));
        Some(at)
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let mut sorted: Vec<_> = self.entries.iter().map(|(key, value)| (&**key, value)).collect();
        sorted.sort_unstable_by_key(|entry| entry.0);
        sorted.into_iter()
    }
}

/// What a metric must be able to do.
pub(crate) trait Merge: Default {
    /// Adds what another one recorded.
    fn merge_from(&mut self, other: &Self);
    /// Forgets everything recorded.
    fn reset(&mut self) {
        drop(mem::take(self));
    }
}

impl Merge for u64 {
    fn merge_from(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }
}

impl Merge for Summary {
    fn merge_from(&mut self, other: &Self) {
        self.merge(other);
    }
}

impl Merge for DetailedSummary {
    fn merge_from(&mut self, other: &Self) {
        self.merge(other);
    }
}

impl<T: Merge> Merge for Keyed<T> {
    fn merge_from(&mut self, other: &Self) {
        for (key, value) in other.iter() {
            if let Some(own) = self.entry(key) {
                own.merge_from(value);
            }
        }
    }
    /// Keys stay, as in ZooKeeper.
    fn reset(&mut self) {
        self.entries.iter_mut().for_each(|(_, value)| value.reset());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> DetailedSummary {
        let mut summary = DetailedSummary::default();
        values.into_iter().for_each(|value| summary.record(value));
        summary
    }

    /// Java's rule on the values themselves (`UniformSnapshot.getValue`).
    fn exact_percentile(values: &mut [u64], permille: u16) -> u64 {
        values.sort_unstable();
        let position = f64::from(permille) / 1_000.0 * (values.len() as f64 + 1.0);
        let index = position as usize;
        let value = if index < 1 {
            values[0] as f64
        } else if index >= values.len() {
            values[values.len() - 1] as f64
        } else {
            let (lower, upper) = (values[index - 1] as f64, values[index] as f64);
            lower + (position - position.floor()) * (upper - lower)
        };
        (value + 0.5).floor() as u64
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        let summary = DetailedSummary::default();
        let plain = summary.summary();
        assert_eq!((plain.min(), plain.max(), plain.count(), plain.sum()), (0, 0, 0, 0));
        assert_eq!((plain.avg(), summary.percentile(999)), (0.0, 0));
    }

    #[test]
    fn the_mean_has_four_decimals_with_halves_up() {
        let avg = |sum: u64, count: u64| Summary { count, sum, min: 0, max: 0 }.avg();
        assert_eq!(avg(28, 75), 0.3733);
        assert_eq!(avg(1, 32), 0.0313, "exactly 0.03125");
        assert_eq!(avg(2, 3), 0.6667);
        assert_eq!(avg(13, 5), 2.6);
        assert_eq!(avg(1, 1_000_000), 0.0);
        assert_eq!(avg(7, 1), 7.0);
        assert_eq!(avg(u64::MAX, 1), u64::MAX as f64);
    }

    #[test]
    fn percentiles_below_64_are_javas_exactly() {
        let mut state = 12_345u64;
        for count in [1usize, 2, 3, 7, 100, 1_000] {
            let mut values: Vec<u64> = (0..count)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) % 64
                })
                .collect();
            let summary = of(values.iter().copied());
            for permille in [500, 950, 990, 999] {
                let exact = exact_percentile(&mut values, permille);
                assert_eq!(summary.percentile(permille), exact, "{permille} of {count}");
            }
        }
    }

    #[test]
    fn percentiles_above_are_within_three_percent() {
        for scale in [1u64, 17, 999, 1_000_003] {
            let mut values: Vec<u64> = (1..=2_000).map(|n| n * scale).collect();
            let summary = of(values.iter().copied());
            for permille in [500, 950, 990, 999] {
                let exact = exact_percentile(&mut values, permille) as f64;
                let error = (summary.percentile(permille) as f64 - exact).abs() / exact;
                assert!(error < 0.03, "{permille} of {scale}: {error}");
            }
        }
    }

    #[test]
    fn any_value_has_a_bucket_and_costs_bounded_memory() {
        let mut summary = of([u64::MAX, 1 << 36, (1 << 36) - 1, 0]);
        assert_eq!(summary.buckets.len(), BUCKETS_MAX);
        assert_eq!(summary.summary().max(), u64::MAX);
        summary.merge(&of([5; 100]));
        assert_eq!((summary.percentile(500), summary.summary().count()), (5, 104));
        for bucket in 0..BUCKETS_MAX {
            assert_eq!(bucket_of(value_of(bucket)), bucket);
        }
    }

    #[test]
    fn merging_is_recording_everything() {
        let (mut left, right) = (of(0..500), of(300..9_000));
        left.merge(&right);
        let all = of((0..500).chain(300..9_000));
        assert_eq!(left.summary(), all.summary());
        assert_eq!(left.buckets, all.buckets);
    }

    #[test]
    fn keys_have_an_end() {
        let mut keyed = Keyed::<u64>::default();
        for n in 0..2 * KEYS_MAX {
            if let Some(count) = keyed.entry(&format!("k{n:05}")) {
                *count += 1;
            }
        }
        assert_eq!(keyed.iter().count(), KEYS_MAX);
        *keyed.entry("k00007").unwrap() += 1;
        let mut other = Keyed::<u64>::default();
        *other.entry("k00007").unwrap() += 5;
        keyed.merge_from(&other);
        assert_eq!(keyed.iter().find(|(key, _)| *key == "k00007"), Some(("k00007", &7)));
        keyed.reset();
        assert!(keyed.iter().all(|(_, count)| *count == 0));
    }
}
