//! Where spans go.

use std::time::Duration;

use outrigger_kit::duration::GoDuration;
use serde_json::Value;

use super::ConfigurationError;
use super::otel_env::{self, OtelEnv};
use super::wire::{OtelSpec, Span, TracingSpec};
use crate::env::Env;
use crate::resources::value_text;

/// The section `tracing`, with the OTLP environment applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracing {
    /// Share of root spans that are sampled, as written; see [`Tracing::rate`].
    pub sampling_rate: String,
    /// Whether each span is printed to the log.
    pub stdout: bool,
    /// Address of a Zipkin collector; empty for none.
    pub zipkin: String,
    /// An OTLP collector.
    pub otel: Otel,
    /// Service name of the trace resource, instead of the app id.
    pub service_name: Option<String>,
    /// Further attributes of the trace resource.
    pub resource_attributes: Vec<(String, String)>,
}

/// An OTLP collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Otel {
    /// `host:port`; empty for none.
    pub endpoint: String,
    /// `grpc` or `http`, as written; see [`Otel::exporter`].
    pub protocol: String,
    /// Whether it is reached over TLS.
    pub is_secure: bool,
    /// Headers of each export.
    pub headers: Vec<(String, String)>,
    /// Longest export; `None` for the exporter's default.
    pub timeout: Option<Duration>,
}

/// An OTLP exporter that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// `host:port`.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: ExporterProtocol,
    /// Whether it is reached over TLS.
    pub is_secure: bool,
    /// Headers of each export.
    pub headers: Vec<(String, String)>,
    /// Longest export; `None` for the exporter's default.
    pub timeout: Option<Duration>,
}

/// How an OTLP collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExporterProtocol {
    /// gRPC.
    Grpc,
    /// Protocol buffers over HTTP.
    Http,
}

/// A protocol that is neither `grpc` nor `http`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid protocol {0} provided for Otel endpoint")]
pub struct InvalidProtocol(pub String);

// === impl Tracing ===

impl Tracing {
    /// Share of root spans that are sampled when nothing, or nothing readable, is said.
    pub const DEFAULT_RATE: f64 = 0.0001;

    pub(super) fn new(spec: TracingSpec, environment: &impl Env) -> Result<Self, ConfigurationError> {
        let variables = OtelEnv::read(environment);
        let mut tracing = Self {
            sampling_rate: spec.sampling_rate,
            stdout: spec.stdout,
            zipkin: spec.zipkin.endpoint_address,
            otel: Otel::new(spec.otel)?,
            service_name: variables.service_name.clone(),
            resource_attributes: otel_env::pairs(
                variables.resource_attributes.as_deref().unwrap_or_default(),
            )
            .unwrap_or_default(),
        };
        if tracing.otel.endpoint.is_empty() {
            tracing.take_endpoint(&variables)?;
        } else {
            tracing.otel.take_missing(&variables)?;
        }
        Ok(tracing)
    }

    /// Share of root spans that are sampled, 0 to 1. Exactly 0 turns tracing off.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sampling_rate
            .parse()
            .ok()
            .filter(|rate: &f64| !rate.is_nan())
            .unwrap_or(Self::DEFAULT_RATE)
    }

    /// Whether spans go anywhere.
    #[must_use]
    pub const fn has_exporter(&self) -> bool {
        let otel = !self.otel.endpoint.is_empty() && !self.otel.protocol.is_empty();
        self.stdout || !self.zipkin.is_empty() || otel
    }

    /// Without an endpoint in the Configuration, the one of the environment with all that belongs to it.
    fn take_endpoint(&mut self, variables: &OtelEnv) -> Result<(), ConfigurationError> {
        let Some(endpoint) = &variables.endpoint else {
            return Ok(());
        };
        endpoint
            .trim_start_matches("http://")
            .trim_start_matches("https://")
            .clone_into(&mut self.otel.endpoint);
        if self.sampling_rate.is_empty() {
            "1".clone_into(&mut self.sampling_rate);
        }
        let is_http = variables
            .protocol
            .as_deref()
            .unwrap_or_default()
            .starts_with("http");
        if is_http { "http" } else { "grpc" }.clone_into(&mut self.otel.protocol);
        if variables.insecure {
            self.otel.is_secure = false;
        }
        self.otel.headers.extend(variables.headers()?);
        if let Some(timeout) = variables.timeout()? {
            self.otel.timeout = Some(timeout);
        }
        Ok(())
    }
}

