//! What a store in memory holds, without its lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use outrigger_component::state::{Item, KeysLike, KeysPage, Like, Metadata, StateError, TTL_EXPIRE_TIME};
use outrigger_kit::id::uuid;
use outrigger_kit::number;
use outrigger_kit::time::rfc3339;
use tokio::time::Instant;

/// Values by key, and which of them expire when.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_key: HashMap<Arc<str>, Entry>,
    /// Keys by when they expire; the number of the write makes each one different.
    expiring: BTreeMap<(Instant, u64), Arc<str>>,
    /// Number of the last write.
    sequence: u64,
}

/// A value that is kept; what it frees takes time, so it is dropped where no lock is held.
#[derive(Debug)]
pub(super) struct Entry {
    data: Bytes,
    etag: Box<str>,
    expiry: Option<Expiry>,
    sequence: u64,
}

/// When a value expires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    /// By the clock that does not jump.
    pub(super) at: Instant,
    /// By the clock on the wall.
    pub(super) shown: SystemTime,
}

/// Room for fewer keys is not given back.
const LEAST_ROOM: usize = 1024;

/// What separates the parts of a key.
const SEPARATOR: &str = "||";

// === impl Entries ===

impl Entries {
    /// The value of a key, and the entry that was removed because it has expired.
    pub(super) fn get(&mut self, key: &str, now: Instant) -> (Option<Item>, Option<Entry>) {
        match self.by_key.get(key) {
            None => (None, None),
            Some(entry) if entry.is_expired(now) => (None, self.remove(key)),
            Some(entry) => (Some(entry.item()), None),
        }
    }

    /// Whether a write may happen that names a tag or wants to be the first. What has expired and is still there
    /// counts.
    pub(super) fn check(
        &self,
        key: &str,
        etag: Option<&str>,
        is_first_write: bool,
    ) -> Result<(), StateError> {
        match (self.by_key.get(key), etag) {
            (Some(_), None) if is_first_write => {
                Err(StateError::mismatch("item already exists and no etag was passed"))
            }
            (_, None) => Ok(()),
            (None, Some(_)) => Err(StateError::mismatch(format!(
                "state not exist or expired for key={key}"
            ))),
            (Some(entry), Some(etag)) if *entry.etag == *etag => Ok(()),
            (Some(entry), Some(etag)) => Err(StateError::mismatch(format!(
                "state etag not match for key={key}: current={}, expect={etag}",
                entry.etag
            ))),
        }
    }

