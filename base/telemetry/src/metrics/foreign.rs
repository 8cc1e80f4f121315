//! Metrics that came through the model of the `prometheus` crate.
//!
//! The encoder of that crate writes numbers as Rust does; consumers compare with what Go writes.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::cells::Bounds;
use super::exposition::label_text;
use super::sample::{Head, Kind, Labels, Reader, Sample};

/// Shows families, which come sorted by name.
pub(super) fn read(families: &[MetricFamily], reader: &mut impl Reader) {
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::GAUGE => Kind::Gauge,
            MetricType::HISTOGRAM => Kind::Histogram,
            MetricType::SUMMARY => Kind::Summary,
            // The model holds no value for this kind.
            MetricType::UNTYPED => continue,
        };
        reader.family(Head {
            name: family.name(),
            help: family.help(),
            kind,
        });
        for metric in family.get_metric() {
            read_metric(kind, metric, reader);
        }
    }
}

fn read_metric(kind: Kind, metric: &Metric, reader: &mut impl Reader) {
    let pairs = || {
        metric
            .get_label()
            .iter()
            .map(|label| (label.name(), label.value()))
    };
    let text = label_text(pairs());
    let (names, values): (Vec<&str>, Vec<Box<str>>) =
        pairs().map(|(name, value)| (name, Box::from(value))).unzip();
    let labels = Labels {
        text: &text,
        names: &names,
        values: &values,
    };
    match kind {
        Kind::Counter => reader.series(labels, Sample::Number(metric.get_counter().get_value())),
        Kind::Gauge => reader.series(labels, Sample::Number(metric.get_gauge().get_value())),
        Kind::Histogram => {
            let histogram = metric.get_histogram();
            let finite = histogram.get_bucket().iter();
            let finite: Vec<_> = finite.filter(|bucket| bucket.upper_bound().is_finite()).collect();
            let bounds: Vec<f64> = finite.iter().map(|bucket| bucket.upper_bound()).collect();
            let totals = finite.iter().map(|bucket| bucket.cumulative_count());
            let mut before = 0;
            let counts = totals.chain([histogram.get_sample_count()]).map(|total| {
                let count = total.saturating_sub(before);
                before = total;
                count
            });
            reader.series(
                labels,
                Sample::Buckets {
                    counts: counts.collect(),
                    bounds: &Bounds::new(&bounds, 1.0),
                    sum: histogram.get_sample_sum(),
                    exemplars: Vec::new(),
                },
            );
        }
        Kind::Summary => {
            let summary = metric.get_summary();
            let quantiles = summary.get_quantile().iter();
            reader.series(
                labels,
                Sample::Quantiles {
                    quantiles: quantiles.map(|each| (each.quantile(), each.value())).collect(),
                    sum: summary.sample_sum(),
                    count: summary.sample_count(),
                },
            );
        }
    }
}
