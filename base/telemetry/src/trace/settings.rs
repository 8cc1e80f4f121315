//! Where spans go and how many.

use std::time::Duration;

/// The tracing section of a configuration, with what the environment adds to it.
#[derive(Clone, Debug, Default)]
pub struct TraceSettings {
    /// Value of the resource attribute `service.name`: the app id, unless `OTEL_SERVICE_NAME` is set.
    pub service_name: String,
    /// Further resource attributes, from `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: Vec<(String, String)>,
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

/// An OTLP receiver.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// `host:port`, without a scheme; empty means no such exporter.
    pub endpoint: String,
    /// `grpc` or `http`; empty means no such exporter.
    pub protocol: String,
    /// Whether the connection is TLS, verified by the system's roots.
    pub secure: bool,
    /// Headers or metadata of every request.
    pub headers: Vec<(String, String)>,
    /// Limit of one export, retries included; 10 s if it is not set.
    pub timeout: Option<Duration>,
}

/// Size and timing of span batches; the defaults are those of the OpenTelemetry specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Ended spans that wait for export; further ones are dropped. Default 2048.
    pub queue: usize,
    /// Most spans of one export. Default 512.
    pub batch: usize,
    /// Longest wait of a span for company. Default 5 s.
    pub delay: Duration,
    /// Limit of one export. Default 30 s.
    pub timeout: Duration,
}

/// Why tracing could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The OTLP protocol is neither `grpc` nor `http`.
    #[error("invalid protocol {0} provided for Otel endpoint")]
    Protocol(String),
    /// A header list of the environment has a pair without `=` or with broken percent-encoding.
    #[error("invalid header {0:?} provided for Otel endpoint")]
    Header(String),
    /// An exporter's address is no URL or no `host:port`.
    #[error("invalid address {address:?} of the {exporter} exporter: {reason}")]
    Address {
        /// The exporter.
        exporter: &'static str,
        /// The address as configured.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS is asked for but cannot be set up.
    #[error("failed to set up TLS for an exporter: {0}")]
    Tls(String),
    /// The OTLP exporter refused its settings.
    #[error("failed to create the OTLP exporter: {0}")]
    Otlp(String),
}

// === impl OtlpSettings ===

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            protocol: String::new(),
            secure: true,
            headers: Vec::new(),
            timeout: None,
        }
    }
}

// === impl BatchLimits ===

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            queue: 2048,
            batch: 512,
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}
