//! Where spans go and how many.

use crate::export::{BatchLimits, OtlpSettings, Resource};

/// The tracing section of a configuration, with what the environment adds to it.
#[derive(Clone, Debug, Default)]
pub struct TraceSettings {
    /// The app id, unless `OTEL_SERVICE_NAME` is set, and attributes from `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Resource,
    /// Text of `samplingRate`; empty if it is not set.
    pub sampling_rate: String,
    /// Whether spans are printed to the log.
    pub stdout: bool,
    /// URL that Zipkin v2 JSON is posted to; none or empty means no such exporter.
    pub zipkin: Option<String>,
    /// OTLP receiver; none means no such exporter.
    pub otlp: Option<OtlpSettings>,
    /// Size and timing of the batches of every exporter.
    pub batch: BatchLimits,
}
