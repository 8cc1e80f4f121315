//! Amazon Web Services: DynamoDB state, secrets and Cloud Map.

use outrigger_component::Catalogue;

/// Adds the types of this crate.
pub fn register(_catalogue: &mut Catalogue) {}
