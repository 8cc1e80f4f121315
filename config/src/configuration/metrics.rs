//! What is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_kit::duration::GoDuration;
use outrigger_kit::json;
use serde::Serialize;

use super::ConfigurationError;
use super::tracing::Exporter;
use super::wire::{LabelSpec, MetricHttpSpec, MetricSpec, MetricWorkflowSpec, RuleSpec, Span};

/// Bounds of latency histograms in ms, unless the Configuration has its own.
pub const DEFAULT_LATENCY_BUCKETS: [i64; 34] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650,
    800, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000,
];

/// The effective metric settings: the section `metrics` over `metric`, field by field.
///
/// Serialises to the JSON of the start line `metric spec: …`, without members that are not set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Whether anything is recorded; see [`Metrics::is_enabled`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether error codes are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_error_codes: Option<bool>,
    /// Labels of HTTP metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<MetricsHttp>,
    /// Bounds of latency histograms in ms; see [`Metrics::latency_buckets`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_distribution_buckets: Option<Vec<i64>>,
    /// Bounds of workflow histograms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<MetricsWorkflow>,
    /// Labels that are rewritten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<MetricsRule>,
    /// Where metrics are pushed to, besides being scraped; `None` for nowhere. Its headers may be secret, so it
    /// is not told in the start line.
    #[serde(skip)]
    pub exporter: Option<Exporter>,
}

/// Labels of HTTP metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsHttp {
    /// Whether paths are labels; true when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increased_cardinality: Option<bool>,
    /// Path templates that paths are reduced to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_matching: Vec<String>,
    /// Whether the verb is left out of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_verbs: Option<bool>,
}

/// Bounds of workflow histograms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsWorkflow {
    /// Bounds in the unit below; `None` for the shared ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_distribution_buckets: Option<Vec<i64>>,
    /// Unit of the bounds; 1 ms when it is not said.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "go_duration")]
    pub latency_distribution_units: Option<Duration>,
}

/// Rewriting of the labels of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetricsRule {
    /// Name of the metric, with or without `dapr_`.
    pub name: String,
    /// The labels.
    pub labels: Vec<MetricsLabel>,
}

/// Rewriting of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetricsLabel {
    /// Name of the label.
    pub name: String,
    /// Pattern by replacement.
    pub regex: BTreeMap<String, String>,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn new(metric: MetricSpec, metrics: MetricSpec) -> Result<Self, ConfigurationError> {
        let rules = if metrics.rules.is_empty() {
            metric.rules
        } else {
            metrics.rules
        };
        Ok(Self {
            enabled: metrics.enabled.or(metric.enabled),
            record_error_codes: metrics.record_error_codes.or(metric.record_error_codes),
            http: metrics.http.or(metric.http).map(MetricsHttp::from),
            latency_distribution_buckets: metrics
                .latency_distribution_buckets
                .or(metric.latency_distribution_buckets)
                .filter(|buckets| !buckets.is_empty()),
            workflow: metrics.workflow.or(metric.workflow).map(MetricsWorkflow::from),
            rules: rules.into_iter().map(MetricsRule::from).collect(),
            exporter: Exporter::of_section("spec.metrics.otlp", metrics.otlp.or(metric.otlp))?,
        })
    }

    /// Whether anything is recorded; true when it is not said.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Whether error codes are counted.
    #[must_use]
    pub fn records_error_codes(&self) -> bool {
        self.record_error_codes.unwrap_or(false)
    }

    /// Whether paths are labels of HTTP metrics, and whether the Configuration says so.
    ///
    /// Without a word it is true, and the sidecar warns about it.
    #[must_use]
    pub fn increased_cardinality(&self) -> Option<bool> {
        self.http.as_ref().and_then(|http| http.increased_cardinality)
    }

    /// Path templates of HTTP metrics.
    #[must_use]
    pub fn path_matching(&self) -> &[String] {
        self.http.as_ref().map_or(&[], |http| &http.path_matching)
    }

    /// Whether the verb is left out of the labels of HTTP metrics.
    #[must_use]
    pub fn excludes_verbs(&self) -> bool {
        self.http
            .as_ref()
            .and_then(|http| http.exclude_verbs)
            .unwrap_or(false)
    }

    /// Bounds of latency histograms in ms.
    #[must_use]
    pub fn latency_buckets(&self) -> &[i64] {
        self.latency_distribution_buckets
            .as_deref()
            .unwrap_or(&DEFAULT_LATENCY_BUCKETS)
    }

    /// Bounds of workflow histograms in ms.
    #[must_use]
    pub fn workflow_buckets(&self) -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "bounds of histograms are small")]
        let floats = |bounds: &[i64], unit: f64| bounds.iter().map(|bound| *bound as f64 * unit).collect();
        let Some(workflow) = &self.workflow else {
            return floats(self.latency_buckets(), 1.0);
        };
        let unit = workflow
            .latency_distribution_units
            .unwrap_or(Duration::from_millis(1));
        match &workflow.latency_distribution_buckets {
            Some(bounds) if !bounds.is_empty() => floats(bounds, unit.as_secs_f64() * 1000.0),
            _ => floats(self.latency_buckets(), 1.0),
        }
    }

    /// The start line about the settings: `metric spec: {"enabled":true}`.
    #[must_use]
    pub fn spec_line(&self) -> String {
        format!("metric spec: {}", json::to_go_string(self))
    }

    /// The start line about latency histograms.
    #[must_use]
    pub fn buckets_line(&self) -> String {
        let kind = if self.latency_distribution_buckets.is_some() {
            "custom"
        } else {
            "default"
        };
        let bounds: Vec<_> = self.latency_buckets().iter().map(i64::to_string).collect();
        format!(
            "Using {kind} latency distribution buckets: [{}]",
            bounds.join(" ")
        )
    }
}

