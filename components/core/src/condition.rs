//! How well a component does, as it says itself.

use std::fmt;
use std::sync::Arc;

/// Tells the sidecar when a component that is ready cannot do all it should, and when it can again.
///
/// The state shows in metadata, metrics and the log. Telling the same twice is told once. Cheap to clone.
#[derive(Clone)]
pub struct Condition(Arc<Tell>);

type Tell = dyn Fn(Option<&str>) + Send + Sync;

// === impl Condition ===

impl Condition {
    /// A condition that is told on: the reason while the component is degraded, none when it is well.
    #[must_use]
    pub fn new(tell: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The component works, but not as it should.
    pub fn degraded(&self, reason: &str) {
        (self.0)(Some(reason));
    }

    /// The component works as it should.
    pub fn well(&self) {
        (self.0)(None);
    }
}

impl Default for Condition {
    /// A condition that nobody asks for.
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}
