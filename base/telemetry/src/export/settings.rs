//! Where things are exported to and how many at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::Connect;
use rustls::crypto::CryptoProvider;

use crate::metrics::Metrics;

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

/// Size and timing of batches; the defaults are those of the OpenTelemetry specification for spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// What may wait for export; more is dropped. Default 2048.
    pub queue: usize,
    /// Most of one export. Default 512.
    pub batch: usize,
    /// Longest wait for company. Default 5 s.
    pub delay: Duration,
    /// Limit of one export. Default 30 s.
    pub timeout: Duration,
}

/// Who it is that exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Value of the attribute `service.name`.
    pub service_name: String,
    /// Further attributes; one called `service.name` does not count.
    pub attributes: Vec<(String, String)>,
}

/// What exporters need around them.
#[derive(Clone)]
pub struct Network {
    /// Opens connections to `host:port`.
    pub connect: Arc<dyn Connect>,
    /// Cryptography of TLS connections.
    pub crypto: Arc<CryptoProvider>,
    /// Where it is counted what becomes of what is exported.
    pub metrics: Metrics,
}

/// Why an exporter could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The OTLP protocol is neither `grpc` nor `http`.
    #[error("invalid protocol {0} provided for Otel endpoint")]
    Protocol(String),
    /// A header list has a pair without `=` or with broken percent-encoding, or what it names is no header.
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

impl BatchLimits {
    /// The defaults of the OpenTelemetry specification for log records: as for spans, but sent every second.
    pub const LOGS: Self = Self {
        delay: Duration::from_secs(1),
        ..Self::SPANS
    };

    const SPANS: Self = Self {
        queue: 2048,
        batch: 512,
        delay: Duration::from_secs(5),
        timeout: Duration::from_secs(30),
    };
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self::SPANS
    }
}

// === impl Resource ===

impl Resource {
    /// All attributes.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        const NAME: &str = "service.name";
        let further = self.attributes.iter().filter(|(name, _)| name != NAME);
        further
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain([(NAME, self.service_name.as_str())])
    }
}

// === impl Network ===

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}
