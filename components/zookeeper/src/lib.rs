//! Apache ZooKeeper: state, a node for each key.

mod session;
mod settings;
mod state;

use outrigger_component::Catalogue;

pub use state::ZooKeeperStore;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue.state.register("state.zookeeper", state::make);
}
