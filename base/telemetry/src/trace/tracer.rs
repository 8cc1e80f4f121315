//! Starts spans and decides which of them are recorded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::context::TraceContext;
use super::export::Exporter;
use super::ids;
use super::pipeline::Pipeline;
use super::record::SpanKind;
use super::sampler::Sampler;
use super::settings::TraceSettings;
use super::span::Span;
use crate::export::{Network, Queue, SetupError};

/// Starts spans; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    sampler: Sampler,
    /// None unless an exporter is configured.
    pipeline: Option<Arc<Pipeline>>,
    exports: Mutex<Vec<JoinHandle<()>>>,
    /// Longest that a shutdown waits for the exports.
    patience: Duration,
}

/// See the table in the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Off,
    PassThrough,
    Real,
}

// === impl Tracer ===

impl Tracer {
    /// A tracer as the settings say, with its exporters running on `control`.
    ///
    /// # Errors
    /// If an exporter cannot be set up; receivers that are down are not an error.
    pub fn open(settings: &TraceSettings, control: &Handle, network: &Network) -> Result<Self, SetupError> {
        let exporters = Exporter::all(settings, control, network)?;
        let sampler = Sampler::parse(&settings.sampling_rate);
        let kind = if sampler.is_off() {
            Kind::Off
        } else if exporters.is_empty() && settings.sampling_rate.is_empty() {
            Kind::PassThrough
        } else {
            Kind::Real
        };
        let mut queues = Vec::new();
        let mut exports = Vec::new();
        for exporter in exporters {
            let queue = Arc::new(Queue::new(settings.batch));
            exports.push(control.spawn(queue.clone().drain_into(exporter, network.metrics.clone())));
            queues.push(queue);
        }
        let pipeline = (!queues.is_empty()).then(|| Arc::new(Pipeline::new(queues)));
        let inner = Inner {
            kind,
            sampler,
            pipeline,
            exports: Mutex::new(exports),
            patience: settings.batch.timeout,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// A tracer that handles no trace at all.
    #[must_use]
    pub fn off() -> Self {
        Self::without_exporters(Kind::Off, Sampler::of_rate(0.0))
    }

    /// A tracer that passes on what comes in: the one of a default installation.
    #[must_use]
    pub fn pass_through() -> Self {
        Self::without_exporters(Kind::PassThrough, Sampler::parse(""))
    }

    /// Whether servers handle traces: read contexts, check baggage, answer with `traceparent`.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.kind != Kind::Off
    }

    /// The sampler, for the start-up line.
    #[must_use]
    pub fn sampler(&self) -> &Sampler {
        &self.0.sampler
    }

    /// Starts a span as a child of `parent`, or as the root of a new trace if there is no valid parent.
    ///
    /// The name is copied only if the span is recorded.
    #[must_use]
    pub fn start(&self, parent: Option<&TraceContext>, kind: SpanKind, name: &str) -> Span {
        if self.0.kind != Kind::Real {
            return Span::carrying(parent.cloned().unwrap_or(TraceContext::ZERO));
        }
        let parent = parent.filter(|context| context.is_valid());
        let trace_id = parent.map_or_else(ids::trace_id, |context| context.trace_id);
        let sampled = self.0.sampler.decides(parent, &trace_id);
        let context = TraceContext {
            trace_id,
            span_id: ids::span_id(),
            flags: parent.map_or(0, |context| context.flags) & !1 | u8::from(sampled),
            state: parent.and_then(|context| context.state.clone()),
        };
        match &self.0.pipeline {
            Some(pipeline) if sampled => {
                let parent_id = parent.map_or([0; 8], |context| context.span_id);
                Span::recorded(context, parent_id, kind, name, pipeline.clone())
            }
            _ => Span::carrying(context),
        }
    }

    /// Exports the spans that have ended and stops the exporters; spans that end later are dropped.
    ///
    /// Takes at most the export timeout of the settings.
    pub async fn shutdown(&self) {
        let Some(pipeline) = &self.0.pipeline else { return };
        pipeline.close();
        let due = Instant::now() + self.0.patience;
        let exports = std::mem::take(&mut *self.0.exports.lock().expect("no holder panics"));
        for mut export in exports {
            // An exporter that panicked has been reported by its runtime.
            if timeout_at(due, &mut export).await.is_err() {
                export.abort();
            }
        }
    }

    fn without_exporters(kind: Kind, sampler: Sampler) -> Self {
        Self(Arc::new(Inner {
            kind,
            sampler,
            pipeline: None,
            exports: Mutex::default(),
            patience: Duration::ZERO,
        }))
    }
}
