//! Metrics and spans of a run, as the Configuration wants them.

use std::sync::Arc;
use std::time::Duration;

use outrigger_config::configuration::{Configuration, Exporter, ExporterProtocol, Metrics as MetricsSpec};
use outrigger_config::daprd::Settings;
use outrigger_config::env::{Env, ProcessEnv};
use outrigger_identity::tls;
use outrigger_link::TcpConnect;
use outrigger_telemetry::export::{BatchLimits, Network, OtlpSettings, Resource, SetupError};
use outrigger_telemetry::log::{LogExport, LogExportSettings};
use outrigger_telemetry::metrics::{
    self, HttpLabels, LabelRule, MetricRule, Metrics, MetricsSettings, Push, PushSettings,
};
use outrigger_telemetry::trace::{TraceSettings, Tracer};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{RUNTIME, RunError};
use crate::health::Health;
use crate::listen::Listeners;

/// What watches a run.
#[derive(Debug)]
pub(crate) struct Observers {
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    server: Option<Server>,
    /// Metrics on their way to a collector, if one is configured.
    push: Option<Push>,
    /// Log records on their way to a collector, if one is configured.
    logs: Option<LogExport>,
}

#[derive(Debug)]
struct Server {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

const DIAGNOSTICS: &str = "dapr.runtime.diagnostics";
const CARDINALITY: &str = "The default value for 'spec.metric.http.increasedCardinality' will change to 'false' in Dapr 1.15 or later";

// === impl Observers ===

impl Observers {
    /// Starts recording and opens the metrics port; spans are recorded after [`Self::trace`] only.
    pub(crate) async fn start(
        settings: &Settings,
        configuration: &Configuration,
        health: &Health,
    ) -> Result<Self, RunError> {
        let metrics = recorder(settings, &configuration.metrics);
        let logs = export_logs(settings, configuration, &metrics).map_err(RunError::Export)?;
        let push = push_metrics(settings, configuration, &metrics).map_err(RunError::Export)?;
        let exporter = health.target("metrics-exporter");
        let server = match &settings.metrics {
            Some(server) => {
                let address = format!("{}:{}", server.address, server.port);
                let listener = Listeners::one_tcp(&server.address, server.port)
                    .await
                    .map_err(|source| RunError::Metrics {
                        address: address.clone(),
                        source,
                    })?;
                tracing::info!(target: RUNTIME, "metrics server started on {address}/");
                let (stop, stopped) = oneshot::channel();
                let serving = metrics::serve(listener, metrics.clone(), async {
                    stopped.await.ok();
                });
                Some(Server {
                    stop,
                    task: tokio::spawn(serving),
                })
            }
            None => None,
        };
        exporter.ready();
        metrics.watch_tasks(Handle::current());
        Ok(Self {
            metrics,
            tracer: Tracer::off(),
            server,
            push,
            logs,
        })
    }

    /// Opens the exporters of spans.
    pub(crate) fn trace(
        &mut self,
        settings: &Settings,
        configuration: &Configuration,
    ) -> Result<(), RunError> {
        self.tracer = tracer(settings, configuration, &self.metrics)?;
        Ok(())
    }

