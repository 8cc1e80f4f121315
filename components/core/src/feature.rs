//! What a component says it can do.

use std::borrow::Cow;
use std::fmt;

/// A capability as metadata show it, such as `TRANSACTIONAL`.
///
/// Source: specification, components 5.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature(Cow<'static, str>);

// === impl Feature ===

impl Feature {
    /// Values carry tags that a write can ask for.
    pub const ETAG: Self = Self::known("ETAG");
    /// Several writes happen together or not at all.
    pub const TRANSACTIONAL: Self = Self::known("TRANSACTIONAL");
    /// Values can be found by what is in them.
    pub const QUERY_API: Self = Self::known("QUERY_API");
    /// Values can expire.
    pub const TTL: Self = Self::known("TTL");
    /// Keys that begin alike can be deleted together.
    pub const DELETE_WITH_PREFIX: Self = Self::known("DELETE_WITH_PREFIX");
    /// Keys can be listed by a pattern.
    pub const KEYS_LIKE: Self = Self::known("KEYS_LIKE");
    /// Values live in partitions that a request names.
    pub const PARTITION_KEY: Self = Self::known("PARTITION_KEY");
    /// A secret has several values.
    pub const MULTIPLE_KEY_VALUES_PER_SECRET: Self = Self::known("MULTIPLE_KEY_VALUES_PER_SECRET");

    const fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as metadata show it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Feature {
    /// A capability that a component in another process names.
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
