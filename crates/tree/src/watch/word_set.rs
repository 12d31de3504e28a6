//! A set of 32-bit words that costs four bytes an element when small and never stalls when large.
//!
//! A word is a key with `FLAG_BITS` flags below it; the key is what makes two words the same
//! element. Both directions of the watch table are such sets: a path's watchers (connection slot
//! with mode bits) and a connection's paths (path id, no bits).
//!
//! Up to 32 words live in a plain vector and are scanned. More live in a hash table, and from
//! 32,768 on in 256 tables that grow one at a time: the longest single step then is moving 32,768
//! words, measured at under half a millisecond, however large the set becomes. Keys are numbers we
//! hand out ourselves, so a fixed mixing function is safe, and iteration order depends on nothing
//! but the operations that led here.

use hashbrown::HashTable;

/// Words a vector holds before it turns into a table: two cache lines.
const FEW_MAX: usize = 32;
/// A table that shrinks to this many words turns back into a vector.
const TABLE_MIN: usize = 12;
/// Words a single table holds before it is split: bounds the cost of one growth step.
const TABLE_MAX: usize = 32_768;
/// A split table that shrinks to this many words becomes a single one again.
const SHARDS_MIN: usize = 8_192;
/// Tables in a split set.
const SHARDS: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct WordSet<const FLAG_BITS: u32>(Repr);

#[derive(Debug)]
enum Repr {
    Few(Vec<u32>),
    Table(Box<HashTable<u32>>),
    Shards(Box<Shards>),
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Few(Vec::new())
    }
}

#[derive(Debug)]
struct Shards {
    words: usize,
    tables: Vec<HashTable<u32>>,
}

