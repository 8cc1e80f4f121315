//! The Configuration as it is written: names and shapes of the wire, nothing checked.

use std::collections::BTreeMap;

use outrigger_kit::duration::GoDuration;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::resources::Metadata;

/// A Go duration in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) GoDuration);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) http_pipeline: PipelineSpec,
    pub(super) app_http_pipeline: PipelineSpec,
    pub(super) tracing: Option<TracingSpec>,
    pub(super) metric: Option<MetricSpec>,
    pub(super) metrics: Option<MetricSpec>,
    pub(super) secrets: SecretsSpec,
    pub(super) access_control: Option<AccessControlSpec>,
    pub(super) name_resolution: Option<NameResolutionSpec>,
    pub(super) features: Vec<FeatureSpec>,
    pub(super) api: ApiSpec,
    pub(super) components: ComponentsSpec,
    pub(super) logging: LoggingSpec,
    pub(super) wasm: WasmSpec,
    pub(super) workflow: WorkflowSpec,
    pub(super) mtls: Option<MtlsSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PipelineSpec {
    pub(super) handlers: Vec<HandlerSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HandlerSpec {
    pub(super) name: String,
    pub(super) r#type: String,
    pub(super) version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TracingSpec {
    pub(super) sampling_rate: String,
    pub(super) stdout: bool,
    pub(super) zipkin: ZipkinSpec,
    pub(super) otel: OtelSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ZipkinSpec {
    pub(super) endpoint_address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OtelSpec {
    pub(super) protocol: String,
    pub(super) endpoint_address: String,
    pub(super) is_secure: Option<bool>,
    /// Texts `k=v` in files, pairs of name and value from the operator.
    pub(super) headers: Vec<Value>,
    pub(super) timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricSpec {
    pub(super) enabled: Option<bool>,
    pub(super) record_error_codes: Option<bool>,
    pub(super) http: Option<MetricHttpSpec>,
    pub(super) latency_distribution_buckets: Option<Vec<i64>>,
    pub(super) workflow: Option<MetricWorkflowSpec>,
    pub(super) otlp: Option<OtelSpec>,
    pub(super) rules: Vec<RuleSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricHttpSpec {
    pub(super) increased_cardinality: Option<bool>,
    pub(super) path_matching: Vec<String>,
    pub(super) exclude_verbs: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricWorkflowSpec {
    pub(super) latency_distribution_buckets: Option<Vec<i64>>,
    pub(super) latency_distribution_units: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RuleSpec {
    pub(super) name: String,
    pub(super) labels: Vec<LabelSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LabelSpec {
    pub(super) name: String,
    pub(super) regex: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SecretsSpec {
    pub(super) scopes: Vec<SecretScopeSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SecretScopeSpec {
    pub(super) store_name: String,
    pub(super) default_access: String,
    pub(super) allowed_secrets: Vec<String>,
    pub(super) denied_secrets: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AccessControlSpec {
    pub(super) default_action: String,
    pub(super) trust_domain: String,
    pub(super) policies: Option<Vec<AccessPolicySpec>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AccessPolicySpec {
    pub(super) app_id: String,
    pub(super) default_action: String,
    pub(super) trust_domain: String,
    pub(super) namespace: String,
    pub(super) operations: Vec<AccessOperationSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AccessOperationSpec {
    pub(super) name: String,
    pub(super) http_verb: Vec<String>,
    pub(super) action: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NameResolutionSpec {
    pub(super) component: String,
    pub(super) version: String,
    pub(super) configuration: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FeatureSpec {
    pub(super) name: String,
    pub(super) enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApiSpec {
    pub(super) allowed: Vec<ApiRuleSpec>,
    pub(super) denied: Vec<ApiRuleSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApiRuleSpec {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) protocol: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ComponentsSpec {
    pub(super) deny: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LoggingSpec {
    pub(super) api_logging: ApiLoggingSpec,
    pub(super) otlp: Option<OtelSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ApiLoggingSpec {
    pub(super) enabled: bool,
    #[serde(rename = "obfuscateURLs")]
    pub(super) obfuscate_urls: bool,
    pub(super) omit_health_checks: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WasmSpec {
    pub(super) strict_sandbox: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WorkflowSpec {
    pub(super) max_concurrent_workflow_invocations: i32,
    pub(super) max_concurrent_activity_invocations: i32,
    pub(super) global_max_concurrent_workflow_invocations: i32,
    pub(super) global_max_concurrent_activity_invocations: i32,
    pub(super) workflow_concurrency_limits: Vec<ConcurrencyLimitSpec>,
    pub(super) activity_concurrency_limits: Vec<ConcurrencyLimitSpec>,
    pub(super) state_retention_policy: RetentionSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConcurrencyLimitSpec {
    pub(super) name: String,
    pub(super) max_concurrent: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RetentionSpec {
    pub(super) any_terminal: Option<Span>,
    pub(super) completed: Option<Span>,
    pub(super) failed: Option<Span>,
    pub(super) terminated: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MtlsSpec {
    pub(super) enabled: Option<bool>,
    #[serde(rename = "workloadCertTTL")]
    pub(super) workload_cert_ttl: String,
    pub(super) allowed_clock_skew: String,
    pub(super) sentry_address: String,
    pub(super) control_plane_trust_domain: String,
    pub(super) token_validators: Vec<TokenValidatorSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenValidatorSpec {
    pub(super) name: String,
    pub(super) options: BTreeMap<String, Value>,
}

// === impl Span ===

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}
