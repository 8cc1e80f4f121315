//! A loaded store.

use std::fmt;
use std::sync::Arc;

use outrigger_component::Feature;
use outrigger_component::state::StateStore;

use super::{KeyPrefix, Keys};

/// A store with what its component says about keys and values.
pub(crate) struct Store {
    /// Name of the component.
    pub(crate) name: String,
    /// What keeps the values.
    pub(crate) component: Arc<dyn StateStore>,
    /// What stands before each key.
    pub(crate) prefix: KeyPrefix,
    /// By which values are encrypted, if they are.
    pub(crate) keys: Option<Arc<Keys>>,
}

// === impl Store ===

impl Store {
    /// Whether the store says that it can do this.
    pub(crate) fn can(&self, feature: &Feature) -> bool {
        self.component.features().contains(feature)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