// === impl Otel ===

impl Otel {
    fn new(spec: OtelSpec) -> Result<Self, ConfigurationError> {
        Ok(Self {
            endpoint: spec.endpoint_address,
            protocol: spec.protocol,
            is_secure: spec.is_secure.unwrap_or(true),
            headers: headers(&spec.headers)?,
            timeout: spec.timeout.map(|Span(span)| GoDuration::to_std(span)),
        })
    }

    /// The exporter to make: none without an endpoint or a protocol.
    ///
    /// # Errors
    /// An unknown protocol; the sidecar does not start.
    pub fn exporter(&self) -> Result<Option<Exporter>, InvalidProtocol> {
        if self.endpoint.is_empty() || self.protocol.is_empty() {
            return Ok(None);
        }
        let protocol = match self.protocol.as_str() {
            "grpc" => ExporterProtocol::Grpc,
            "http" => ExporterProtocol::Http,
            other => return Err(InvalidProtocol(other.to_owned())),
        };
        Ok(Some(Exporter {
            endpoint: self.endpoint.clone(),
            protocol,
            is_secure: self.is_secure,
            headers: self.headers.clone(),
            timeout: self.timeout,
        }))
    }

    /// With an endpoint in the Configuration, headers and timeout of the environment only where it has none.
    fn take_missing(&mut self, variables: &OtelEnv) -> Result<(), ConfigurationError> {
        if self.headers.is_empty() {
            self.headers = variables.headers()?;
        }
        if self.timeout.is_none() {
            self.timeout = variables.timeout()?;
        }
        Ok(())
    }
}

// === impl Exporter ===

impl Exporter {
    /// Reads a section that has the fields of `tracing.otel`; nothing is exported without an endpoint.
    ///
    /// A protocol must be given: what is asked for must not silently be left out.
    pub(super) fn of_section(
        section: &'static str,
        spec: Option<OtelSpec>,
    ) -> Result<Option<Self>, ConfigurationError> {
        let otel = Otel::new(spec.unwrap_or_default())?;
        let refused = |source| ConfigurationError::Collector { section, source };
        match otel.exporter().map_err(refused)? {
            None if !otel.endpoint.is_empty() => Err(refused(InvalidProtocol("\"\"".to_owned()))),
            exporter => Ok(exporter),
        }
    }
}