    /// Closes the metrics port and flushes spans, metrics and log records.
    pub(crate) async fn shut_down(self) {
        let (push, logs) = (self.push, self.logs);
        let push = async {
            if let Some(push) = push {
                push.shut_down().await;
            }
        };
        tokio::join!(self.tracer.shutdown(), push);
        // Last, so that it takes what the others have to say.
        if let Some(logs) = logs {
            logs.shut_down().await;
        }
        if let Some(server) = self.server {
            // The server may have ended by itself.
            server.stop.send(()).ok();
            server.task.await.ok();
        }
    }
}

fn recorder(settings: &Settings, spec: &MetricsSpec) -> Metrics {
    tracing::info!(target: DIAGNOSTICS, "{}", spec.spec_line());
    let settings = metrics_settings(settings, spec);
    tracing::info!(target: DIAGNOSTICS, "{}", settings.bucket_line());
    if spec.increased_cardinality().is_none() {
        tracing::warn!(target: DIAGNOSTICS, "{CARDINALITY}");
    }
    Metrics::new(&settings).unwrap_or_else(|error| {
        tracing::error!(target: RUNTIME, "{error}");
        Metrics::disabled()
    })
}

fn metrics_settings(settings: &Settings, spec: &MetricsSpec) -> MetricsSettings {
    let numbers = |bounds: &[i64]| {
        bounds
            .iter()
            .filter_map(|bound| u64::try_from(*bound).ok())
            .collect::<Vec<_>>()
    };
    let workflow = spec.workflow.as_ref();
    MetricsSettings {
        enabled: spec.is_enabled(),
        app_id: settings.app_id.as_arc().clone(),
        namespace: settings.namespace.variable().into(),
        http: HttpLabels {
            increased_cardinality: spec.increased_cardinality().unwrap_or(true),
            path_matching: spec.path_matching().to_vec(),
            exclude_verbs: spec.excludes_verbs(),
        },
        record_error_codes: spec.records_error_codes(),
        latency_buckets: spec.latency_distribution_buckets.as_deref().map(numbers),
        workflow_buckets: workflow
            .and_then(|workflow| workflow.latency_distribution_buckets.as_deref())
            .map(numbers),
        workflow_bucket_unit: workflow
            .and_then(|workflow| workflow.latency_distribution_units)
            .unwrap_or(Duration::from_millis(1)),
        rules: spec
            .rules
            .iter()
            .map(|rule| MetricRule {
                name: rule.name.clone(),
                labels: rule
                    .labels
                    .iter()
                    .map(|label| LabelRule {
                        name: label.name.clone(),
                        regex: label
                            .regex
                            .iter()
                            .map(|(to, pattern)| (to.clone(), pattern.clone()))
                            .collect(),
                    })
                    .collect(),
            })
            .collect(),
        max_series: settings.metrics_max_series,
    }
}

fn tracer(settings: &Settings, configuration: &Configuration, metrics: &Metrics) -> Result<Tracer, RunError> {
    let spec = &configuration.tracing;
    let mut wanted = TraceSettings {
        resource: Resource {
            service_name: settings.app_id.to_string(),
            ..Resource::default()
        },
        sampling_rate: spec.sampling_rate.clone(),
        stdout: spec.stdout,
        zipkin: Some(spec.zipkin.clone()).filter(|address| !address.is_empty()),
        otlp: Some(OtlpSettings {
            endpoint: spec.otel.endpoint.clone(),
            protocol: spec.otel.protocol.clone(),
            secure: spec.otel.is_secure,
            headers: spec.otel.headers.clone(),
            timeout: spec.otel.timeout,
        })
        .filter(|receiver| !receiver.endpoint.is_empty()),
        ..TraceSettings::default()
    };
    wanted
        .apply_environment(&variable)
        .map_err(|error| RunError::Tracing(error.to_string()))?;
    let tracer = Tracer::open(&wanted, &Handle::current(), &network(metrics))
        .map_err(|error| RunError::Tracing(error.to_string()))?;
    tracing::info!(target: RUNTIME, "Dapr trace sampler initialized: {}", tracer.sampler().describe());
    Ok(tracer)
}

/// Pushes metrics to the collector of `spec.metrics.otlp`, if there is one.
fn push_metrics(
    settings: &Settings,
    configuration: &Configuration,
    metrics: &Metrics,
) -> Result<Option<Push>, SetupError> {
    let Some(exporter) = &configuration.metrics.exporter else {
        return Ok(None);
    };
    let wanted = PushSettings {
        receiver: receiver(exporter),
        resource: resource(settings),
        interval: PushSettings::interval_of(&variable),
    };
    metrics
        .push(&wanted, &Handle::current(), &network(metrics))
        .map(Some)
}

/// Exports log lines to the collector of `spec.logging.otlp`, if there is one.
fn export_logs(
    settings: &Settings,
    configuration: &Configuration,
    metrics: &Metrics,
) -> Result<Option<LogExport>, SetupError> {
    let Some(exporter) = &configuration.log_exporter else {
        return Ok(None);
    };
    let wanted = LogExportSettings {
        receiver: receiver(exporter),
        resource: resource(settings),
        batch: BatchLimits::LOGS.with_environment("OTEL_BLRP", &variable),
    };
    LogExport::open(&wanted, &Handle::current(), &network(metrics)).map(Some)
}

fn receiver(exporter: &Exporter) -> OtlpSettings {
    let protocol = match exporter.protocol {
        ExporterProtocol::Grpc => "grpc",
        ExporterProtocol::Http => "http",
    };
    OtlpSettings {
        endpoint: exporter.endpoint.clone(),
        protocol: protocol.to_owned(),
        secure: exporter.is_secure,
        headers: exporter.headers.clone(),
        timeout: exporter.timeout,
    }
}

fn resource(settings: &Settings) -> Resource {
    let mut resource = Resource {
        service_name: settings.app_id.to_string(),
        ..Resource::default()
    };
    resource.apply_environment(&variable);
    resource
}

fn network(metrics: &Metrics) -> Network {
    Network {
        connect: Arc::new(TcpConnect),
        crypto: tls::provider(),
        metrics: metrics.clone(),
    }
}

fn variable(name: &str) -> Option<String> {
    ProcessEnv.get_filled(name)
}
