//! State in MongoDB, by its official driver.
//!
//! Each value is a document: `_id` the key, `value` the value, `_etag` a random tag, `_ttl` when it expires or null.
//!
//! Source: specification, state stores 11.

mod query;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use outrigger_component::Catalogue;
use outrigger_component::state::StateStore;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    let make = |init| async { state::open(init).await.map(|store| store as Arc<dyn StateStore>) };
    catalogue.state.register("state.mongodb", make);
}
