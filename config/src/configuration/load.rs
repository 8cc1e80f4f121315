//! From files, or from the operator's JSON, to a checked [`Configuration`].

use std::io;

use outrigger_kit::expand::expand;
use outrigger_kit::json::{DecodeError, from_value_ignoring_case, get_ignoring_case};
use outrigger_kit::yaml::{self, YamlError};
use serde_json::{Value, json};

use super::wire::{HandlerSpec, PipelineSpec, Wire};
use super::{
    AccessControl, ApiLogging, ApiRules, Configuration, DenyList, Features, Handler, Metrics, Mtls,
    NameResolution, Tracing, Workflow, access,
};
use crate::env::Env;
use crate::resources::{Files, system_text};

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
            merge(&mut merged, document);
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
        merge(&mut merged, resource);
        Self::from_wire(decode(&merged, "configuration")?, environment)
    }

    fn from_wire(wire: Wire, environment: &impl Env) -> Result<Self, ConfigurationError> {
        let spec = wire.spec;
        let logging = spec.logging.api_logging;
        Ok(Self {
            name: wire.metadata.name,
            namespace: wire.metadata.namespace,
            http_pipeline: handlers(spec.http_pipeline),
            app_http_pipeline: handlers(spec.app_http_pipeline),
            tracing: Tracing::new(spec.tracing.unwrap_or_default(), environment)?,
            metrics: Metrics::new(spec.metric.unwrap_or_default(), spec.metrics.unwrap_or_default()),
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
    // The same field may stand there twice in different case; the exact spelling wins.
    for (name, member) in &members {
        let spelled = known
            .keys()
            .find(|key| *key == name || key.eq_ignore_ascii_case(name))
            .cloned();
        let Some(spelled) = spelled else {
            known.insert(name.clone(), member.clone());
            continue;
        };
        let winner = get_ignoring_case(&members, &spelled).unwrap_or(member);
        merge(known.entry(spelled).or_insert(Value::Null), winner.clone());
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
