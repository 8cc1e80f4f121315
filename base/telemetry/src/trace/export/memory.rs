//! A receiver for tests.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::Semaphore;

use crate::export::ExportError;
use crate::trace::record::SpanRecord;

/// Keeps batches as they come; each takes a permit, without which the receiver hangs.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Memory {
    pub(in crate::trace) batches: Arc<Mutex<Vec<Vec<Arc<SpanRecord>>>>>,
    pub(in crate::trace) permits: Arc<Semaphore>,
    /// Whether batches are refused.
    pub(in crate::trace) refuses: bool,
}

// === impl Memory ===

impl Memory {
    pub(in crate::trace) fn with_permits(permits: usize) -> Self {
        Self {
            batches: Arc::default(),
            permits: Arc::new(Semaphore::new(permits)),
            refuses: false,
        }
    }

    /// Sizes of the batches received.
    pub(in crate::trace) fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(Vec::len).collect()
    }

    pub(super) async fn export(&self, batch: Vec<Arc<SpanRecord>>) -> Result<(), ExportError> {
        self.permits.acquire().await.unwrap().forget();
        self.batches.lock().unwrap().push(batch);
        if self.refuses {
            Err(ExportError::Refused(StatusCode::SERVICE_UNAVAILABLE))
        } else {
            Ok(())
        }
    }
}
