//! From label values to what is recorded on, without a lock.
//!
//! Open-addressing tables that only grow: a slot is set once, under a mutex that only writers take, so readers
//! need no more than atomic loads. A table that is half full is followed by one of twice its size; those before
//! it stay, because a reader may still look into them. Together they are no larger than the last.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Label values as they are recorded; the number, if there is one, is the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) texts: &'a [&'a str],
    pub(super) number: Option<i64>,
}

/// Values by key, at most as many as the limit; beyond it, and of very long keys, they are made anew each time.
pub(super) struct Cache<V> {
    tables: OnceLock<Box<Tables<V>>>,
    /// The table that has everything.
    current: AtomicUsize,
    used: Mutex<usize>,
    limit: usize,
    seed: u64,
}

/// Table `n` has `SMALLEST_TABLE << n` slots, of which at most half are taken.
type Tables<V> = [OnceLock<Box<[Slot<V>]>>; TABLES];

type Slot<V> = OnceLock<Arc<Entry<V>>>;

struct Entry<V> {
    hash: u64,
    /// The texts, each followed by a byte that no text has.
    texts: Box<[u8]>,
    number: Option<i64>,
    value: V,
}

/// Ends a text in an entry; not a byte of UTF-8.
const END: u8 = 0xff;

/// Longest key that is remembered, in bytes: who makes up names must not fill the memory with them.
const LONGEST_KEY: usize = 1024;

/// Slots of the first table.
const SMALLEST_TABLE: usize = 8;

/// Tables of a cache: more than a limit can ask for.
const TABLES: usize = 40;

// === impl Key ===

impl<'a> Key<'a> {
    pub(super) fn texts(texts: &'a [&'a str]) -> Self {
        Self { texts, number: None }
    }

    pub(super) fn with_number(texts: &'a [&'a str], number: impl Into<i64>) -> Self {
        Self {
            texts,
            number: Some(number.into()),
        }
    }

    /// A folded-multiply hash; the seed is not known outside, so that nobody can make keys collide.
    fn hash(&self, seed: u64) -> u64 {
        let mut state = seed;
        for text in self.texts {
            let mut words = text.as_bytes().chunks_exact(8);
            for word in &mut words {
                let word = word.try_into().expect("a chunk has 8 bytes");
                state = fold(state ^ u64::from_le_bytes(word));
            }
            let tail = words.remainder();
            let mut word = [0; 8];
            word[..tail.len()].copy_from_slice(tail);
            word[7] = END ^ tail.len() as u8;
            state = fold(state ^ u64::from_le_bytes(word));
        }
        fold(state ^ self.number.map_or(0, |number| number as u64))
    }
}

// === impl Cache ===