    /// Writes a value and returns the one that it replaces.
    pub(super) fn insert(&mut self, key: &str, data: Bytes, expiry: Option<Expiry>) -> Option<Entry> {
        self.sequence += 1;
        let entry = Entry {
            data,
            etag: uuid().into(),
            expiry,
            sequence: self.sequence,
        };
        let key = match self.by_key.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(key),
        };
        if let Some(expiry) = expiry {
            self.expiring.insert((expiry.at, self.sequence), Arc::clone(&key));
        }
        let replaced = self.by_key.insert(key, entry)?;
        self.forget_expiry(&replaced);
        Some(replaced)
    }

    /// Deletes a value and returns it.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let removed = self.by_key.remove(key)?;
        self.forget_expiry(&removed);
        self.give_back();
        Some(removed)
    }

    /// Takes out at most `limit` values that have expired.
    pub(super) fn sweep(&mut self, now: Instant, limit: usize) -> Vec<Entry> {
        let mut swept = Vec::new();
        while swept.len() < limit {
            let Some(first) = self.expiring.first_entry() else {
                break;
            };
            if first.key().0 >= now {
                break;
            }
            let key = first.remove();
            swept.extend(self.by_key.remove(&key));
        }
        self.give_back();
        swept
    }

    /// Takes out the values whose keys begin with `prefix` and have no further part behind it.
    pub(super) fn remove_with_prefix(&mut self, prefix: &str) -> Result<Vec<Entry>, StateError> {
        if prefix.is_empty() || prefix == SEPARATOR {
            return Err(StateError::other(
                "a prefix is required for deleteWithPrefix request",
            ));
        }
        let prefix = prefix.strip_suffix(SEPARATOR).unwrap_or(prefix);
        let is_meant = |key: &str| {
            let rest = key
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix(SEPARATOR));
            rest.is_some_and(|rest| !rest.contains(SEPARATOR))
        };
        let keys: Vec<_> = self.by_key.keys().filter(|key| is_meant(key)).cloned().collect();
        Ok(keys.iter().filter_map(|key| self.remove(key)).collect())
    }

    /// The keys that are like a pattern, those written last at the end. The token is the number of the write that
    /// the next page begins with.
    pub(super) fn keys_like(&self, request: &KeysLike, now: Instant) -> Result<KeysPage, StateError> {
        let like = Like::parse(&request.pattern)?;
        let start = match request.token.as_deref() {
            None | Some("") => 0,
            Some(token) => number::parse_uint(token)
                .map_err(|error| StateError::other(format!("invalid continuation token: {error}")))?,
        };
        let is_meant =
            |key: &str, entry: &Entry| entry.sequence >= start && !entry.is_expired(now) && like.matches(key);
        let found = self.by_key.iter().filter(|(key, entry)| is_meant(key, entry));
        let mut found: Vec<_> = found.map(|(key, entry)| (entry.sequence, key)).collect();
        found.sort_unstable_by_key(|(sequence, _)| *sequence);
        let limit = match request.page_size {
            None | Some(0) => found.len(),
            Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
        };
        Ok(KeysPage {
            token: found.get(limit).map(|(sequence, _)| sequence.to_string()),
            keys: found.iter().take(limit).map(|(_, key)| key.to_string()).collect(),
        })
    }

    fn forget_expiry(&mut self, gone: &Entry) {
        if let Some(expiry) = gone.expiry {
            self.expiring.remove(&(expiry.at, gone.sequence));
        }
    }

    /// A table that was large once gives its room back when most of it is empty.
    fn give_back(&mut self) {
        let (length, room) = (self.by_key.len(), self.by_key.capacity());
        if room > LEAST_ROOM && length < room / 8 {
            self.by_key.shrink_to(length * 2);
        }
    }
}

// === impl Entry ===

impl Entry {
    fn is_expired(&self, now: Instant) -> bool {
        self.expiry.is_some_and(|expiry| now > expiry.at)
    }

    fn item(&self) -> Item {
        let metadata = self
            .expiry
            .map(|expiry| (TTL_EXPIRE_TIME.to_owned(), rfc3339(expiry.shown)));
        Item {
            data: Some(self.data.clone()),
            etag: Some(self.etag.to_string()),
            metadata: Metadata::from_iter(metadata),
            content_type: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn room_is_given_back_when_most_of_it_is_empty() {
        let mut entries = Entries::default();
        for number in 0..50_000 {
            entries.insert(&format!("k{number}"), Bytes::new(), None);
        }
        let full = entries.by_key.capacity();
        for number in 0..49_990 {
            entries.remove(&format!("k{number}"));
        }
        assert!(entries.by_key.capacity() < full / 20);
        assert_eq!(entries.by_key.len(), 10);
    }

    #[test]
    fn a_sweep_takes_what_has_expired_and_no_more_than_its_limit() {
        let mut entries = Entries::default();
        let start = Instant::now();
        let expiry = |seconds| {
            Some(Expiry {
                at: start + Duration::from_secs(seconds),
                shown: SystemTime::now(),
            })
        };
        for key in ["a", "b", "c"] {
            entries.insert(key, Bytes::new(), expiry(1));
        }
        entries.insert("b", Bytes::new(), expiry(9));
        entries.insert("c", Bytes::new(), None);
        entries.insert("d", Bytes::new(), expiry(1));
        assert_eq!(entries.expiring.len(), 3);
        assert!(entries.sweep(start + Duration::from_secs(1), 9).is_empty());
        let later = start + Duration::from_secs(2);
        assert_eq!(entries.sweep(later, 1).len(), 1);
        assert_eq!(entries.sweep(later, 9).len(), 1);
        assert!(entries.sweep(later, 9).is_empty());
        assert_eq!(entries.by_key.len(), 2);
    }
}
