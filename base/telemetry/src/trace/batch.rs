//! Ended spans on their way to the exporters.
//!
//! Every exporter has a queue of its own, so that one that hangs costs the others nothing. A queue is a vector
//! behind a mutex that is held for a push or a swap; only sampled spans come here. Its task sleeps until there
//! is a span, gives it company for at most the delay, and exports batch by batch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::export::{ExportError, Exporter};
use super::record::SpanRecord;
use super::settings::BatchLimits;

/// Log scope of the exporters.
const SCOPE: &str = "dapr.runtime.trace";

/// All queues of a tracer.
#[derive(Debug)]
pub(super) struct Pipeline(Vec<Arc<Queue>>);

/// Spans that wait for one exporter.
#[derive(Debug)]
pub(super) struct Queue {
    limits: BatchLimits,
    spans: Mutex<Vec<Arc<SpanRecord>>>,
    dropped: AtomicU64,
    closed: AtomicBool,
    wake: Notify,
}

/// Whether an exporter works, so that a receiver that is down makes one line and not one a batch.
#[derive(Debug, Default)]
struct Health {
    failing: bool,
}

// === impl Pipeline ===

impl Pipeline {
    pub(super) fn new(queues: Vec<Arc<Queue>>) -> Self {
        Self(queues)
    }

    pub(super) fn push(&self, record: SpanRecord) {
        let record = Arc::new(record);
        for queue in &self.0 {
            queue.push(record.clone());
        }
    }

    /// Asks the tasks to export what is queued and to end.
    pub(super) fn close(&self) {
        for queue in &self.0 {
            queue.closed.store(true, Ordering::Release);
            queue.wake.notify_one();
        }
    }
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(limits: BatchLimits) -> Self {
        let batch = limits.batch.clamp(1, limits.queue.max(1));
        Self {
            limits: BatchLimits { batch, ..limits },
            spans: Mutex::default(),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn push(&self, span: Arc<SpanRecord>) {
        if self.is_closed() {
            return;
        }
        let waiting = {
            let mut spans = self.lock();
            if spans.len() >= self.limits.queue {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            spans.push(span);
            spans.len()
        };
        // The first one starts the wait for company, a full batch ends it.
        if waiting == 1 || waiting == self.limits.batch {
            self.wake.notify_one();
        }
    }

    /// Exports what is pushed until the queue is closed and empty.
    pub(super) async fn drain_into(self: Arc<Self>, exporter: Exporter) {
        let mut health = Health::default();
        while !self.is_closed() {
            self.gather().await;
            self.export(&exporter, &mut health).await;
        }
        self.export(&exporter, &mut health).await;
    }

    /// Waits until there is a batch worth exporting.
    async fn gather(&self) {
        while self.len() == 0 && !self.is_closed() {
            self.wake.notified().await;
        }
        let due = Instant::now() + self.limits.delay;
        while self.len() < self.limits.batch && !self.is_closed() {
            if timeout_at(due, self.wake.notified()).await.is_err() {
                return;
            }
        }
    }

    async fn export(&self, exporter: &Exporter, health: &mut Health) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            let result = timeout(self.limits.timeout, exporter.export(batch)).await;
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            health.note(
                exporter,
                count,
                dropped,
                result.unwrap_or(Err(ExportError::Timeout)),
            );
        }
    }

    fn take(&self) -> Vec<Arc<SpanRecord>> {
        let mut spans = self.lock();
        if spans.len() <= self.limits.batch {
            return std::mem::take(&mut *spans);
        }
        let rest = spans.split_off(self.limits.batch);
        std::mem::replace(&mut *spans, rest)
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SpanRecord>>> {
        self.spans.lock().expect("no holder panics")
    }
}

// === impl Health ===

impl Health {
    fn note(&mut self, exporter: &Exporter, count: usize, dropped: u64, result: Result<(), ExportError>) {
        let name = exporter.name();
        if dropped > 0 {
            tracing::warn!(target: SCOPE, "{dropped} spans dropped: the queue of the {name} exporter was full");
        }
        match result {
            Ok(()) if self.failing => tracing::info!(target: SCOPE, "spans are exported to {name} again"),
            Ok(()) => {}
            Err(error) if self.failing => {
                tracing::debug!(target: SCOPE, "failed to export {count} spans to {name}: {error}");
                return;
            }
            Err(error) => {
                tracing::warn!(target: SCOPE, "failed to export {count} spans to {name}: {error}");
                self.failing = true;
                return;
            }
        }
        self.failing = false;
    }
}
