//! A crypto provider over keys that are at hand.

use std::fmt;
use std::sync::Arc;

use outrigger_component::crypto::{CryptoProvider, KeyUse, Sealed};
use outrigger_svc::{BoxError, BoxFuture};

use crate::key::Key;

/// Where keys are found by their names.
pub trait KeySource: fmt::Debug + Send + Sync + 'static {
    /// The key of a name.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    fn key<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Key>, BoxError>>;

    /// Ends what runs in the background.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Wraps and unwraps with the keys of a source.
#[derive(Debug)]
pub struct Provider<S>(S);

// === impl Provider ===

impl<S: KeySource> Provider<S> {
    /// A provider over a source.
    pub fn new(source: S) -> Self {
        Self(source)
    }

    async fn retrieve(&self, name: &str) -> Result<Arc<Key>, BoxError> {
        let key = self.0.key(name).await;
        key.map_err(|error| format!("failed to retrieve the key encryption key: {error}").into())
    }
}

impl<S: KeySource> CryptoProvider for Provider<S> {
    fn wrap_key<'a>(&'a self, key: &'a [u8], with: KeyUse<'a>) -> BoxFuture<'a, Result<Sealed, BoxError>> {
        Box::pin(async move { Ok(self.retrieve(with.name).await?.wrap(key, with)?) })
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        with: KeyUse<'a>,
    ) -> BoxFuture<'a, Result<Vec<u8>, BoxError>> {
        Box::pin(async move {
            let mut key = self.retrieve(with.name).await?.unwrap(wrapped, with)?;
            Ok(std::mem::take(&mut *key))
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.0.close()
    }
}
