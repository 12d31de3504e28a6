//! Runs: hash tables that never stop to grow.
//!
//! A table of a million handles that doubles touches them all, 50 ms in which nobody is served.
//! Here a table is a row of *runs*, each a short array sorted by hash; a run that is full splits in
//! two, and nothing else moves. Runs cover ascending ranges of the hash, which also gives snapshots
//! an order to walk in that survives every insertion. Hashes are uniform, so the place of a key in
//! a run is guessed from its value and is rarely more than a cache line off.

use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use foldhash::quality::FixedState;
use triomphe::Arc;

/// Hashes of names and paths.
#[derive(Debug, Clone)]
pub(crate) struct NameHasher(FixedState);

impl NameHasher {
    pub fn new(seed: u64) -> NameHasher {
        NameHasher(FixedState::with_seed(seed))
    }

    /// 31 bits: the 32nd of a key is the mark.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        (hasher.finish() >> 33) as u32
    }
}

/// One more than the largest hash.
pub(crate) const HASH_END: u32 = 1 << 31;
/// The range of a run that stands alone.
pub(crate) const ALL: Range<u32> = 0..HASH_END;
/// Keys looked at around a guess. In a run of 512 the guess is off by 11 on average at worst.
const WINDOW: usize = 48;

/// Items sorted by hash, each with one bit of its own (children use it for *has a directory*).
#[derive(Debug, Clone)]
pub(crate) struct Run<T> {
    /// Hash above the mark.
    keys: Vec<u32>,
    items: Vec<T>,
}

impl<T> Run<T> {
    pub fn new() -> Run<T> {
        Run { keys: Vec::new(), items: Vec::new() }
    }

    /// A run of items that are sorted by hash already.
    pub fn from_sorted(sorted: impl ExactSizeIterator<Item = (u32, bool, T)>) -> Run<T> {
        let mut run =
            Run { keys: Vec::with_capacity(sorted.len()), items: Vec::with_capacity(sorted.len()) };
        for (hash, mark, item) in sorted {
            run.keys.push(hash << 1 | mark as u32);
            run.items.push(item);
        }
        run
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub fn items(&self) -> &[T] {
        &self.items
    }

    #[inline]
    pub fn item_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }

    #[inline]
    pub fn hash(&self, at: usize) -> u32 {
        self.keys[at] >> 1
    }

    #[inline]
    pub fn marked(&self, at: usize) -> bool {
        self.keys[at] & 1 != 0
    }

    pub fn set_mark(&mut self, at: usize) {
        self.keys[at] |= 1;
    }

    /// The first item whose hash is not smaller.
    pub fn lower_bound(&self, hash: u32) -> usize {
        self.keys.partition_point(|key| key >> 1 < hash)
    }

    /// The same in a run whose hashes are spread over `range`: their number below `hash` is guessed
    /// from that, and the keys around the guess, a few cache lines, are counted without a branch.
    #[inline]
    fn lower_bound_in(&self, hash: u32, range: &Range<u32>) -> usize {
        let keys = &self.keys[..];
        let width = u64::from(range.end - range.start).max(1);
        let guess = u64::from(hash - range.start) * keys.len() as u64 / width;
        let from = (guess as usize).saturating_sub(WINDOW / 2);
        let from = from.min(keys.len().saturating_sub(WINDOW));
        let window = &keys[from..(from + WINDOW).min(keys.len())];
        let below = window.iter().filter(|key| **key >> 1 < hash).count();
        let missed_left = below == 0 && from > 0;
        let missed_right = below == window.len() && from + below < keys.len();
        if missed_left || missed_right { self.lower_bound(hash) } else { from + below }
    }

