//! From label values to what is recorded on, without a lock.
//!
//! An open-addressing table that only grows: readers load it with one atomic operation and probe; slots are set
//! once, under a mutex that only writers take. The table is replaced when it is half full.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;

/// Label values as they are recorded; the number, if there is one, is the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) texts: &'a [&'a str],
    pub(super) number: Option<i64>,
}

/// Values by key, at most as many as the limit; beyond it they are made anew each time.
pub(super) struct Cache<V> {
    table: ArcSwap<Table<V>>,
    used: Mutex<usize>,
    limit: usize,
    seed: u64,
}

/// Slots; their number is zero or a power of two of which at most half are taken.
struct Table<V>(Box<[Slot<V>]>);

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

const SMALLEST_TABLE: usize = 8;

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
            table: ArcSwap::from_pointee(Table(Box::default())),
            used: Mutex::new(0),
            limit,
            seed: RandomState::new().hash_one(0),
        }
    }

    /// Uses the value of a key, which is made if it is not known.
    pub(super) fn with<R>(&self, key: Key<'_>, make: impl FnOnce() -> V, using: impl FnOnce(&V) -> R) -> R {
        let hash = key.hash(self.seed);
        if let Ok(entry) = self.table.load().find(hash, key) {
            return using(&entry.value);
        }
        // Made outside the lock: making may take other locks, and of two makers one is discarded.
        let entry = Arc::new(Entry::new(hash, key, make()));
        let known = self.insert(entry, key);
        using(&known.value)
    }

    /// Adds an entry, or finds the one that another thread has added.
    fn insert(&self, entry: Arc<Entry<V>>, key: Key<'_>) -> Arc<Entry<V>> {
        let mut used = self.used.lock().expect("no holder panics");
        let table = self.table.load();
        let free = match table.find(entry.hash, key) {
            Ok(known) => return known.clone(),
            Err(free) => free,
        };
        if *used >= self.limit {
            return entry;
        }
        *used += 1;
        match table.0.get(free) {
            Some(slot) if *used * 2 <= table.0.len() => {
                slot.set(entry.clone())
                    .ok()
                    .expect("slots are set under the lock only");
            }
            _ => self.table.store(Arc::new(table.grown(&entry))),
        }
        entry
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

// === impl Table ===

impl<V> Table<V> {
    /// The entry of a key, or the slot where it would be.
    fn find(&self, hash: u64, key: Key<'_>) -> Result<&Arc<Entry<V>>, usize> {
        let slots = &*self.0;
        if slots.is_empty() {
            return Err(0);
        }
        let mask = slots.len() - 1;
        let mut place = hash as usize & mask;
        while let Some(entry) = slots[place].get() {
            if entry.hash == hash && entry.is_of(key) {
                return Ok(entry);
            }
            place = (place + 1) & mask;
        }
        Err(place)
    }

    /// A table of twice the size with one more entry.
    fn grown(&self, entry: &Arc<Entry<V>>) -> Self {
        let size = (self.0.len() * 2).max(SMALLEST_TABLE);
        let mut slots: Box<[Slot<V>]> = (0..size).map(|_| OnceLock::new()).collect();
        for known in self.0.iter().filter_map(OnceLock::get).chain([entry]) {
            let mut place = known.hash as usize & (size - 1);
            while slots[place].get().is_some() {
                place = (place + 1) & (size - 1);
            }
            slots[place] = OnceLock::from(known.clone());
        }
        Self(slots)
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