impl<V: Send + Sync + 'static> Cache<V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            tables: OnceLock::new(),
            current: AtomicUsize::new(0),
            used: Mutex::new(0),
            limit,
            seed: RandomState::new().hash_one(0),
        }
    }

    /// Uses the value of a key, which is made if it is not known.
    pub(super) fn with<R>(&self, key: Key<'_>, make: impl FnOnce() -> V, using: impl FnOnce(&V) -> R) -> R {
        let hash = key.hash(self.seed);
        if let Some(entry) = find(self.table(), hash, key) {
            return using(&entry.value);
        }
        // Made outside the lock: making may take other locks, and of two makers one is discarded.
        let entry = self.insert(Arc::new(Entry::new(hash, key, make())), key);
        using(&entry.value)
    }

    /// The table that has everything; empty before the first insertion.
    fn table(&self) -> &[Slot<V>] {
        let Some(tables) = self.tables.get() else {
            return &[];
        };
        tables[self.current.load(Ordering::Acquire)]
            .get()
            .map_or(&[], |table| table)
    }

    /// Adds an entry, or finds the one that another thread has added.
    fn insert(&self, entry: Arc<Entry<V>>, key: Key<'_>) -> Arc<Entry<V>> {
        let mut used = self.used.lock().expect("no holder panics");
        if let Some(known) = find(self.table(), entry.hash, key) {
            return known.clone();
        }
        if *used >= self.limit || entry.texts.len() > LONGEST_KEY {
            return entry;
        }
        *used += 1;
        if *used * 2 > self.table().len() {
            self.grow();
        }
        put(self.table(), &entry);
        entry
    }

    /// Makes a table of twice the size the current one.
    fn grow(&self) {
        let tables = self
            .tables
            .get_or_init(|| Box::new([const { OnceLock::new() }; TABLES]));
        let old = self.table();
        let next = if old.is_empty() {
            0
        } else {
            self.current.load(Ordering::Relaxed) + 1
        };
        let table =
            tables[next].get_or_init(|| (0..SMALLEST_TABLE << next).map(|_| OnceLock::new()).collect());
        old.iter()
            .filter_map(OnceLock::get)
            .for_each(|entry| put(table, entry));
        self.current.store(next, Ordering::Release);
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The entry of a key.
fn find<'a, V>(table: &'a [Slot<V>], hash: u64, key: Key<'_>) -> Option<&'a Arc<Entry<V>>> {
    let mask = table.len().checked_sub(1)?;
    let mut place = hash as usize & mask;
    // A free slot ends the search; there always is one.
    loop {
        let entry = table[place].get()?;
        if entry.hash == hash && entry.is_of(key) {
            return Some(entry);
        }
        place = (place + 1) & mask;
    }
}

/// Adds an entry that is not there yet to a table that has room.
fn put<V>(table: &[Slot<V>], entry: &Arc<Entry<V>>) {
    let mask = table.len() - 1;
    let mut place = entry.hash as usize & mask;
    while table[place].set(entry.clone()).is_err() {
        place = (place + 1) & mask;
    }
}

// === impl Entry ===

impl<V> Entry<V> {
    fn new(hash: u64, key: Key<'_>, value: V) -> Self {
        let mut texts = Vec::with_capacity(key.texts.iter().map(|text| text.len() + 1).sum());
        for text in key.texts {
            texts.extend_from_slice(text.as_bytes());
            texts.push(END);
        }
        Self {
            hash,
            texts: texts.into(),
            number: key.number,
            value,
        }
    }

    fn is_of(&self, key: Key<'_>) -> bool {
        let mut rest = &*self.texts;
        for text in key.texts {
            match rest.strip_prefix(text.as_bytes()) {
                Some([END, after @ ..]) => rest = after,
                _ => return false,
            }
        }
        rest.is_empty() && self.number == key.number
    }
}

fn fold(word: u64) -> u64 {
    let wide = u128::from(word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_made_once_and_found_again() {
        let cache = Cache::new(10_000);
        let made = AtomicUsize::new(0);
        for round in 0..2 {
            for number in 0..1_000_i64 {
                let text = number.to_string();
                let texts = ["GET", text.as_str()];
                let key = Key::with_number(&texts, number);
                let make = || {
                    made.fetch_add(1, Ordering::Relaxed);
                    number
                };
                assert_eq!(cache.with(key, make, |value| *value), number, "round {round}");
            }
        }
        assert_eq!(made.into_inner(), 1_000);
    }

    #[test]
    fn beyond_the_limit_values_are_made_anew() {
        let cache = Cache::new(2);
        for name in ["a", "b", "c"] {
            cache.with(
                Key::texts(&[name]),
                || name.to_owned(),
                |value| assert_eq!(value, name),
            );
        }
        let second = |name: &str| cache.with(Key::texts(&[name]), || "made".to_owned(), Clone::clone);
        assert_eq!([second("a"), second("b"), second("c")], ["a", "b", "made"]);
    }

    #[test]
    fn threads_agree_on_one_value() {
        let cache = Cache::new(10_000);
        let values = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let cache = &cache;
                    scope.spawn(move || {
                        let get = |number: i64| {
                            cache.with(Key::with_number(&[], number), || thread, |value| *value)
                        };
                        (0..500).map(get).collect::<Vec<usize>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(values.windows(2).all(|pair| pair[0] == pair[1]));
    }

    proptest! {
        #[test]
        fn keys_are_told_apart(first in prop::collection::vec("[ab]{0,9}", 0..3), second in prop::collection::vec("[ab]{0,9}", 0..3), one: Option<bool>, other: Option<bool>) {
            let cache = Cache::new(100);
            let (texts, more): (Vec<&str>, Vec<&str>) = (first.iter().map(String::as_str).collect(), second.iter().map(String::as_str).collect());
            let left = Key { texts: &texts, number: one.map(i64::from) };
            let right = Key { texts: &more, number: other.map(i64::from) };
            cache.with(left, || 1, |_| ());
            let found = cache.with(right, || 2, |value| *value);
            prop_assert_eq!(found == 1, (&first, one) == (&second, other));
        }
    }
}