    /// The item that is the `same`, in a run whose hashes are spread over `range`.
    #[inline]
    pub fn find(
        &self,
        hash: u32,
        range: &Range<u32>,
        mut same: impl FnMut(&T) -> bool,
    ) -> Option<usize> {
        let mut at = self.lower_bound_in(hash, range);
        while at < self.keys.len() && self.keys[at] >> 1 == hash {
            if same(&self.items[at]) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    pub fn insert(&mut self, hash: u32, mark: bool, item: T) -> usize {
        // Growing by an eighth wastes a sixteenth on average; a run is short enough to be moved.
        if self.keys.len() == self.keys.capacity() {
            let more = (self.keys.len() / 8).max(4);
            self.keys.reserve_exact(more);
            self.items.reserve_exact(more);
        }
        let at = self.lower_bound(hash);
        self.keys.insert(at, hash << 1 | mark as u32);
        self.items.insert(at, item);
        at
    }

    pub fn remove(&mut self, at: usize) -> T {
        self.keys.remove(at);
        let item = self.items.remove(at);
        let len = self.items.len();
        if self.items.capacity() > 2 * len + 8 {
            self.keys.shrink_to(len + len / 8);
            self.items.shrink_to(len + len / 8);
        }
        item
    }

    /// Takes the upper half away, cut between two different hashes; `None` if all are the same.
    fn split(&mut self) -> Option<Run<T>> {
        let hash = |at: usize| self.keys[at] >> 1;
        let half = self.keys.len() / 2;
        let cut = (half..self.keys.len())
            .find(|&at| at > 0 && hash(at) != hash(at - 1))
            .or_else(|| (1..half).rev().find(|&at| hash(at) != hash(at - 1)))?;
        let upper = Run { keys: self.keys.split_off(cut), items: self.items.split_off(cut) };
        self.keys.shrink_to_fit();
        self.items.shrink_to_fit();
        Some(upper)
    }

    fn append(&mut self, mut other: Run<T>) {
        self.keys.append(&mut other.keys);
        self.items.append(&mut other.items);
    }
}

/// What holds a run: a box, or a counted handle that is copied when somebody else holds it.
pub(crate) trait Cell {
    type Item;
    fn new(run: Run<Self::Item>) -> Self;
    fn run(&self) -> &Run<Self::Item>;
    fn run_mut(&mut self) -> &mut Run<Self::Item>;
    fn into_run(self) -> Run<Self::Item>;
}

impl<T> Cell for Box<Run<T>> {
    type Item = T;
    fn new(run: Run<T>) -> Self {
        Box::new(run)
    }
    #[inline]
    fn run(&self) -> &Run<T> {
        self
    }
    #[inline]
    fn run_mut(&mut self) -> &mut Run<T> {
        self
    }
    fn into_run(self) -> Run<T> {
        *self
    }
}

impl<T: Clone> Cell for Arc<Run<T>> {
    type Item = T;
    fn new(run: Run<T>) -> Self {
        Arc::new(run)
    }
    #[inline]
    fn run(&self) -> &Run<T> {
        self
    }
    #[inline]
    fn run_mut(&mut self) -> &mut Run<T> {
        Arc::make_mut(self)
    }
    fn into_run(self) -> Run<T> {
        Arc::try_unwrap(self).unwrap_or_else(|shared| (*shared).clone())
    }
}

/// A place in a row: which run, and where in it. Good until something is inserted or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub cell: u32,
    pub at: u32,
}

/// A row of runs.
#[derive(Debug)]
pub(crate) struct Row<C> {
    /// The smallest hash each run may hold; the first is 0.
    starts: Vec<u32>,
    cells: Vec<C>,
    len: usize,
    run_max: usize,
}

impl<C: Cell> Row<C> {
    pub fn new(run_max: usize) -> Row<C> {
        Row { starts: vec![0], cells: vec![C::new(Run::new())], len: 0, run_max }
    }

    /// A row of one run.
    pub fn from_cell(cell: C, run_max: usize) -> Row<C> {
        let len = cell.run().len();
        Row { starts: vec![0], cells: vec![cell], len, run_max }
    }

