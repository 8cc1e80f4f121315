//! The OTLP variables of the environment.

use std::time::Duration;

use outrigger_kit::percent::decode_path_text;

use super::ConfigurationError;
use crate::env::{self, Env};

/// The variables, the forms for traces winning over the general ones.
#[derive(Debug)]
pub(super) struct OtelEnv {
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) insecure: bool,
    pub(super) service_name: Option<String>,
    pub(super) resource_attributes: Option<String>,
    headers: Option<String>,
    timeout: Option<String>,
}

// === impl OtelEnv ===

impl OtelEnv {
    pub(super) fn read(environment: &impl Env) -> Self {
        let either = |traces: &str, general: &str| {
            environment
                .get_filled(traces)
                .or_else(|| environment.get_filled(general))
        };
        Self {
            endpoint: either(
                env::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
                env::OTEL_EXPORTER_OTLP_ENDPOINT,
            ),
            protocol: either(
                env::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
                env::OTEL_EXPORTER_OTLP_PROTOCOL,
            ),
            insecure: either(
                env::OTEL_EXPORTER_OTLP_TRACES_INSECURE,
                env::OTEL_EXPORTER_OTLP_INSECURE,
            )
            .as_deref()
                == Some("true"),
            service_name: environment.get_filled(env::OTEL_SERVICE_NAME),
            resource_attributes: environment.get_filled(env::OTEL_RESOURCE_ATTRIBUTES),
            headers: either(
                env::OTEL_EXPORTER_OTLP_TRACES_HEADERS,
                env::OTEL_EXPORTER_OTLP_HEADERS,
            ),
            timeout: either(
                env::OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
                env::OTEL_EXPORTER_OTLP_TIMEOUT,
            ),
        }
    }

    pub(super) fn headers(&self) -> Result<Vec<(String, String)>, ConfigurationError> {
        pairs(self.headers.as_deref().unwrap_or_default()).map_err(ConfigurationError::OtelHeader)
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, ConfigurationError> {
        let Some(text) = &self.timeout else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(millis) => Ok(Some(Duration::from_millis(millis))),
            Err(_) => Err(ConfigurationError::OtelTimeout(text.clone())),
        }
    }
}

/// Pairs `k=v,k2=v2` with percent-decoded values; the pair that is none is the error.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').ok_or_else(|| part.to_owned())?;
        let value = decode_path_text(value.trim()).map_err(|error| error.to_string())?;
        Ok((name.trim().to_owned(), value.into_owned()))
    };
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(pair)
        .collect()
}
