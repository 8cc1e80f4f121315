//! What the ways of spans, metrics and log records to their receivers have in common.
//!
//! ```text
//! spans, log records ──▶ Queue ──▶ Receive ──▶ OTLP, Zipkin, stdout
//! metrics, every minute ─────────▶ Sender ──▶ OTLP
//! ```
//!
//! Queues are bounded, and what becomes of their contents is counted. All of it runs on the control runtime.

mod batch;
mod counts;
pub(crate) mod environment;
pub(crate) mod http;
pub(crate) mod network;
pub(crate) mod otlp;
mod settings;
#[cfg(test)]
mod tests;

use opentelemetry_sdk::error::OTelSdkError;
use tonic::Code;

pub use counts::Exports;
pub use settings::{BatchLimits, Network, OtlpSettings, Resource, SetupError};

pub(crate) use batch::{Health, Queue, Receive};
pub(crate) use counts::Signal;

/// Name of the instrumentation scope of spans and metrics.
pub(crate) const SCOPE: &str = "dapr-diagnostics";

/// Why something was not exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Sdk(#[from] OTelSdkError),
    #[error(transparent)]
    Http(#[from] http::HttpError),
    #[error("the receiver answered {0}")]
    Refused(::http::StatusCode),
    #[error("the receiver answered {:?}: {}", .0.code(), .0.message())]
    Status(Box<tonic::Status>),
    #[error("the receiver rejected {count}: {reason}")]
    Rejected { count: u64, reason: String },
}

// === impl ExportError ===

impl ExportError {
    /// Whether another try may succeed (OpenTelemetry Protocol, failures).
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Http(http::HttpError::Connect(_) | http::HttpError::Exchange(_)) => true,
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Status(status) => matches!(
                status.code(),
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            ),
            _ => false,
        }
    }
}