fn mix(key: u32) -> u64 {
    let product = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

impl<const FLAG_BITS: u32> WordSet<FLAG_BITS> {
    fn hash(word: &u32) -> u64 {
        mix(word >> FLAG_BITS)
    }

    /// The number of words.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Repr::Few(words) => words.len(),
            Repr::Table(table) => table.len(),
            Repr::Shards(shards) => shards.words,
        }
    }

    /// True if there is no word.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The word with this key.
    pub(super) fn get(&self, key: u32) -> Option<u32> {
        let same = |word: &u32| word >> FLAG_BITS == key;
        match &self.0 {
            Repr::Few(words) => words.iter().copied().find(same),
            Repr::Table(table) => table.find(mix(key), same).copied(),
            Repr::Shards(shards) => {
                let hash = mix(key);
                shards.tables[shard_of(hash)].find(hash, same).copied()
            }
        }
    }

    /// The word with this key, to change its flags. The key must stay.
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut u32> {
        let same = |word: &u32| word >> FLAG_BITS == key;
        match &mut self.0 {
            Repr::Few(words) => words.iter_mut().find(|word| same(word)),
            Repr::Table(table) => table.find_mut(mix(key), same),
            Repr::Shards(shards) => {
                let hash = mix(key);
                shards.tables[shard_of(hash)].find_mut(hash, same)
            }
        }
    }

    /// Adds a word whose key is not in the set yet.
    pub(super) fn insert(&mut self, word: u32) {
        debug_assert!(self.get(word >> FLAG_BITS).is_none(), "the key is already there");
        self.make_room();
        let hash = Self::hash(&word);
        match &mut self.0 {
            Repr::Few(words) => words.push(word),
            Repr::Table(table) => {
                table.insert_unique(hash, word, Self::hash);
            }
            Repr::Shards(shards) => {
                shards.tables[shard_of(hash)].insert_unique(hash, word, Self::hash);
                shards.words += 1;
            }
        }
    }

    /// Removes and returns the word with this key.
    pub(super) fn remove(&mut self, key: u32) -> Option<u32> {
        let same = |word: &u32| word >> FLAG_BITS == key;
        let hash = mix(key);
        let removed = match &mut self.0 {
            Repr::Few(words) => {
                let at = words.iter().position(same)?;
                words.swap_remove(at)
            }
            Repr::Table(table) => table.find_entry(hash, same).ok()?.remove().0,
            Repr::Shards(shards) => {
                let table = &mut shards.tables[shard_of(hash)];
                let word = table.find_entry(hash, same).ok()?.remove().0;
                shrink_if_sparse::<FLAG_BITS>(table);
                shards.words -= 1;
                word
            }
        };
        self.fit();
        Some(removed)
    }

    /// Visits every word; it may change flags, and `false` removes the word.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut u32) -> bool) {
        match &mut self.0 {
            Repr::Few(words) => words.retain_mut(keep),
            Repr::Table(table) => table.retain(keep),
            Repr::Shards(shards) => {
                for table in &mut shards.tables {
                    table.retain(&mut keep);
                    shrink_if_sparse::<FLAG_BITS>(table);
                }
                shards.words = shards.tables.iter().map(HashTable::len).sum();
            }
        }
        self.fit();
    }

    fn parts(&self) -> (&[u32], &[HashTable<u32>]) {
        match &self.0 {
            Repr::Few(words) => (words, &[]),
            Repr::Table(table) => (&[], std::slice::from_ref(table)),
            Repr::Shards(shards) => (&[], &shards.tables),
        }
    }

    /// The words, in no order a caller may rely on.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (few, tables) = self.parts();
        few.iter().chain(tables.iter().flatten()).copied()
    }

    /// How many pieces [`WordSet::piece`] knows; at least one.
    pub(super) fn pieces(&self) -> usize {
        self.parts().1.len().max(1)
    }

    /// One piece of bounded size, for walks that stop and go on.
    pub(super) fn piece(&self, index: usize) -> impl Iterator<Item = u32> + '_ {
        let (few, tables) = self.parts();
        let few = if index == 0 { few } else { &[] };
        few.iter().chain(tables.get(index).into_iter().flatten()).copied()
    }

    /// Takes the set apart into vectors of bounded size, so that its elements can be worked off
    /// piece by piece.
    pub(super) fn into_pieces(self) -> Pieces {
        match self.0 {
            Repr::Few(words) => Pieces { current: words, rest: Vec::new() },
            Repr::Table(table) => Pieces { current: Vec::new(), rest: vec![*table] },
            Repr::Shards(shards) => Pieces { current: Vec::new(), rest: shards.tables },
        }
    }

    /// Makes the set ready for one more word.
    fn make_room(&mut self) {
        match &mut self.0 {
            Repr::Few(words) if words.len() == FEW_MAX => {
                let mut table = HashTable::with_capacity(2 * FEW_MAX);
                for &word in words.iter() {
                    table.insert_unique(Self::hash(&word), word, Self::hash);
                }
                self.0 = Repr::Table(Box::new(table));
            }
            Repr::Table(table) if table.len() == TABLE_MAX => {
                let room = 2 * TABLE_MAX / SHARDS;
                let mut tables: Vec<HashTable<u32>> =
                    (0..SHARDS).map(|_| HashTable::with_capacity(room)).collect();
                for word in table.drain() {
                    let hash = Self::hash(&word);
                    tables[shard_of(hash)].insert_unique(hash, word, Self::hash);
                }
                self.0 = Repr::Shards(Box::new(Shards { words: TABLE_MAX, tables }));
            }
            _ => {}
        }
    }

    /// Gives memory back after a removal, with enough hysteresis that its cost is amortised.
    fn fit(&mut self) {
        match &mut self.0 {
            Repr::Few(words) => {
                if words.capacity() > 8 && words.len() * 4 < words.capacity() {
                    words.shrink_to(words.len() * 2);
                }
            }
            Repr::Table(table) if table.len() <= TABLE_MIN => {
                self.0 = Repr::Few(table.drain().collect());
            }
            Repr::Table(table) => shrink_if_sparse::<FLAG_BITS>(table),
            Repr::Shards(shards) if shards.words <= SHARDS_MIN => {
                let mut table = HashTable::with_capacity(2 * shards.words.max(FEW_MAX));
                for word in shards.tables.iter_mut().flat_map(HashTable::drain) {
                    table.insert_unique(Self::hash(&word), word, Self::hash);
                }
                self.0 = Repr::Table(Box::new(table));
                self.fit();
            }
            Repr::Shards(_) => {}
        }
    }
}

