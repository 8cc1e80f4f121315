//! Google Cloud: secrets in Secret Manager.
//!
//! Source: specification, secrets A3; the REST interface of Secret Manager.

mod credential;
mod secret_manager;
mod settings;

use outrigger_component::Catalogue;

pub use secret_manager::SecretManager;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .secret_stores
        .register("secretstores.gcp.secretmanager", secret_manager::make);
}
