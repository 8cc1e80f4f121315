//! Ended spans on their way to all exporters; only sampled spans come here.

use std::sync::Arc;

use super::record::SpanRecord;
use crate::export::Queue;

/// All queues of a tracer.
#[derive(Debug)]
pub(super) struct Pipeline(Vec<Arc<Queue<Arc<SpanRecord>>>>);

// === impl Pipeline ===

impl Pipeline {
    pub(super) fn new(queues: Vec<Arc<Queue<Arc<SpanRecord>>>>) -> Self {
        Self(queues)
    }

    pub(super) fn push(&self, record: SpanRecord) {
        let record = Arc::new(record);
        for queue in &self.0 {
            queue.push(record.clone());
        }
    }

    /// Asks the exporters to export what is queued and to end.
    pub(super) fn close(&self) {
        for queue in &self.0 {
            queue.close();
        }
    }
}
