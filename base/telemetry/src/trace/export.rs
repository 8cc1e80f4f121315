//! The receivers of span batches.

#[cfg(test)]
pub(in crate::trace) mod memory;
mod otlp;
mod stdout;
#[cfg(test)]
mod tests;
mod zipkin;

use std::sync::Arc;

use tokio::runtime::Handle;

use super::record::SpanRecord;
use super::settings::TraceSettings;
use crate::export::{ExportError, Network, Receive, SetupError, Signal};

/// One receiver of spans.
#[derive(Debug)]
pub(super) enum Exporter {
    Otlp(Box<otlp::Otlp>),
    Zipkin(Box<zipkin::Zipkin>),
    Stdout(stdout::Stdout),
    #[cfg(test)]
    Memory(memory::Memory),
}

// === impl Exporter ===

impl Exporter {
    /// The exporters that the settings name.
    pub(super) fn all(
        settings: &TraceSettings,
        control: &Handle,
        network: &Network,
    ) -> Result<Vec<Self>, SetupError> {
        let mut all = Vec::new();
        if settings.stdout {
            all.push(Self::Stdout(stdout::Stdout::new()));
        }
        if let Some(address) = settings.zipkin.as_deref().filter(|address| !address.is_empty()) {
            let exporter = zipkin::Zipkin::new(address, &settings.resource.service_name, network)?;
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
}

impl Receive for Exporter {
    type Item = Arc<SpanRecord>;

    const SIGNAL: Signal = Signal::Spans;

    async fn export(&self, batch: Vec<Arc<SpanRecord>>) -> Result<(), ExportError> {
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

    fn name(&self) -> &str {
        match self {
            Self::Otlp(exporter) => exporter.name(),
            Self::Zipkin(_) => "zipkin",
            Self::Stdout(_) => "stdout",
            #[cfg(test)]
            Self::Memory(_) => "memory",
        }
    }
}
