//! From files, or from the operator's JSON, to a checked [`Configuration`].

use std::io;

use outrigger_kit::expand::expand;
use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use outrigger_kit::system::text as system_text;
use outrigger_kit::yaml::{self, YamlError};
use serde_json::{Value, json};

use super::wire::{HandlerSpec, PipelineSpec, Wire};
use super::{
    AccessControl, ApiLogging, ApiRules, Configuration, DenyList, Exporter, Features, Handler,
    InvalidProtocol, Metrics, Mtls, NameResolution, Tracing, Workflow, access,
};
use crate::env::Env;
use crate::resources::Files;

/// Why a Configuration cannot be used. The sidecar ends with `error loading configuration: <text>`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file is missing or cannot be read.
    #[error("{operation} {file}: {}", system_text(.source))]
    Read {
        /// What was tried: `stat` or `open`.
        operation: &'static str,
        /// The file as given on the command line.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file whose first document is not YAML.
    #[error("{file}: {source}")]
    Yaml {
        /// The file as given on the command line.
        file: String,
        /// What is wrong with it.
        source: YamlError,
    },
    /// A resource that is not JSON.
    #[error("failed to parse configuration: {0}")]
    Json(serde_json::Error),
    /// A field of the wrong shape.
    #[error("{file}: {source}")]
    Field {
        /// The file as given on the command line, or the name of the resource.
        file: String,
        /// The field and what is wrong with it.
        source: DecodeError,
    },
    /// Two scopes for one secret store.
    #[error("{0} storeName is repeated in secrets configuration")]
    RepeatedStore(String),
    /// A default that is neither allow nor deny.
    #[error("defaultAccess {0} can be either allow or deny")]
    DefaultAccess(String),
    /// A header of the trace exporter without `=`, or with a broken escape.
    #[error("invalid headers for Otel endpoint: {0}")]
    OtelHeader(String),
    /// A timeout of the trace exporter that is no number of milliseconds.
    #[error("invalid timeout for Otel endpoint: {0}")]
    OtelTimeout(String),
    /// A section that names a collector, and does not say rightly how to speak to it.
    #[error("{section}: {source}")]
    Collector {
        /// Path of the section.
        section: &'static str,
        /// The protocol that it has.
        source: InvalidProtocol,
    },
}

// === impl Configuration ===

impl Configuration {
    /// Reads Configuration files in order, each over the result of those before, the first over the defaults.
    ///
    /// `$NAME` and `${NAME}` in the files are replaced from the environment; the OTLP variables apply at the
    /// end. Without files the defaults are returned. Only the first document of a file counts.
    ///
    /// # Errors
    /// The first file or field that cannot be used.
    pub fn from_files(
        paths: &[String],
        files: &impl Files,
        environment: &impl Env,
    ) -> Result<Self, ConfigurationError> {
        let mut merged = defaults();
        for path in paths {
            let bytes = files
                .read(path.as_ref())
                .map_err(|source| ConfigurationError::Read {
                    operation: if source.kind() == io::ErrorKind::NotFound {
                        "stat"
                    } else {
                        "open"
                    },
                    file: path.clone(),
                    source,
                })?;
            let text = expand(&String::from_utf8_lossy(&bytes), |name| {
                environment.get(name).unwrap_or_default()
            });
            let document =
                yaml::to_json(yaml::first_document(&text)).map_err(|source| ConfigurationError::Yaml {
                    file: path.clone(),
                    source,
                })?;
            merge_resource(&mut merged, document);
            // Decoded after each file so that an error names the file it comes from.
            decode(&merged, path)?;
        }
        Self::from_wire(
            decode(&merged, paths.last().map_or("", String::as_str))?,
            environment,
        )
    }

    /// Reads a Configuration that the operator sent, over the defaults.
    ///
    /// # Errors
    /// A text that is not JSON, or a field that cannot be used.
    pub fn from_json(text: &str, environment: &impl Env) -> Result<Self, ConfigurationError> {
        let resource: Value = serde_json::from_str(text).map_err(ConfigurationError::Json)?;
        let mut merged = defaults();
        merge_resource(&mut merged, resource);
        Self::from_wire(decode(&merged, "configuration")?, environment)
    }

