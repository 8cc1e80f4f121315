//! HashiCorp Vault: secrets of its KV engine, version 2.
//!
//! Source: specification, secrets A3; the HTTP API of Vault.

mod client;
mod settings;
mod store;

use outrigger_component::Catalogue;

pub use store::Vault;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .secret_stores
        .register("secretstores.hashicorp.vault", store::make);
}
