//! What becomes of what is exported, shown in metrics of our own.

use crate::metrics::{Counter, Metrics};

/// Counts what is exported and what is not.
#[derive(Debug)]
pub struct Exports {
    sent: Counter,
    dropped: Counter,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Spans,
    Metrics,
    Logs,
}

// === impl Exports ===

impl Exports {
    pub(crate) fn new(
        counter: impl Fn(&'static str, &'static str, &'static [&'static str]) -> Counter,
    ) -> Self {
        Self {
            sent: counter(
                "outrigger_export_sent_total",
                "The number of spans, log records and looks at all metrics that receivers have taken.",
                &["signal"],
            ),
            dropped: counter(
                "outrigger_export_dropped_total",
                "The number of spans, log records and looks at all metrics that are lost, by reason.",
                &["signal", "reason"],
            ),
        }
    }
}

// === impl Signal ===

impl Signal {
    /// How log lines call the things.
    pub(crate) const fn things(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Metrics => "metrics",
            Self::Logs => "log records",
        }
    }

    pub(crate) fn count_sent(self, metrics: &Metrics, count: usize) {
        metrics.exports().sent.add(&[self.label()], count as u64);
    }

    /// Counts what did not fit the queue.
    pub(crate) fn count_overflow(self, metrics: &Metrics, count: u64) {
        metrics
            .exports()
            .dropped
            .add(&[self.label(), "queue_full"], count);
    }

    /// Counts what no receiver has taken.
    pub(crate) fn count_failed(self, metrics: &Metrics, count: usize) {
        metrics
            .exports()
            .dropped
            .add(&[self.label(), "failed"], count as u64);
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Spans => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}
