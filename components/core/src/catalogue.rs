//! Everything that a binary can make components of.

use crate::http_middleware::HttpMiddleware;
use crate::name_resolution::{NameResolution, NameResolutionInit};
use crate::registry::Registry;

/// The component types that a binary was built with, one registry a family.
///
/// Built once at start; types of pluggable components are added before anything is loaded.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// `middleware.http.*`
    pub http_middleware: Registry<dyn HttpMiddleware>,
    /// `nameresolution.*`, chosen in the Configuration.
    pub name_resolution: Registry<dyn NameResolution, NameResolutionInit>,
}

// === impl Catalogue ===

impl Catalogue {
    /// A catalogue without any type.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of all types, sorted within their family.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.http_middleware.kinds().chain(self.name_resolution.kinds())
    }
}
