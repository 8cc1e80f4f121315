//! The receivers of span batches.

mod http;
#[cfg(test)]
pub(in crate::trace) mod memory;
mod network;
mod otlp;
mod stdout;
#[cfg(test)]
mod tests;
mod zipkin;

use std::sync::Arc;

use tokio::runtime::Handle;

use super::record::SpanRecord;
use super::settings::{TraceError, TraceSettings};
use super::tracer::Network;

/// Name of the instrumentation scope of all spans.
const SCOPE: &str = "dapr-diagnostics";

/// One receiver of spans.
#[derive(Debug)]
pub(super) enum Exporter {
    Otlp(Box<otlp::Otlp>),
    Zipkin(Box<zipkin::Zipkin>),
    Stdout(stdout::Stdout),
    #[cfg(test)]
    Memory(memory::Memory),
}

/// Why a batch was lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Otlp(#[from] opentelemetry_sdk::error::OTelSdkError),
    #[error(transparent)]
    Http(#[from] http::HttpError),
    #[error("the receiver answered {0}")]
    Refused(::http::StatusCode),
}

// === impl Exporter ===

impl Exporter {
    /// The exporters that the settings name.
    pub(super) fn all(
        settings: &TraceSettings,
        control: &Handle,
        network: &Network,
    ) -> Result<Vec<Self>, TraceError> {
        let mut all = Vec::new();
        if settings.stdout {
            all.push(Self::Stdout(stdout::Stdout::new()));
        }
        if let Some(address) = settings.zipkin.as_deref().filter(|address| !address.is_empty()) {
            let exporter = zipkin::Zipkin::new(address, &settings.service_name, network)?;
            all.push(Self::Zipkin(Box::new(exporter)));
        }
        if let Some(receiver) = &settings.otlp
            && !receiver.endpoint.is_empty()
            && !receiver.protocol.is_empty()
        {
            let exporter = otlp::Otlp::new(receiver, settings, control, network)?;
            all.push(Self::Otlp(Box::new(exporter)));
        }
        Ok(all)
    }

    /// Ships a batch; what fails is lost.
    pub(super) async fn export(&self, batch: Vec<Arc<SpanRecord>>) -> Result<(), ExportError> {
        match self {
            Self::Otlp(exporter) => exporter.export(&batch).await,
            Self::Zipkin(exporter) => exporter.export(&batch).await,
            Self::Stdout(exporter) => {
                exporter.export(&batch);
                Ok(())
            }
            #[cfg(test)]
            Self::Memory(exporter) => exporter.export(batch).await,
        }
    }

    /// How log lines call the receiver.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Otlp(exporter) => exporter.name(),
            Self::Zipkin(_) => "zipkin",
            Self::Stdout(_) => "stdout",
            #[cfg(test)]
            Self::Memory(_) => "memory",
        }
    }
}