    fn from_wire(wire: Wire, environment: &impl Env) -> Result<Self, ConfigurationError> {
        let spec = wire.spec;
        let logging = spec.logging.api_logging;
        let log_exporter = Exporter::of_section("spec.logging.otlp", spec.logging.otlp)?;
        Ok(Self {
            name: wire.metadata.name,
            namespace: wire.metadata.namespace,
            http_pipeline: handlers(spec.http_pipeline),
            app_http_pipeline: handlers(spec.app_http_pipeline),
            tracing: Tracing::new(spec.tracing.unwrap_or_default(), environment)?,
            metrics: Metrics::new(spec.metric.unwrap_or_default(), spec.metrics.unwrap_or_default())?,
            secret_scopes: access::secret_scopes(spec.secrets.scopes)?,
            access_control: spec.access_control.map(AccessControl::from),
            name_resolution: spec.name_resolution.map(|resolver| NameResolution {
                component: resolver.component,
                version: if resolver.version.is_empty() {
                    "v1".to_owned()
                } else {
                    resolver.version
                },
                configuration: resolver.configuration.unwrap_or_default(),
            }),
            features: Features::new(spec.features),
            api: ApiRules::from(spec.api),
            denied_components: DenyList::new(&spec.components.deny),
            api_logging: ApiLogging {
                enabled: logging.enabled,
                obfuscate_urls: logging.obfuscate_urls,
                omit_health_checks: logging.omit_health_checks,
            },
            log_exporter,
            wasm_strict_sandbox: spec.wasm.strict_sandbox,
            workflow: Workflow::from(spec.workflow),
            mtls: spec.mtls.map(Mtls::from),
        })
    }
}

impl Default for Configuration {
    fn default() -> Self {
        let wire = decode(&defaults(), "").expect("the defaults have the shape of a Configuration");
        Self::from_wire(wire, &crate::env::EmptyEnv).expect("the defaults are a valid Configuration")
    }
}

fn defaults() -> Value {
    json!({
        "spec": {
            "tracing": {"otel": {"isSecure": true}},
            "metric": {"enabled": true},
            "accessControl": {"defaultAction": "allow", "trustDomain": "public"},
        }
    })
}

fn decode(merged: &Value, file: &str) -> Result<Wire, ConfigurationError> {
    from_value_ignoring_case(merged).map_err(|source| ConfigurationError::Field {
        file: file.to_owned(),
        source,
    })
}

/// Puts a document over the resource; sections that are `null` as a whole say nothing.
fn merge_resource(base: &mut Value, document: Value) {
    match document {
        Value::Null => {}
        Value::Object(mut sections) => {
            sections.retain(|_, section| !section.is_null());
            merge(base, Value::Object(sections));
        }
        other => *base = other,
    }
}

/// Puts `over` into `base` as Go decodes JSON into a struct that has values already.
///
/// Objects merge member by member, whatever the case of the names; everything else is replaced, but
/// `null` leaves a scalar as it is.
fn merge(base: &mut Value, over: Value) {
    let Value::Object(members) = over else {
        if over.is_null() && !(base.is_object() || base.is_array()) {
            return;
        }
        *base = over;
        return;
    };
    let Value::Object(known) = base else {
        *base = Value::Object(members);
        return;
    };
    for (name, member) in members {
        let spelled = known
            .keys()
            .find(|key| **key == name || key.eq_ignore_ascii_case(&name))
            .cloned();
        merge(
            known.entry(spelled.unwrap_or(name)).or_insert(Value::Null),
            member,
        );
    }
}

