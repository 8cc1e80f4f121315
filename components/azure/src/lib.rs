//! Microsoft Azure: Cosmos DB, Blob and Table state, Key Vault secrets.

use outrigger_component::Catalogue;

/// Adds the types of this crate.
pub fn register(_catalogue: &mut Catalogue) {}
