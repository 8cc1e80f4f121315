//! The handlers of a pipeline as they are now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger_component::Chain;

/// The chain of one pipeline. Clones share it; replacing it concerns the next request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handlers(Arc<ArcSwap<Chain>>);

// === impl Handlers ===

impl Handlers {
    /// Replaces the chain; requests in flight keep theirs.
    pub(crate) fn replace(&self, chain: Chain) {
        self.0.store(Arc::new(chain));
    }

    /// The chain for one request; none if it has no handler.
    pub(crate) fn chain(&self) -> Option<Chain> {
        let chain = self.0.load();
        (!chain.is_empty()).then(|| Chain::clone(&chain))
    }
}
