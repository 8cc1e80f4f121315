//! Keys by a pattern, in the order in which they were made.

use outrigger_component::state::{KeysPage, StateError};

use crate::generated::etcdserverpb::KeyValue;

/// Where a page begins: a moment of the whole store, and the last key before the page.
///
/// `<revision>:<create revision>`; keys that one transaction made have one revision, so how many of them are on
/// the page before may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The moment.
    pub(super) snapshot: i64,
    /// Revision that made the last key.
    pub(super) created: i64,
    /// How many keys of that revision are on the pages before; none for all.
    taken: Option<usize>,
}

// === impl Token ===

impl Token {
    pub(super) fn parse(text: &str) -> Result<Self, StateError> {
        let invalid = || StateError::other(format!("invalid continuation token: {text}"));
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse::<i64>().ok();
        let (snapshot, created) = number().zip(number()).ok_or_else(invalid)?;
        let taken = match parts.next() {
            None => None,
            Some(taken) => Some(taken.parse().map_err(|_| invalid())?),
        };
        Ok(Self {
            snapshot,
            created,
            taken,
        })
    }

    /// The first revision of keys that may be on the page.
    pub(super) const fn first(&self) -> i64 {
        match self.taken {
            Some(_) => self.created,
            None => self.created.saturating_add(1),
        }
    }

    /// How many keys of the first revision are on the pages before.
    fn skipped(self) -> usize {
        self.taken.unwrap_or_default()
    }

    fn text(self) -> String {
        let Self {
            snapshot, created, ..
        } = self;
        match self.taken {
            None => format!("{snapshot}:{created}"),
            Some(taken) => format!("{snapshot}:{created}:{taken}"),
        }
    }
}

/// The page of `found`, which are all keys of the pattern from the token on, with the names that callers know.
pub(super) fn page(
    mut found: Vec<(KeyValue, String)>,
    token: Option<Token>,
    snapshot: i64,
    size: Option<u32>,
) -> KeysPage {
    found.sort_by(|(left, left_name), (right, right_name)| {
        (left.create_revision, left_name).cmp(&(right.create_revision, right_name))
    });
    let skipped = token.map_or(0, Token::skipped).min(found.len());
    let size = match size {
        None | Some(0) => found.len(),
        Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
    };
    let end = skipped.saturating_add(size).min(found.len());
    let next = found
        .get(end)
        .zip(end.checked_sub(1).and_then(|last| found.get(last)));
    let token = next.map(|((next, _), (last, _))| {
        let created = last.create_revision;
        let is_split = next.create_revision == created;
        let taken = found[..end]
            .iter()
            .filter(|(key, _)| key.create_revision == created)
            .count();
        Token {
            snapshot,
            created,
            taken: is_split.then_some(taken),
        }
    });
    KeysPage {
        keys: found
            .into_iter()
            .skip(skipped)
            .take(size)
            .map(|(_, name)| name)
            .collect(),
        token: token.map(Token::text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_revision_may_be_on_several_pages() {
        let keys = [("a", 4), ("b", 3), ("c", 4), ("d", 4), ("e", 5)];
        let (mut token, mut seen, mut tokens) = (None, Vec::new(), Vec::new());
        loop {
            let first = token.map_or(0, |token: Token| token.first());
            let found = keys.iter().filter(|(_, created)| *created >= first);
            let found = found.map(|(name, created)| {
                let key = KeyValue {
                    create_revision: *created,
                    ..KeyValue::default()
                };
                (key, (*name).to_owned())
            });
            let page = page(found.collect(), token, 9, Some(2));
            seen.extend(page.keys);
            let Some(text) = page.token else { break };
            token = Some(Token::parse(&text).unwrap());
            tokens.push(text);
        }
        assert_eq!(seen, ["b", "a", "c", "d", "e"]);
        assert_eq!(tokens, ["9:4:1", "9:4"]);
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        for text in ["", "1", "1:", "a:b", "1:2:x"] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
    }
}
