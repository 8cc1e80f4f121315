//! Metrics over OTLP: a look at all series, at intervals and at the end.
//!
//! Names and labels are those of a scrape, values are cumulative from the start of the process, and latencies
//! carry their exemplars. The process's own figures are among them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as ProtoExemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Metrics;
use super::sample::{Exemplar, Head, Kind, Labels, Reader, Sample};
use crate::export::environment::Variables;
use crate::export::otlp::{Exchange, Sender, own_scope, resource, text};
use crate::export::{Health, Network, OtlpSettings, Resource, SetupError, Signal};

/// Where metrics are pushed to and how often.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The receiver.
    pub receiver: OtlpSettings,
    /// Who it is that is measured.
    pub resource: Resource,
    /// Time between two pushes; see [`PushSettings::interval_of`].
    pub interval: Duration,
}

/// Metrics that are pushed until they are shut down.
#[derive(Debug)]
pub struct Push {
    leaving: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The requests of this signal.
#[derive(Debug)]
struct OfMetrics;

/// Gathers what it reads into messages.
#[derive(Debug)]
struct Gathered {
    metrics: Vec<Metric>,
    start: u64,
    now: u64,
}

/// A value of one series.
#[derive(Debug)]
enum Point {
    Number(NumberDataPoint),
    Buckets(HistogramDataPoint),
    Quantiles(SummaryDataPoint),
}

// === impl PushSettings ===

impl PushSettings {
    /// Time between two pushes unless `OTEL_METRIC_EXPORT_INTERVAL` says otherwise.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

    /// The time between two pushes that `OTEL_METRIC_EXPORT_INTERVAL` says in milliseconds, as `lookup` finds
    /// it, else the default.
    pub fn interval_of(lookup: &dyn Fn(&str) -> Option<String>) -> Duration {
        let variable = Variables(lookup).millis("OTEL_METRIC_EXPORT_INTERVAL");
        variable.unwrap_or(Self::DEFAULT_INTERVAL)
    }
}

// === impl Metrics ===

impl Metrics {
    /// Pushes all series to a receiver from now on, on the runtime `control`.
    ///
    /// # Errors
    /// If the exporter cannot be set up; a receiver that is down is not an error.
    pub fn push(
        &self,
        settings: &PushSettings,
        control: &Handle,
        network: &Network,
    ) -> Result<Push, SetupError> {
        let (leaving, left) = watch::channel(false);
        let sender = Sender::<OfMetrics>::open(&settings.receiver, control, network, left.clone())?;
        let resource = resource(&settings.resource);
        let interval = settings.interval.max(Duration::from_millis(1));
        let task = control.spawn(push(self.clone(), sender, resource, interval, left));
        Ok(Push { leaving, task })
    }

    fn request(&self, resource: ProtoResource) -> ExportMetricsServiceRequest {
        let mut gathered = Gathered {
            metrics: Vec::new(),
            start: unix_nanos(self.0.registry.created()),
            now: unix_nanos(SystemTime::now()),
        };
        self.read(&mut gathered);
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(own_scope()),
                    metrics: gathered.metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }
}

// === impl Push ===

impl Push {
    /// Pushes what was recorded since the last time and stops. Takes at most the limit of one export.
    pub async fn shut_down(self) {
        self.leaving.send_replace(true);
        // A task that panicked has been reported by its runtime.
        self.task.await.ok();
    }
}

// === impl OfMetrics ===

impl Exchange for OfMetrics {
    type Request = ExportMetricsServiceRequest;
    type Response = ExportMetricsServiceResponse;

    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    const PATH: &'static str = "/v1/metrics";

    fn rejected(response: Self::Response) -> Option<(i64, String)> {
        let rejected = response.partial_success?;
        Some((rejected.rejected_data_points, rejected.error_message))
    }
}

// === impl Gathered ===

impl Gathered {
    fn number(&self, attributes: Vec<KeyValue>, value: f64) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        }
    }

    fn point(&self, attributes: Vec<KeyValue>, sample: Sample<'_>) -> Point {
        match sample {
            Sample::Number(value) => Point::Number(self.number(attributes, value)),
            Sample::Buckets {
                bounds,
                counts,
                sum,
                exemplars,
            } => Point::Buckets(HistogramDataPoint {
                attributes,
                start_time_unix_nano: self.start,
                time_unix_nano: self.now,
                count: counts.iter().sum(),
                sum: Some(sum),
                bucket_counts: counts,
                explicit_bounds: bounds.values().to_vec(),
                exemplars: exemplars.iter().map(proto_exemplar).collect(),
                ..HistogramDataPoint::default()
            }),
            Sample::Quantiles {
                quantiles,
                sum,
                count,
            } => {
                let value = |(quantile, value)| ValueAtQuantile { quantile, value };
                Point::Quantiles(SummaryDataPoint {
                    attributes,
                    start_time_unix_nano: self.start,
                    time_unix_nano: self.now,
                    count,
                    sum,
                    quantile_values: quantiles.into_iter().map(value).collect(),
                    ..SummaryDataPoint::default()
                })
            }
        }
    }
}

impl Reader for Gathered {
    fn family(&mut self, head: Head<'_>) {
        let temporality = AggregationTemporality::Cumulative as i32;
        let data = match head.kind {
            Kind::Counter => Data::Sum(Sum {
                aggregation_temporality: temporality,
                is_monotonic: true,
                ..Sum::default()
            }),
            Kind::Gauge => Data::Gauge(Gauge::default()),
            Kind::Histogram => Data::Histogram(Histogram {
                aggregation_temporality: temporality,
                ..Histogram::default()
            }),
            Kind::Summary => Data::Summary(Summary::default()),
        };
        self.metrics.push(Metric {
            name: head.name.to_owned(),
            description: head.help.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    fn series(&mut self, labels: Labels<'_>, sample: Sample<'_>) {
        let pairs = labels.names.iter().zip(labels.values);
        let point = self.point(pairs.map(|(name, value)| text(name, value)).collect(), sample);
        let family = self.metrics.last_mut().and_then(|metric| metric.data.as_mut());
        match (family, point) {
            (Some(Data::Sum(sum)), Point::Number(point)) => sum.data_points.push(point),
            (Some(Data::Gauge(gauge)), Point::Number(point)) => gauge.data_points.push(point),
            (Some(Data::Histogram(histogram)), Point::Buckets(point)) => histogram.data_points.push(point),
            (Some(Data::Summary(summary)), Point::Quantiles(point)) => summary.data_points.push(point),
            // The value of a series is of the kind of its family.
            _ => {}
        }
    }
}

async fn push(
    metrics: Metrics,
    sender: Sender<OfMetrics>,
    resource: ProtoResource,
    interval: Duration,
    mut leaving: watch::Receiver<bool>,
) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut health = Health::default();
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            // It also ends when nobody is left who could say so.
            _ = leaving.wait_for(|leaving| *leaving) => true,
        };
        let result = sender.send(metrics.request(resource.clone())).await;
        match &result {
            Ok(()) => Signal::Metrics.count_sent(&metrics, 1),
            Err(_) => Signal::Metrics.count_failed(&metrics, 1),
        }
        health.note(
            Signal::Metrics,
            Signal::Metrics.things(),
            sender.address(),
            result,
        );
        if last {
            return;
        }
    }
}

fn proto_exemplar(exemplar: &Exemplar) -> ProtoExemplar {
    ProtoExemplar {
        time_unix_nano: unix_nanos(exemplar.time),
        trace_id: exemplar.trace_id.to_vec(),
        span_id: exemplar.span_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..ProtoExemplar::default()
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
