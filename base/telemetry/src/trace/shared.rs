//! A span that all who work on a request may tell about.

use std::sync::{Arc, Mutex, PoisonError};

use super::span::Span;

/// A span in the hands of several; nothing at all, not even an allocation, if the span is not recorded.
#[derive(Clone, Debug, Default)]
pub struct SharedSpan(Option<Arc<Mutex<Option<Span>>>>);

// === impl SharedSpan ===

impl SharedSpan {
    /// Shares a span. One that is not recorded ends here, which nobody sees.
    #[must_use]
    pub fn new(span: Span) -> Self {
        Self(span.is_recording().then(|| Arc::new(Mutex::new(Some(span)))))
    }

    /// Whether the span is recorded; if not, names and attributes need not be made.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Changes the span if it is recorded and has not ended.
    pub fn change(&self, change: impl FnOnce(&mut Span)) {
        if let Some(shared) = &self.0
            && let Some(span) = shared.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            change(span);
        }
    }

    /// Ends the span, whoever still holds it.
    pub fn end(&self) {
        if let Some(shared) = &self.0 {
            // The span is handed to its exporters when it is dropped, which is not done under the lock.
            let span = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(span);
        }
    }
}
