//! Several writes at once, with retries of only those that a retry may help.
//!
//! ```text
//! all at once ──▶ some failed ──▶ about tags: never again, told in the end
//!      ▲                └───────▶ anything else: the next attempt has these only
//!      └──────────────────────────────────┘
//! ```
//!
//! Source: specification, state API 6.7. There, what was refused for its tag is forgotten once a later attempt
//! succeeds; here it is told, since a write that was not done must not be taken for one that was.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_component::state::{BulkError, DeleteRequest, ItemError, SetRequest, StateError, StateStore};
use outrigger_svc::BoxFuture;

use super::failure::Failed;

/// A write that can be done by itself or together with others.
pub(super) trait Request: Clone + Send + Sync {
    /// Key as it is stored.
    fn key(&self) -> &str;

    /// Does it by itself.
    fn one<'a>(&'a self, store: &'a dyn StateStore) -> BoxFuture<'a, Result<(), StateError>>;

    /// Does several.
    fn all<'a>(requests: &'a [Self], store: &'a dyn StateStore) -> BoxFuture<'a, Result<(), BulkError>>;
}

/// Several writes, some of which may be done.
pub(super) struct Bulk<R>(Mutex<Left<R>>);

/// Writes that are not done yet.
struct Left<R> {
    requests: Arc<Vec<R>>,
    refused: Refused,
}

/// Writes that were refused for their tags.
#[derive(Default)]
struct Refused {
    texts: Vec<String>,
    has_invalid: bool,
}

// === impl Bulk ===

impl<R: Request> Bulk<R> {
    /// Nothing is done yet.
    pub(super) fn new(requests: Vec<R>) -> Self {
        Self(Mutex::new(Left {
            requests: Arc::new(requests),
            refused: Refused::default(),
        }))
    }

    /// Does what is left. An attempt that is cut off leaves everything as it was.
    pub(super) async fn attempt(&self, store: &dyn StateStore) -> Result<(), Failed> {
        let requests = Arc::clone(&self.left().requests);
        let outcome = match requests.as_slice() {
            [request] => request.one(store).await.map_err(|error| {
                vec![ItemError {
                    key: Some(request.key().to_owned()),
                    error,
                }]
            }),
            all => match R::all(all, store).await {
                Ok(()) => Ok(()),
                Err(BulkError::Items(errors)) => Err(errors),
                Err(BulkError::Whole(error)) => return Err(Failed(error)),
            },
        };
        let mut left = self.left();
        match outcome {
            Ok(()) => left.refused.take().map_or(Ok(()), |error| Err(Failed(error))),
            Err(errors) => Err(Failed(left.settle(errors))),
        }
    }

    fn left(&self) -> MutexGuard<'_, Left<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Left ===

impl<R: Request> Left<R> {
    /// Keeps what may be tried again after an attempt, and says what is to be told of it.
    fn settle(&mut self, mut errors: Vec<ItemError>) -> StateError {
        if self.requests.len() == 1
            && self.refused.texts.is_empty()
            && let Some(error) = errors.pop_if(|_| true)
        {
            return error.error;
        }
        if errors.iter().any(|error| error.key.is_none()) {
            return joined(errors);
        }
        for error in errors.iter().filter(|error| error.error.is_about_etag()) {
            self.refused.add(&error.error);
        }
        let plain = errors.iter().filter(|error| !error.error.is_about_etag());
        let keys: HashSet<_> = plain.filter_map(|error| error.key.as_deref()).collect();
        if keys.is_empty() {
            let refused = self.refused.take();
            return refused.unwrap_or_else(|| joined(errors));
        }
        let again = self
            .requests
            .iter()
            .filter(|request| keys.contains(request.key()));
        self.requests = Arc::new(again.cloned().collect());
        joined(errors)
    }
}

// === impl Refused ===

impl Refused {
    fn add(&mut self, error: &StateError) {
        self.texts.push(error.to_string());
        self.has_invalid |= matches!(error, StateError::EtagInvalid(_));
    }

    /// All of them as one error.
    fn take(&mut self) -> Option<StateError> {
        let Self { texts, has_invalid } = std::mem::take(self);
        if texts.is_empty() {
            return None;
        }
        let texts = texts.join("\n");
        Some(if has_invalid {
            StateError::invalid(texts)
        } else {
            StateError::mismatch(texts)
        })
    }
}

impl Request for SetRequest {
    fn key(&self) -> &str {
        &self.key
    }

    fn one<'a>(&'a self, store: &'a dyn StateStore) -> BoxFuture<'a, Result<(), StateError>> {
        store.set(self)
    }

    fn all<'a>(requests: &'a [Self], store: &'a dyn StateStore) -> BoxFuture<'a, Result<(), BulkError>> {
        store.bulk_set(requests)
    }
}

impl Request for DeleteRequest {
    fn key(&self) -> &str {
        &self.key
    }

    fn one<'a>(&'a self, store: &'a dyn StateStore) -> BoxFuture<'a, Result<(), StateError>> {
        store.delete(self)
    }

    fn all<'a>(requests: &'a [Self], store: &'a dyn StateStore) -> BoxFuture<'a, Result<(), BulkError>> {
        store.bulk_delete(requests)
    }
}

fn joined(errors: Vec<ItemError>) -> StateError {
    StateError::other(BulkError::Items(errors))
}
