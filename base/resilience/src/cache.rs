//! A bounded map that forgets what was not used for longest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Values by text, at most so many.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    limit: usize,
    by_key: HashMap<Arc<str>, Used<V>>,
    /// Keys by their last use.
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
}

#[derive(Debug)]
struct Used<V> {
    value: V,
    last_use: u64,
}

// === impl Cache ===

impl<V> Cache<V> {
    /// An empty cache for `limit` values, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            by_key: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// The value of a key, made anew if it is not there.
    pub(crate) fn get(&mut self, key: &str, make: impl FnOnce() -> V) -> &mut V {
        self.uses += 1;
        let now = self.uses;
        let key = match self.by_key.get(key) {
            Some(used) => self.by_use.remove(&used.last_use),
            None => None,
        }
        .unwrap_or_else(|| {
            if self.by_key.len() >= self.limit
                && let Some((_, oldest)) = self.by_use.pop_first()
            {
                self.by_key.remove(&oldest);
            }
            Arc::from(key)
        });
        self.by_use.insert(now, Arc::clone(&key));
        let used = self.by_key.entry(key).or_insert_with(|| Used {
            value: make(),
            last_use: now,
        });
        used.last_use = now;
        &mut used.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_was_not_used_for_longest_is_forgotten() {
        let mut cache = Cache::new(2);
        for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
            cache.get(key, || value);
        }
        assert_eq!(*cache.get("c", || 4), 4);
        assert_eq!(*cache.get("a", || 5), 1);
        assert_eq!(*cache.get("b", || 6), 6);
        assert_eq!((cache.by_key.len(), cache.by_use.len()), (2, 2));
    }

    #[test]
    fn there_is_always_room_for_one() {
        let mut cache = Cache::new(0);
        assert_eq!(*cache.get("a", || 1), 1);
        assert_eq!(*cache.get("a", || 2), 1);
        assert_eq!(*cache.get("b", || 3), 3);
    }
}