fn shrink_if_sparse<const FLAG_BITS: u32>(table: &mut HashTable<u32>) {
    if table.capacity() > 64 && table.len() * 8 < table.capacity() {
        table.shrink_to(table.len() * 2, WordSet::<FLAG_BITS>::hash);
    }
}

/// What is left of a set that is being taken apart.
#[derive(Debug)]
pub(super) struct Pieces {
    current: Vec<u32>,
    rest: Vec<HashTable<u32>>,
}

impl Pieces {
    /// The next word. Now and then opens the next table, which costs at most one table's move.
    pub(super) fn pop(&mut self) -> Option<u32> {
        while self.current.is_empty() {
            self.current = self.rest.pop()?.drain().collect();
        }
        self.current.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u32, u32),
        Remove(u32),
        Flag(u32, u32),
        KeepEven,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0u32..200;
        let step = prop_oneof![
            20 => (key.clone(), 0u32..16).prop_map(|(k, f)| Step::Insert(k, f)),
            10 => key.clone().prop_map(Step::Remove),
            5 => (key, 0u32..16).prop_map(|(k, f)| Step::Flag(k, f)),
            1 => Just(Step::KeepEven),
        ];
        prop::collection::vec(step, 0..400)
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in steps()) {
            let mut set = WordSet::<4>::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(key, flags) => {
                        if model.insert(key, flags).is_some() {
                            *set.get_mut(key).unwrap() = key << 4 | flags;
                        } else {
                            set.insert(key << 4 | flags);
                        }
                    }
                    Step::Remove(key) => {
                        let removed = set.remove(key).map(|word| word & 15);
                        prop_assert_eq!(removed, model.remove(&key));
                    }
                    Step::Flag(key, flags) => {
                        if let Some(word) = set.get_mut(key) {
                            *word = key << 4 | flags;
                            model.insert(key, flags);
                        }
                    }
                    Step::KeepEven => {
                        set.retain(|word| (*word >> 4).is_multiple_of(2));
                        model.retain(|key, _| key % 2 == 0);
                    }
                }
                prop_assert_eq!(set.len(), model.len());
            }
            let mut words: Vec<u32> = set.iter().collect();
            words.sort_unstable();
            let expected: Vec<u32> = model.iter().map(|(key, flags)| key << 4 | flags).collect();
            prop_assert_eq!(words, expected);
        }
    }

    #[test]
    fn grows_past_every_form_and_back() {
        let count = 100_000u32;
        let mut set = WordSet::<0>::default();
        for key in 0..count {
            set.insert(key);
        }
        assert!(matches!(set.0, Repr::Shards(_)));
        assert!((0..count).all(|key| set.get(key) == Some(key)));
        assert_eq!(set.get(count), None);
        for key in 10..count {
            assert_eq!(set.remove(key), Some(key));
        }
        assert!(matches!(&set.0, Repr::Few(words) if words.capacity() <= 2 * FEW_MAX));
        assert_eq!(set.len(), 10);
    }

    #[test]
    fn pieces_hold_every_word_once() {
        for count in [0u32, 5, 1_000, 50_000] {
            let mut set = WordSet::<0>::default();
            (0..count).for_each(|key| set.insert(key));
            let mut pieces = set.into_pieces();
            let mut words: Vec<u32> = std::iter::from_fn(|| pieces.pop()).collect();
            words.sort_unstable();
            assert!(words.into_iter().eq(0..count));
        }
    }

    #[test]
    fn an_element_is_small() {
        assert!(size_of::<WordSet<4>>() <= 24);
    }
}
