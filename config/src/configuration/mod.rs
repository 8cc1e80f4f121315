//! The `Configuration` resource: what the owner of a sidecar decides beyond its command line.
//!
//! Files are merged over the defaults field by field, then read into the types below.

mod access;
mod features;
mod load;
mod metrics;
mod mtls;
mod otel_env;
mod tracing;
mod wire;
mod workflow;

use std::collections::BTreeMap;

use serde_json::Value;

pub use access::{
    AccessControl, AccessOperation, AccessPolicy, ApiRule, ApiRules, DenyList, Refusal, SecretScope,
};
pub use features::{Feature, Features};
pub use load::ConfigurationError;
pub use metrics::{
    DEFAULT_LATENCY_BUCKETS, Metrics, MetricsHttp, MetricsLabel, MetricsRule, MetricsWorkflow,
};
pub use mtls::{Mtls, ValidatorSpec};
pub use tracing::{Exporter, ExporterProtocol, InvalidProtocol, Otel, Tracing};
pub use workflow::{ConcurrencyLimit, Retention, Workflow};

/// The effective configuration of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Name of the resource; empty when no file gives one.
    pub name: String,
    /// Namespace of the resource; may be empty.
    pub namespace: String,
    /// Middleware around the HTTP API, outermost first.
    pub http_pipeline: Vec<Handler>,
    /// Middleware around calls to the app, outermost first.
    pub app_http_pipeline: Vec<Handler>,
    /// Tracing, with the OTLP environment applied.
    pub tracing: Tracing,
    /// Metrics, from `metric` and `metrics`.
    pub metrics: Metrics,
    /// Which secrets apps may read, by store; a store that is not listed is open.
    pub secret_scopes: BTreeMap<String, SecretScope>,
    /// Who may call the app; `None` allows all.
    pub access_control: Option<AccessControl>,
    /// The name resolver; `None` for the default of the mode.
    pub name_resolution: Option<NameResolution>,
    /// Features that are on.
    pub features: Features,
    /// Which APIs are served.
    pub api: ApiRules,
    /// Component types that are refused.
    pub denied_components: DenyList,
    /// How API calls are logged.
    pub api_logging: ApiLogging,
    /// Where log lines are exported to, besides being printed; `None` for nowhere.
    pub log_exporter: Option<Exporter>,
    /// Whether WASM components are confined whatever they ask for.
    pub wasm_strict_sandbox: bool,
    /// Limits of workflows.
    pub workflow: Workflow,
    /// Settings of the certificate authority; `None` when absent.
    pub mtls: Option<Mtls>,
}

/// One middleware of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Name of the component.
    pub name: String,
    /// Type of the component, such as `middleware.http.uppercase`.
    pub kind: String,
    /// Version of the component; empty, `v0` and `v1` are the same.
    pub version: String,
}

/// The name resolver of a Configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct NameResolution {
    /// Kind, such as `mdns` or `sqlite`; may be empty.
    pub component: String,
    /// Version; `v1` when none is given.
    pub version: String,
    /// Free settings of the resolver.
    pub configuration: Value,
}

/// How API calls are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiLogging {
    /// Whether calls are logged, unless the command line says otherwise.
    pub enabled: bool,
    /// Whether the name of the operation is logged in place of the path.
    pub obfuscate_urls: bool,
    /// Whether health checks are left out.
    pub omit_health_checks: bool,
}
