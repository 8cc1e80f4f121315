//! State stores.
//!
//! Source: specification, state stores.

mod entries;
mod in_memory;

use outrigger_component::Registry;
use outrigger_component::state::StateStore;

pub use in_memory::InMemory;

/// Adds the types of this module.
pub(crate) fn register(registry: &mut Registry<dyn StateStore>) {
    registry.register("state.in-memory", InMemory::make);
}
