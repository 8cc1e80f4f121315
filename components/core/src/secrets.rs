//! Secret stores: values by the name of a secret and a key within it.
//!
//! Source: specification, secrets.

use std::collections::BTreeMap;
use std::fmt;

use outrigger_svc::{BoxError, BoxFuture};

use crate::Feature;
use crate::state::Metadata;

/// Secrets by name.
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// What the store can do, as metadata show it.
    fn features(&self) -> &[Feature] {
        &[]
    }

    /// The values of a secret; none where the store answers with nothing at all.
    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>>;

    /// The values of all secrets that the store may read.
    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>>;

    /// Ends what runs in the background and closes connections.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The values of a secret by key. Its debug form names the keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(BTreeMap<String, String>);

// === impl Secret ===

impl Secret {
    /// A secret of one value.
    pub fn single(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self(BTreeMap::from([(key.into(), value.into())]))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Keys and values.
    #[must_use]
    pub fn into_inner(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Secret {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
