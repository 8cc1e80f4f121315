//! Everything that a binary can make components of.

use crate::configuration::ConfigurationStore;
use crate::crypto::CryptoProvider;
use crate::http_middleware::HttpMiddleware;
use crate::lock::LockStore;
use crate::name_resolution::{NameResolution, NameResolutionInit};
use crate::registry::Registry;
use crate::secrets::SecretStore;
use crate::state::StateStore;

/// The component types that a binary was built with, one registry a family.
///
/// Built once at start; types of pluggable components are added before anything is loaded.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// `state.*`
    pub state: Registry<dyn StateStore>,
    /// `secretstores.*`
    pub secret_stores: Registry<dyn SecretStore>,
    /// `configuration.*`
    pub configuration: Registry<dyn ConfigurationStore>,
    /// `lock.*`
    pub lock: Registry<dyn LockStore>,
    /// `crypto.*`
    pub crypto: Registry<dyn CryptoProvider>,
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
        let stores = self
            .state
            .kinds()
            .chain(self.secret_stores.kinds())
            .chain(self.configuration.kinds());
        let others = self.lock.kinds().chain(self.crypto.kinds());
        let pipeline = self.http_middleware.kinds().chain(self.name_resolution.kinds());
        stores.chain(others).chain(pipeline)
    }
}
