//! What is measured and how finely.

use std::sync::Arc;
use std::time::Duration;

/// The metrics section of a configuration, with the facts that all series share.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// Whether anything is recorded; the endpoint answers all the same.
    pub enabled: bool,
    /// Value of the label `app_id`; empty in control-plane programs, whose series have no such label.
    pub app_id: Arc<str>,
    /// Value of the label `namespace` of component and workflow series.
    pub namespace: Arc<str>,
    /// Labels of the HTTP families.
    pub http: HttpLabels,
    /// Whether error answers are counted by their code.
    pub record_error_codes: bool,
    /// Bounds of latency buckets in milliseconds; none means the default set.
    pub latency_buckets: Option<Vec<u64>>,
    /// Bounds of workflow execution buckets; none means the latency buckets.
    pub workflow_buckets: Option<Vec<u64>>,
    /// Unit of the workflow execution bounds; the default is 1 ms.
    pub workflow_bucket_unit: Duration,
    /// Rewriting of label values.
    pub rules: Vec<MetricRule>,
    /// Most series of a family; what is recorded beyond goes to one whose recorded labels are all `overflow`.
    /// 0 means any number.
    pub max_series: usize,
}

/// How request paths and verbs become label values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLabels {
    /// Whether a path that no template matches is a label value.
    pub increased_cardinality: bool,
    /// Templates for paths.
    pub path_matching: Vec<String>,
    /// Whether the label `method` is left empty.
    pub exclude_verbs: bool,
}

/// Rules for one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricRule {
    /// Name of the metric, with or without `dapr_`.
    pub name: String,
    /// Rules for its labels.
    pub labels: Vec<LabelRule>,
}

/// Rules for one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelRule {
    /// Name of the label.
    pub name: String,
    /// Replacement and pattern; every match of the pattern is replaced.
    pub regex: Vec<(String, String)>,
}

/// Series that a family may have unless the settings say otherwise.
pub const DEFAULT_MAX_SERIES: usize = 10_000;

/// Bounds of latencies in milliseconds, unless the settings say otherwise.
pub(super) const LATENCY: [u64; 34] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650,
    800, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
];

// === impl MetricsSettings ===

impl MetricsSettings {
    /// The start-up line that names the bounds of latency buckets.
    #[must_use]
    pub fn bucket_line(&self) -> String {
        let (origin, bounds) = match &self.latency_buckets {
            Some(bounds) => ("custom", bounds.as_slice()),
            None => ("default", LATENCY.as_slice()),
        };
        let bounds: Vec<String> = bounds.iter().map(u64::to_string).collect();
        format!(
            "Using {origin} latency distribution buckets: [{}]",
            bounds.join(" ")
        )
    }
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            app_id: Arc::default(),
            namespace: Arc::default(),
            http: HttpLabels::default(),
            record_error_codes: false,
            latency_buckets: None,
            workflow_buckets: None,
            workflow_bucket_unit: Duration::from_millis(1),
            rules: Vec::new(),
            max_series: DEFAULT_MAX_SERIES,
        }
    }
}

// === impl HttpLabels ===

impl Default for HttpLabels {
    fn default() -> Self {
        Self {
            increased_cardinality: true,
            path_matching: Vec::new(),
            exclude_verbs: false,
        }
    }
}