    /// A row of items sorted by hash, with room in each run for some more.
    pub fn from_sorted(
        sorted: impl ExactSizeIterator<Item = (u32, bool, C::Item)>,
        run_max: usize,
    ) -> Row<C> {
        let len = sorted.len();
        let fill = run_max * 3 / 4;
        let mut row = Row { starts: Vec::new(), cells: Vec::new(), len, run_max };
        let mut rest = sorted.peekable();
        while rest.peek().is_some() {
            let mut part: Vec<_> = rest.by_ref().take(fill).collect();
            // Equal hashes must not be cut apart.
            while let Some(next) = rest.next_if(|n| part.last().is_some_and(|l| l.0 == n.0)) {
                part.push(next);
            }
            row.starts.push(if row.starts.is_empty() { 0 } else { part[0].0 });
            row.cells.push(C::new(Run::from_sorted(part.into_iter())));
        }
        if row.cells.is_empty() {
            return Row::new(run_max);
        }
        row
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn cells(&self) -> &[C] {
        &self.cells
    }

    /// The run for a hash, and its range.
    #[inline]
    pub fn cell_of(&self, hash: u32) -> (usize, Range<u32>) {
        let cell = self.starts.partition_point(|start| *start <= hash) - 1;
        let end = self.starts.get(cell + 1).copied().unwrap_or(HASH_END);
        (cell, self.starts[cell]..end)
    }

    #[inline]
    pub fn find(&self, hash: u32, same: impl FnMut(&C::Item) -> bool) -> Option<Place> {
        let (cell, range) = self.cell_of(hash);
        let at = self.cells[cell].run().find(hash, &range, same)?;
        Some(Place { cell: cell as u32, at: at as u32 })
    }

    #[inline]
    pub fn get(&self, place: Place) -> &C::Item {
        &self.cells[place.cell as usize].run().items()[place.at as usize]
    }

    #[inline]
    pub fn get_mut(&mut self, place: Place) -> &mut C::Item {
        self.cells[place.cell as usize].run_mut().item_mut(place.at as usize)
    }

    pub fn set_mark(&mut self, place: Place) {
        self.cells[place.cell as usize].run_mut().set_mark(place.at as usize);
    }

    pub fn insert(&mut self, hash: u32, mark: bool, item: C::Item) -> Place {
        let (mut cell, _) = self.cell_of(hash);
        if self.cells[cell].run().len() >= self.run_max
            && let Some(upper) = self.cells[cell].run_mut().split()
        {
            let start = upper.hash(0);
            self.starts.insert(cell + 1, start);
            self.cells.insert(cell + 1, C::new(upper));
            if hash >= start {
                cell += 1;
            }
        }
        self.len += 1;
        let at = self.cells[cell].run_mut().insert(hash, mark, item);
        Place { cell: cell as u32, at: at as u32 }
    }

    pub fn remove(&mut self, place: Place) -> C::Item {
        let cell = place.cell as usize;
        let item = self.cells[cell].run_mut().remove(place.at as usize);
        self.len -= 1;
        if self.cells[cell].run().len() < self.run_max / 4 {
            self.merge(cell);
        }
        item
    }

    /// Joins a run that became small with a neighbour, unless both together would soon split again.
    fn merge(&mut self, cell: usize) {
        let left = if cell + 1 < self.cells.len() { cell } else { cell.saturating_sub(1) };
        let right = left + 1;
        if right >= self.cells.len() {
            return;
        }
        let together = self.cells[left].run().len() + self.cells[right].run().len();
        if together <= self.run_max / 2 {
            self.starts.remove(right);
            let run = self.cells.remove(right).into_run();
            self.cells[left].run_mut().append(run);
        }
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &C::Item> {
        self.cells.iter().flat_map(|cell| cell.run().items())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Boxes = Row<Box<Run<u32>>>;

    fn check(row: &Boxes) {
        assert_eq!(row.starts[0], 0);
        assert!(row.starts.is_sorted_by(|a, b| a < b));
        assert_eq!(row.iter().count(), row.len());
        for (cell, run) in row.cells.iter().enumerate() {
            let end = row.starts.get(cell + 1).copied().unwrap_or(HASH_END);
            assert!(run.keys.is_sorted_by(|a, b| a >> 1 <= b >> 1));
            assert!((0..run.len()).all(|at| (row.starts[cell]..end).contains(&run.hash(at))));
        }
    }

    proptest! {
        #[test]
        fn a_row_is_a_set(ops in proptest::collection::vec((any::<bool>(), 0u32..400), 0..3000)) {
            // Few distinct hashes, so that many collide and some runs cannot be split.
            let hash = |item: u32| (item / 3).wrapping_mul(0x9e37_79b1) >> 1;
            let mut row = Boxes::new(16);
            let mut model = BTreeSet::new();
            for (insert, item) in ops {
                let found = row.find(hash(item), |other| *other == item);
                prop_assert_eq!(found.is_some(), model.contains(&item));
                match found {
                    Some(place) if !insert => {
                        prop_assert_eq!(row.remove(place), item);
                        model.remove(&item);
                    }
                    None if insert => {
                        let place = row.insert(hash(item), item % 2 == 0, item);
                        prop_assert_eq!(*row.get(place), item);
                        model.insert(item);
                    }
                    _ => {}
                }
            }
            check(&row);
            prop_assert_eq!(row.iter().copied().collect::<BTreeSet<_>>(), model);
        }
    }

    #[test]
    fn runs_stay_short_and_join_again() {
        let hasher = NameHasher::new(7);
        let mut row = Boxes::new(64);
        let hash = |n: u32| hasher.hash(&n.to_be_bytes());
        for n in 0..10_000 {
            row.insert(hash(n), false, n);
        }
        check(&row);
        assert!(row.cells.iter().all(|run| run.len() <= 64));
        for n in 0..9_990 {
            let place = row.find(hash(n), |other| *other == n).unwrap();
            row.remove(place);
        }
        check(&row);
        assert_eq!((row.len(), row.cells.len()), (10, 1));
    }

    #[test]
    fn a_row_from_sorted_items_is_the_same_row() {
        let mut sorted: Vec<(u32, bool, u32)> =
            (0..5000u32).map(|n| ((n / 2).wrapping_mul(0x9e37_79b1) >> 1, false, n)).collect();
        sorted.sort_unstable_by_key(|item| item.0);
        let row = Boxes::from_sorted(sorted.clone().into_iter(), 64);
        check(&row);
        for (hash, _, item) in sorted {
            assert!(row.find(hash, |other| *other == item).is_some());
        }
        assert_eq!(Boxes::from_sorted(std::iter::empty(), 64).len(), 0);
    }

    #[test]
    fn a_shared_run_is_copied_before_it_is_changed() {
        let mut row: Row<Arc<Run<u32>>> = Row::new(16);
        row.insert(5, false, 1);
        let held = row.cells()[0].clone();
        row.insert(6, false, 2);
        assert_eq!((held.items(), row.cells()[0].items()), (&[1][..], &[1, 2][..]));
    }
}