fn handlers(pipeline: PipelineSpec) -> Vec<Handler> {
    let handler = |spec: HandlerSpec| Handler {
        name: spec.name,
        kind: spec.r#type,
        version: spec.version,
    };
    pipeline.handlers.into_iter().map(handler).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::configuration::{Exporter, ExporterProtocol, Feature};
    use crate::env::EmptyEnv;

    /// Files in memory.
    struct Memory<'a>(&'a [(&'a str, &'a str)]);

    impl Files for Memory<'_> {
        fn list(&self, _directory: &Path) -> io::Result<Vec<PathBuf>> {
            Ok(Vec::new())
        }

        fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
            let found = self.0.iter().find(|(path, _)| Path::new(path) == file);
            found
                .map(|(_, text)| text.as_bytes().to_vec())
                .ok_or_else(|| io::Error::from_raw_os_error(2))
        }
    }

    fn load_in(environment: &impl Env, files: &[(&str, &str)]) -> Result<Configuration, ConfigurationError> {
        let paths: Vec<_> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        Configuration::from_files(&paths, &Memory(files), environment)
    }

    fn load(text: &str) -> Configuration {
        load_in(&EmptyEnv, &[("a.yaml", text)]).unwrap()
    }

    fn error(files: &[(&str, &str)]) -> String {
        load_in(&EmptyEnv, files).unwrap_err().to_string()
    }

    #[test]
    fn without_files_and_with_empty_files_the_defaults_hold() {
        let default = Configuration::default();
        assert_eq!(load_in(&EmptyEnv, &[]).unwrap(), default);
        assert_eq!(load(""), default);
        assert_eq!(load("# nothing\n---\n"), default);
        assert_eq!(load("metadata:\nspec:\n"), default);
        assert_eq!(default.access_control.as_ref().unwrap().default_action, "allow");
        assert_eq!(default.access_control.as_ref().unwrap().trust_domain, "public");
        assert_eq!(default.metrics.spec_line(), r#"metric spec: {"enabled":true}"#);
        assert_eq!(default.mtls, None);
        assert!((default.tracing.rate() - 0.0001).abs() < f64::EPSILON);
        assert!(default.features.is_on(Feature::HotReload));
    }

    #[test]
    fn files_merge_field_by_field_and_replace_lists() {
        let first = "metadata: {name: one}
spec:
  tracing: {samplingRate: '1', otel: {endpointAddress: 'c:4317', protocol: grpc}}
  features: [{name: ActorStateTTL, enabled: true}]
  accessControl: {policies: [{appId: a, namespace: n, trustDomain: t}]}
  httpPipeline: {handlers: [{name: u, type: middleware.http.uppercase}]}
  appHttpPipeline: {handlers: [{name: v, type: middleware.http.x, version: v1}]}
";
        let second = "metadata: {name: two}
spec:
  Tracing: {otel: {isSecure: false, timeout: 3s}}
  features: [{name: HotReload, enabled: false}]
  accessControl: {defaultAction: deny}
";
        let merged = load_in(&EmptyEnv, &[("a.yaml", first), ("b.yaml", second)]).unwrap();
        assert_eq!(merged.name, "two");
        let exporter = merged.tracing.otel.exporter().unwrap().unwrap();
        let expected = Exporter {
            endpoint: "c:4317".to_owned(),
            protocol: ExporterProtocol::Grpc,
            is_secure: false,
            headers: Vec::new(),
            timeout: Some(Duration::from_secs(3)),
        };
        assert_eq!(exporter, expected);
        assert_eq!(
            merged.features.names().collect::<Vec<_>>(),
            ["WorkflowsRemoteActivityReminder"]
        );
        let access = merged.access_control.unwrap();
        assert_eq!(
            (access.default_action.as_str(), access.trust_domain.as_str()),
            ("deny", "public")
        );
        assert_eq!(access.policies.unwrap()[0].app_id, "a");
        assert_eq!(merged.http_pipeline[0].name, "u");
        assert_eq!(merged.app_http_pipeline[0].version, "v1");
    }

    #[test]
    fn an_explicit_empty_action_is_not_the_default() {
        let access = load("spec: {accessControl: {defaultAction: '', policies: []}}")
            .access_control
            .unwrap();
        assert_eq!(access.default_action, "");
        assert_eq!(access.policies, Some(Vec::new()));
        assert_eq!(load("spec: {accessControl: null}").access_control, None);
        assert_eq!(
            load("spec: {accessControl: {}}").access_control.unwrap().policies,
            None
        );
    }

    #[test]
    fn variables_are_always_replaced() {
        let environment = [("RATE", "0.5"), ("COLLECTOR", "host:1")];
        let text = "spec: {tracing: {samplingRate: '${RATE}', otel: {endpointAddress: $COLLECTOR, protocol: 'g$UNSETrpc'}}}";
        let tracing = load_in(&environment, &[("a.yaml", text)]).unwrap().tracing;
        assert!((tracing.rate() - 0.5).abs() < f64::EPSILON);
        assert_eq!(tracing.otel.endpoint, "host:1");
        assert_eq!(tracing.otel.protocol, "g");
    }

    #[test]
    fn only_the_first_document_counts_and_kinds_are_not_checked() {
        let text = "# licence\n---\nkind: Odd\nmetadata: {name: a}\n---\nmetadata: {name: b}\n";
        assert_eq!(load(text).name, "a");
    }

    #[test]
    fn mistakes_name_file_and_field() {
        let gone = Configuration::from_files(&["gone.yaml".to_owned()], &Memory(&[]), &EmptyEnv).unwrap_err();
        assert_eq!(gone.to_string(), "stat gone.yaml: no such file or directory");
        assert!(error(&[("a.yaml", "spec: [")]).starts_with("a.yaml: error converting YAML to JSON: yaml: "));
        let good = ("a.yaml", "spec: {}");
        let table = [
            (
                "spec: {tracing: {stdout: yup}}",
                r#"b.yaml: spec.tracing.stdout: expected a boolean, found the text "yup""#,
            ),
            (
                "spec: {features: {}}",
                "b.yaml: spec.features: expected a list, found an object",
            ),
            (
                "spec: {workflow: {stateRetentionPolicy: {failed: 1d}}}",
                r#"b.yaml: spec.workflow.stateRetentionPolicy.failed: time: unknown unit "d" in duration "1d""#,
            ),
            (
                "spec: {metrics: {latencyDistributionBuckets: [1, x]}}",
                r#"b.yaml: spec.metrics.latencyDistributionBuckets[1]: expected a whole number, found the text "x""#,
            ),
            ("[]", "b.yaml: expected an object, found a list"),
            (
                "spec: {secrets: {scopes: [{storeName: s}, {storeName: s}]}}",
                "s storeName is repeated in secrets configuration",
            ),
            (
                "spec: {secrets: {scopes: [{storeName: s, defaultAccess: Maybe}]}}",
                "defaultAccess Maybe can be either allow or deny",
            ),
            (
                "spec: {tracing: {otel: {headers: [novalue]}}}",
                "invalid headers for Otel endpoint: novalue",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(&[good, ("b.yaml", text)]), expected);
        }
    }

    #[test]
    fn the_remaining_fields_are_read() {
        let all = load(
            "spec:
  nameResolution: {component: sqlite, configuration: {connectionString: x}}
  api: {allowed: [{name: state, version: v1, protocol: http}], denied: [{name: shutdown, version: v1, protocol: grpc}]}
  components: {deny: [bindings.smtp]}
  logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}
  wasm: {strictSandbox: true}
  secrets: {scopes: [{storeName: s, defaultAccess: Deny, allowedSecrets: [a]}]}
  workflow:
    maxConcurrentWorkflowInvocations: 5
    maxConcurrentActivityInvocations: 0
    workflowConcurrencyLimits: [{name: w, maxConcurrent: 2}]
    stateRetentionPolicy: {anyTerminal: 1h, failed: 0s}
  mtls: {enabled: false, workloadCertTTL: 1h, tokenValidators: [{name: jwks, options: {source: x, minRefreshInterval: 5}}]}",
        );
        let resolver = all.name_resolution.unwrap();
        assert_eq!(
            (resolver.component.as_str(), resolver.version.as_str()),
            ("sqlite", "v1")
        );
        assert_eq!(resolver.configuration["connectionString"], "x");
        assert_eq!(all.api.allowed[0].name, "state");
        assert_eq!(all.api.denied[0].protocol, "grpc");
        assert!(all.denied_components.refusal("bindings.smtp", "v1").is_some());
        assert!(
            all.api_logging.enabled && all.api_logging.obfuscate_urls && all.api_logging.omit_health_checks
        );
        assert!(all.wasm_strict_sandbox);
        assert!(all.secret_scopes["s"].allows("a") && !all.secret_scopes["s"].allows("b"));
        assert_eq!(all.workflow.max_workflows.map(|limit| limit.get()), Some(5));
        assert_eq!(all.workflow.max_activities, None);
        assert_eq!(
            all.workflow.workflow_limits[0].limit.map(|limit| limit.get()),
            Some(2)
        );
        assert_eq!(all.workflow.retention.completed, Some(Duration::from_secs(3600)));
        assert_eq!(all.workflow.retention.failed, Some(Duration::ZERO));
        let mtls = all.mtls.unwrap();
        assert!(!mtls.enabled);
        assert_eq!(mtls.token_validators[0].options["minRefreshInterval"], "5");
    }

    #[test]
    fn a_resource_of_the_operator_is_read_like_a_file_without_variables() {
        let text = r#"{"kind":"Configuration","metadata":{"name":"appcfg","creationTimestamp":null},"spec":{
            "metric":{"enabled":true},"metrics":{"enabled":false},"tracing":{"samplingRate":"$X",
            "otel":{"headers":[{"name":"k","value":"v","secretKeyRef":{"name":"","key":""}}]}}}}"#;
        let configuration = Configuration::from_json(text, &EmptyEnv).unwrap();
        assert_eq!(configuration.name, "appcfg");
        assert!(!configuration.metrics.is_enabled());
        assert_eq!(configuration.tracing.sampling_rate, "$X");
        assert_eq!(
            configuration.tracing.otel.headers,
            [("k".to_owned(), "v".to_owned())]
        );
        assert!(Configuration::from_json("{", &EmptyEnv).is_err());
    }

    proptest! {
        #[test]
        fn no_file_makes_the_loader_panic(
            path in "(tracing|metrics|secrets|accessControl|features|workflow|mtls|api|httpPipeline)",
            value in "[a-z0-9:\\-\\[\\]{}, '\"$\n]{0,40}",
        ) {
            let text = format!("spec:\n  {path}: {value}\n");
            let paths = ["a.yaml".to_owned()];
            if let Err(error) = Configuration::from_files(&paths, &Memory(&[("a.yaml", &text)]), &EmptyEnv) {
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
            }
        }
    }
}