/// Headers as texts `k=v` (files) or as pairs of name and value (operator).
fn headers(items: &[Value]) -> Result<Vec<(String, String)>, ConfigurationError> {
    let header = |item: &Value| match item {
        Value::Object(members) => {
            let member = |name| outrigger_kit::json::get_ignoring_case(members, name);
            let name = value_text(member("name"));
            Ok((name, value_text(member("value"))))
        }
        other => {
            let text = value_text(Some(other));
            let pair = text
                .split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or(ConfigurationError::OtelHeader(text))
        }
    };
    items.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    fn tracing(spec: &str, environment: &impl Env) -> Result<Tracing, ConfigurationError> {
        let value = outrigger_kit::yaml::to_json(&format!("spec: {{tracing: {{{spec}}}}}")).unwrap();
        Configuration::from_json(&value.to_string(), environment).map(|configuration| configuration.tracing)
    }

    #[test]
    fn rates_that_cannot_be_read_are_the_default() {
        for (text, rate) in [
            ("", 0.0001),
            ("x", 0.0001),
            ("NaN", 0.0001),
            ("0", 0.0),
            ("1", 1.0),
            ("0.25", 0.25),
        ] {
            let tracing = tracing(&format!("samplingRate: '{text}'"), &crate::env::EmptyEnv).unwrap();
            assert!((tracing.rate() - rate).abs() < f64::EPSILON, "{text}");
        }
    }

    #[test]
    fn without_an_endpoint_the_environment_gives_it_all() {
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://general:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=x%20y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_SERVICE_NAME", "svc"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k=v,l=m%2Cn"),
        ];
        let tracing = tracing("otel: {headers: [h=0]}", &environment).unwrap();
        assert_eq!(tracing.sampling_rate, "1");
        assert_eq!(tracing.service_name.as_deref(), Some("svc"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(tracing.resource_attributes, [pair("k", "v"), pair("l", "m,n")]);
        let exporter = tracing.otel.exporter().unwrap().unwrap();
        assert_eq!(exporter.endpoint, "traces:4318");
        assert_eq!(exporter.protocol, ExporterProtocol::Http);
        assert!(!exporter.is_secure);
        assert_eq!(
            exporter.headers,
            [pair("h", "0"), pair("a", "1"), pair("b", "x y")]
        );
        assert_eq!(exporter.timeout, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn an_endpoint_of_the_configuration_keeps_its_own_settings() {
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "general:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ];
        let own = tracing(
            "otel: {endpointAddress: 'own:1', protocol: grpc, headers: [h=0], timeout: 1s}",
            &environment,
        );
        let own = own.unwrap();
        assert_eq!(own.sampling_rate, "");
        assert_eq!(own.otel.endpoint, "own:1");
        assert_eq!(own.otel.headers, [("h".to_owned(), "0".to_owned())]);
        assert_eq!(own.otel.timeout, Some(Duration::from_secs(1)));
        let bare = tracing("otel: {endpointAddress: 'own:1', protocol: grpc}", &environment).unwrap();
        assert_eq!(bare.otel.headers, [("a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn exporters_need_an_endpoint_and_a_protocol_that_exists() {
        let empty = crate::env::EmptyEnv;
        assert_eq!(tracing("", &empty).unwrap().otel.exporter(), Ok(None));
        let without = tracing("otel: {endpointAddress: 'c:1'}", &empty).unwrap();
        assert_eq!(without.otel.exporter(), Ok(None));
        assert!(!without.has_exporter());
        let odd = tracing("otel: {endpointAddress: 'c:1', protocol: udp}", &empty).unwrap();
        assert_eq!(
            odd.otel.exporter().unwrap_err().to_string(),
            "invalid protocol udp provided for Otel endpoint"
        );
        assert!(tracing("stdout: true", &empty).unwrap().has_exporter());
        assert!(
            tracing("zipkin: {endpointAddress: 'http://z'}", &empty)
                .unwrap()
                .has_exporter()
        );
    }

    #[test]
    fn sections_of_other_signals_need_a_protocol_that_exists() {
        let load = |spec: &str| {
            let value = outrigger_kit::yaml::to_json(&format!("spec: {{{spec}}}")).unwrap();
            Configuration::from_json(&value.to_string(), &crate::env::EmptyEnv)
        };
        let logs =
            load("logging: {otlp: {endpointAddress: 'c:1', protocol: grpc, isSecure: false, timeout: 3s}}");
        let exporter = logs.unwrap().log_exporter.unwrap();
        assert_eq!((exporter.endpoint.as_str(), exporter.is_secure), ("c:1", false));
        assert_eq!(exporter.timeout, Some(Duration::from_secs(3)));
        assert_eq!(
            load("logging: {apiLogging: {enabled: true}}")
                .unwrap()
                .log_exporter,
            None
        );
        for (spec, text) in [
            (
                "logging: {otlp: {endpointAddress: 'c:1', protocol: udp}}",
                "spec.logging.otlp: invalid protocol udp provided for Otel endpoint",
            ),
            (
                "metrics: {otlp: {endpointAddress: 'c:1'}}",
                "spec.metrics.otlp: invalid protocol \"\" provided for Otel endpoint",
            ),
            (
                "metric: {otlp: {endpointAddress: 'c:1', protocol: grpc, headers: [a]}}",
                "invalid headers for Otel endpoint: a",
            ),
        ] {
            assert_eq!(load(spec).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn headers_and_timeouts_of_the_environment_must_be_readable() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1");
        let text = |variable| tracing("", &[endpoint, variable]).unwrap_err().to_string();
        assert_eq!(
            text(("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b")),
            "invalid headers for Otel endpoint: b"
        );
        assert!(text(("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz")).ends_with("invalid URL escape \"%zz\""));
        assert_eq!(
            text(("OTEL_EXPORTER_OTLP_TIMEOUT", "1s")),
            "invalid timeout for Otel endpoint: 1s"
        );
    }
}
