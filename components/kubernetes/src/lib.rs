//! Kubernetes: secrets and keys.

use outrigger_component::Catalogue;

/// Adds the types of this crate.
pub fn register(_catalogue: &mut Catalogue) {}