// === impl MetricsHttp ===

impl From<MetricHttpSpec> for MetricsHttp {
    fn from(spec: MetricHttpSpec) -> Self {
        Self {
            increased_cardinality: spec.increased_cardinality,
            path_matching: spec.path_matching,
            exclude_verbs: spec.exclude_verbs,
        }
    }
}

// === impl MetricsWorkflow ===

impl From<MetricWorkflowSpec> for MetricsWorkflow {
    fn from(spec: MetricWorkflowSpec) -> Self {
        Self {
            latency_distribution_buckets: spec.latency_distribution_buckets,
            latency_distribution_units: spec
                .latency_distribution_units
                .and_then(|Span(span)| GoDuration::positive(span)),
        }
    }
}

// === impl MetricsRule ===

impl From<RuleSpec> for MetricsRule {
    fn from(spec: RuleSpec) -> Self {
        Self {
            name: spec.name,
            labels: spec.labels.into_iter().map(MetricsLabel::from).collect(),
        }
    }
}

impl From<LabelSpec> for MetricsLabel {
    fn from(spec: LabelSpec) -> Self {
        Self {
            name: spec.name,
            regex: spec.regex,
        }
    }
}

fn go_duration<S: serde::Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = span.map(|span| GoDuration::from(span).to_string());
    serializer.serialize_str(&text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Configuration, ExporterProtocol};
    use crate::env::EmptyEnv;

    fn metrics(spec: &str) -> Metrics {
        let value = outrigger_kit::yaml::to_json(&format!("spec: {{{spec}}}")).unwrap();
        Configuration::from_json(&value.to_string(), &EmptyEnv)
            .unwrap()
            .metrics
    }

    #[test]
    fn the_spec_line_leaves_out_what_is_not_set() {
        let table = [
            ("", r#"{"enabled":true}"#),
            (
                "metric: {http: {increasedCardinality: false}}",
                r#"{"enabled":true,"http":{"increasedCardinality":false}}"#,
            ),
            (
                "metrics: {enabled: false, recordErrorCodes: true}",
                r#"{"enabled":false,"recordErrorCodes":true}"#,
            ),
            (
                "metrics: {http: {excludeVerbs: true, pathMatching: [/a, '/b/{c}']}}",
                r#"{"enabled":true,"http":{"pathMatching":["/a","/b/{c}"],"excludeVerbs":true}}"#,
            ),
            (
                "metrics: {latencyDistributionBuckets: [5, 50], workflow: {latencyDistributionBuckets: [1], \
                 latencyDistributionUnits: 1s}, rules: [{name: m, labels: [{name: l, regex: {b: x, a: '<'}}]}]}",
                r#"{"enabled":true,"latencyDistributionBuckets":[5,50],"workflow":{"latencyDistributionBuckets":[1],"latencyDistributionUnits":"1s"},"rules":[{"name":"m","labels":[{"name":"l","regex":{"a":"\u003c","b":"x"}}]}]}"#,
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(metrics(spec).spec_line(), format!("metric spec: {expected}"));
        }
    }

    #[test]
    fn a_collector_is_not_told_in_the_spec_line() {
        let pushed =
            metrics("metrics: {otlp: {endpointAddress: 'c:1', protocol: http, headers: [token=secret]}}");
        assert_eq!(pushed.spec_line(), r#"metric spec: {"enabled":true}"#);
        let exporter = pushed.exporter.unwrap();
        assert_eq!(exporter.protocol, ExporterProtocol::Http);
        assert!(exporter.is_secure);
        assert_eq!(exporter.headers, [("token".to_owned(), "secret".to_owned())]);
        assert_eq!(metrics("metrics: {otlp: {protocol: grpc}}").exporter, None);
        assert_eq!(metrics("").exporter, None);
    }

    #[test]
    fn metrics_wins_over_metric_field_by_field() {
        let both = metrics(
            "metric: {enabled: false, recordErrorCodes: true, http: {excludeVerbs: true}}, metrics: {http: {increasedCardinality: true}}",
        );
        assert!(!both.is_enabled());
        assert!(both.records_error_codes());
        assert_eq!(both.increased_cardinality(), Some(true));
        assert!(!both.excludes_verbs());
        assert!(metrics("metric: {enabled: false}, metrics: {enabled: true}").is_enabled());
    }

    #[test]
    fn buckets_are_told_and_scaled() {
        let default = metrics("");
        assert!(
            default
                .buckets_line()
                .starts_with("Using default latency distribution buckets: [1 2 3 4 5 6 8 10 ")
        );
        assert!(default.buckets_line().ends_with(" 50000 100000]"));
        assert_eq!(default.workflow_buckets().len(), 34);
        let custom = metrics("metric: {latencyDistributionBuckets: [5, 50, 500]}");
        assert_eq!(
            custom.buckets_line(),
            "Using custom latency distribution buckets: [5 50 500]"
        );
        assert_eq!(custom.workflow_buckets(), [5.0, 50.0, 500.0]);
        let workflow = metrics(
            "metrics: {workflow: {latencyDistributionBuckets: [1, 60], latencyDistributionUnits: 1s}}",
        );
        assert_eq!(workflow.workflow_buckets(), [1000.0, 60_000.0]);
        assert_eq!(
            metrics("metrics: {workflow: {latencyDistributionBuckets: [7]}}").workflow_buckets(),
            [7.0]
        );
    }
}
