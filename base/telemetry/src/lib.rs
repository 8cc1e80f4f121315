//! What a program says about itself: log lines, traces and metrics, byte for byte as consumers know them.
//!
//! ```text
//! tracing events ──▶ log ──▶ stdout or file          one line an event, one write a line
//!                     └──▶ export::Queue ──▶ OTLP
//! requests ──▶ trace::Tracer ──▶ Span ──▶ export::Queue ──▶ OTLP, Zipkin, stdout
//! requests ──▶ metrics::Metrics ──▶ series ──▶ metrics::serve ──▶ Prometheus
//!                                       └──▶ metrics::Push ──▶ OTLP
//! ```
//!
//! The hot path pays for little: a disabled log level costs one load, an unsampled span carries its ids and
//! nothing else, and recording on a known series takes neither a lock nor an allocation.
//!
//! Nothing here reads the environment or decides what is to be measured: settings come in as values, and the
//! callers record.

pub mod export;
pub mod log;
pub mod metrics;
pub mod trace;
