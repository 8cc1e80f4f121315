//! Distributed traces: contexts on the wire, spans of the own work, and the exporters that ship them.
//!
//! A [`Tracer`] is of one of three kinds, chosen by the tracing settings:
//!
//! | Exporters | Sampling rate | Kind |
//! |---|---|---|
//! | any | exactly 0 | off: servers handle no trace at all |
//! | some | any other | real spans, exported if sampled |
//! | none | any other text | real spans, discarded |
//! | none | empty (the default installation) | pass-through: a request's context is what came in, else [`TraceContext::ZERO`] |
//!
//! # Exporters
//!
//! A [`Span`] and the batch queue behind it are our own: a request that is not sampled must cost no more than its
//! ids, and the batch processor of the OpenTelemetry SDK wants a thread. The OTLP messages and their transport,
//! with the retries that the protocol asks for, come from `opentelemetry-otlp`, fed with whole batches on the
//! control runtime. It is off the hot path there, it exists in memory only if an exporter is configured, and the
//! wire format stays in the hands of those who define it. Zipkin and the log are written here.

pub mod baggage;
mod context;
pub(crate) mod current;
mod environment;
mod export;
mod hex;
mod ids;
mod pipeline;
mod record;
mod sampler;
mod settings;
mod shared;
mod span;
mod state;
#[cfg(test)]
mod tests;
mod tracer;

pub use context::{TRACEPARENT, TRACESTATE, TraceContext};
pub use current::{Position, Within};
pub use record::SpanKind;
pub use sampler::Sampler;
pub use settings::TraceSettings;
pub use shared::SharedSpan;
pub use span::Span;
pub use tracer::Tracer;

pub(crate) use hex::Hex;
