//! The table that a hit reads: no lock, no allocation.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::endpoint::Request;

/// A map from callees to values that is read on every call and written rarely.
#[derive(Debug)]
pub(crate) struct Table<V>(ArcSwap<Map<V>>);

/// A callee, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    app_id: Arc<str>,
    namespace: Arc<str>,
    port: u16,
}

type Map<V> = HashMap<Key, Arc<V>, Seed>;

/// Makes hashers that differ from process to process, so that nobody can aim at one bucket.
#[derive(Clone, Copy, Debug)]
struct Seed(u64);

/// Multiplies and folds eight bytes at a time: a few nanoseconds for an app id.
struct Fold(u64);

/// Lets the table be asked by a borrowed callee.
trait AsRequest {
    fn as_request(&self) -> Request<'_>;
}

// === impl Table ===

impl<V> Table<V> {
    pub(crate) fn new() -> Self {
        Self(ArcSwap::from_pointee(HashMap::with_hasher(Seed(fastrand::u64(
            ..,
        )))))
    }

    /// The table of this moment.
    pub(crate) fn load(&self) -> Snapshot<V> {
        Snapshot(self.0.load())
    }

    pub(crate) fn insert(&self, key: &Key, value: &Arc<V>) {
        self.0.rcu(|map| {
            let mut map = Map::clone(map);
            map.insert(key.clone(), Arc::clone(value));
            map
        });
    }

    /// Removes what is kept for `key`, but only if it is still `value`.
    pub(crate) fn remove(&self, key: &Key, value: &Arc<V>) {
        self.0.rcu(|map| {
            let mut map = Map::clone(map);
            if map.get(key).is_some_and(|kept| Arc::ptr_eq(kept, value)) {
                map.remove(key);
            }
            map
        });
    }
}

/// One state of the table.
pub(crate) struct Snapshot<V>(Guard<Arc<Map<V>>>);

impl<V> Snapshot<V> {
    pub(crate) fn get(&self, request: &Request<'_>) -> Option<&Arc<V>> {
        self.0.get(request as &dyn AsRequest)
    }
}

// === impl Key ===

impl Key {
    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            app_id: &self.app_id,
            namespace: &self.namespace,
            port: self.port,
        }
    }
}

impl From<&Request<'_>> for Key {
    fn from(request: &Request<'_>) -> Self {
        Self {
            app_id: request.app_id.into(),
            namespace: request.namespace.into(),
            port: request.port,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.request().hash(state);
    }
}

impl<'a> Borrow<dyn AsRequest + 'a> for Key {
    fn borrow(&self) -> &(dyn AsRequest + 'a) {
        self
    }
}

impl AsRequest for Key {
    fn as_request(&self) -> Request<'_> {
        self.request()
    }
}

impl AsRequest for Request<'_> {
    fn as_request(&self) -> Request<'_> {
        *self
    }
}

impl Hash for dyn AsRequest + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_request().hash(state);
    }
}

impl PartialEq for dyn AsRequest + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.as_request() == other.as_request()
    }
}

impl Eq for dyn AsRequest + '_ {}

// === impl Seed ===

impl BuildHasher for Seed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

// === impl Fold ===

impl Fold {
    fn fold(&mut self, word: u64) {
        /// The fraction of the golden ratio, odd and without pattern.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        let bytes = product.to_le_bytes();
        let (low, high) = bytes.split_at(8);
        self.0 = read(low) ^ read(high).rotate_left(32);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.fold(read(chunk));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.fold(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(u64::from(value));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Reads up to eight bytes as a number.
fn read(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'static> = Request {
        app_id: "callee",
        namespace: "default",
        port: 50002,
    };

    #[test]
    fn a_callee_is_found_by_all_three_facts() {
        let table = Table::new();
        table.insert(&Key::from(&REQUEST), &Arc::new("value"));
        let snapshot = table.load();
        assert_eq!(**snapshot.get(&REQUEST).unwrap(), "value");
        assert!(
            snapshot
                .get(&Request {
                    namespace: "other",
                    ..REQUEST
                })
                .is_none()
        );
        assert!(
            snapshot
                .get(&Request {
                    app_id: "other",
                    ..REQUEST
                })
                .is_none()
        );
        assert!(snapshot.get(&Request { port: 1, ..REQUEST }).is_none());
    }

    #[test]
    fn only_the_value_that_was_meant_is_removed() {
        let table = Table::new();
        let key = Key::from(&REQUEST);
        let (old, new) = (Arc::new(1), Arc::new(2));
        table.insert(&key, &old);
        table.insert(&key, &new);
        table.remove(&key, &old);
        assert_eq!(**table.load().get(&REQUEST).unwrap(), 2);
        table.remove(&key, &new);
        assert!(table.load().get(&REQUEST).is_none());
    }

    #[test]
    fn hashes_of_similar_callees_spread() {
        let seed = Seed(fastrand::u64(..));
        let low: std::collections::HashSet<_> = (0..1000)
            .map(|number| {
                let app_id = format!("app-{number}");
                seed.hash_one(Request {
                    app_id: &app_id,
                    ..REQUEST
                }) & 0xffff
            })
            .collect();
        assert!(low.len() > 950, "{}", low.len());
    }
}
