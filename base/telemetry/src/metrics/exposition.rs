//! The text form of metrics that came through the model of the `prometheus` crate.
//!
//! The encoder of that crate writes numbers as Rust does; consumers compare with what Go writes.

use std::fmt::Write;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::family::{label_text, write_head};
use super::number::float;

/// Appends families, which come sorted by name.
pub(super) fn write(out: &mut String, families: &[MetricFamily]) {
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "untyped",
        };
        write_head(out, family.name(), family.help(), kind);
        for metric in family.get_metric() {
            write_metric(out, family.name(), family.get_field_type(), metric);
        }
    }
}

fn write_metric(out: &mut String, name: &str, kind: MetricType, metric: &Metric) {
    let mut line = |suffix: &str, extra: Option<(&str, f64)>, value: f64| {
        let extra = extra.map(|(name, value)| (name, float(value).to_string()));
        let own = metric
            .get_label()
            .iter()
            .map(|label| (label.name(), label.value()));
        let labels = label_text(own.chain(extra.as_ref().map(|(name, value)| (*name, value.as_str()))));
        let braces = if labels.is_empty() { ("", "") } else { ("{", "}") };
        writeln!(
            out,
            "{name}{suffix}{}{labels}{} {}",
            braces.0,
            braces.1,
            float(value)
        )
        .expect("writing to a string cannot fail");
    };
    match kind {
        MetricType::COUNTER => line("", None, metric.get_counter().get_value()),
        MetricType::GAUGE => line("", None, metric.get_gauge().get_value()),
        // The model holds no value for this kind.
        MetricType::UNTYPED => {}
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            for bucket in histogram
                .get_bucket()
                .iter()
                .filter(|bucket| bucket.upper_bound().is_finite())
            {
                line(
                    "_bucket",
                    Some(("le", bucket.upper_bound())),
                    bucket.cumulative_count() as f64,
                );
            }
            line(
                "_bucket",
                Some(("le", f64::INFINITY)),
                histogram.get_sample_count() as f64,
            );
            line("_sum", None, histogram.get_sample_sum());
            line("_count", None, histogram.get_sample_count() as f64);
        }
        MetricType::SUMMARY => {
            let summary = metric.get_summary();
            for quantile in summary.get_quantile() {
                line("", Some(("quantile", quantile.quantile())), quantile.value());
            }
            line("_sum", None, summary.sample_sum());
            line("_count", None, summary.sample_count() as f64);
        }
    }
}
