//! Spans and log records on their way to a receiver.
//!
//! Every receiver has a queue of its own, so that one that hangs costs the others nothing. A queue is a vector
//! behind a mutex that is held for a push or a swap. Its task sleeps until there is something, gives it company
//! for at most the delay, and exports batch by batch.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::settings::BatchLimits;
use super::{ExportError, Signal};
use crate::metrics::Metrics;

/// Log scope of the exporters.
const SCOPE: &str = "dapr.runtime.trace";

/// One receiver.
pub(crate) trait Receive: Send + Sync + 'static {
    /// What it takes.
    type Item: Send + 'static;

    /// What it takes, as it is counted and logged.
    const SIGNAL: Signal;

    /// Ships a batch; what fails is lost.
    fn export(&self, batch: Vec<Self::Item>) -> impl Future<Output = Result<(), ExportError>> + Send;

    /// How log lines call it.
    fn name(&self) -> &str;
}

/// What waits for one receiver.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limits: BatchLimits,
    items: Mutex<Vec<T>>,
    dropped: AtomicU64,
    closed: AtomicBool,
    wake: Notify,
}

/// Whether exports work, so that a receiver that is down makes one line and not one a batch.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failing: bool,
}

// === impl Queue ===

impl<T: Send + 'static> Queue<T> {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        let batch = limits.batch.clamp(1, limits.queue.max(1));
        Self {
            limits: BatchLimits { batch, ..limits },
            items: Mutex::default(),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    pub(crate) fn push(&self, item: T) {
        if self.is_closed() {
            return;
        }
        let waiting = {
            let mut items = self.lock();
            if items.len() >= self.limits.queue {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            items.push(item);
            items.len()
        };
        // The first one starts the wait for company, a full batch ends it.
        if waiting == 1 || waiting == self.limits.batch {
            self.wake.notify_one();
        }
    }

    /// Asks the task to export what is queued and to end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Exports what is pushed until the queue is closed and empty.
    pub(crate) async fn drain_into<R: Receive<Item = T>>(self: Arc<Self>, receiver: R, metrics: Metrics) {
        let mut health = Health::default();
        while !self.is_closed() {
            self.gather().await;
            self.export(&receiver, &metrics, &mut health).await;
        }
        self.export(&receiver, &metrics, &mut health).await;
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

    async fn export<R: Receive<Item = T>>(&self, receiver: &R, metrics: &Metrics, health: &mut Health) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            let result = timeout(self.limits.timeout, receiver.export(batch)).await;
            let result = result.unwrap_or(Err(ExportError::Timeout));
            let (name, things) = (receiver.name(), R::SIGNAL.things());
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                R::SIGNAL.count_overflow(metrics, dropped);
                tracing::warn!(target: SCOPE, "{dropped} {things} dropped: the queue of the {name} exporter was full");
            }
            match &result {
                Ok(()) => R::SIGNAL.count_sent(metrics, count),
                Err(_) => R::SIGNAL.count_failed(metrics, count),
            }
            health.note(R::SIGNAL, format_args!("{count} {things}"), name, result);
        }
    }

    fn take(&self) -> Vec<T> {
        let mut items = self.lock();
        if items.len() <= self.limits.batch {
            return std::mem::take(&mut *items);
        }
        let rest = items.split_off(self.limits.batch);
        std::mem::replace(&mut *items, rest)
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().expect("no holder panics")
    }
}

// === impl Health ===

impl Health {
    /// Logs an export if it went otherwise than the one before.
    pub(crate) fn note(
        &mut self,
        signal: Signal,
        what: impl fmt::Display,
        receiver: &str,
        result: Result<(), ExportError>,
    ) {
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    let things = signal.things();
                    tracing::info!(target: SCOPE, "{things} are exported to {receiver} again");
                }
            }
            Err(error) if self.failing => {
                tracing::debug!(target: SCOPE, "failed to export {what} to {receiver}: {error}");
            }
            Err(error) => {
                tracing::warn!(target: SCOPE, "failed to export {what} to {receiver}: {error}");
                self.failing = true;
            }
        }
    }
}
