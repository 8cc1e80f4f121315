//! What the standard OpenTelemetry variables add to the tracing section of a configuration.

use std::time::Duration;

use super::settings::TraceSettings;
use crate::export::environment::{Variables, decoded_pair};
use crate::export::{OtlpSettings, SetupError};

// === impl TraceSettings ===

impl TraceSettings {
    /// Applies the `OTEL_*` variables that `lookup` finds.
    ///
    /// A receiver of the configuration stays; its headers and timeout come from the environment only where the
    /// configuration has none. Without one, the endpoint of the environment is used and the sampling rate
    /// becomes `1` if it is empty.
    ///
    /// Specification: observability, section 3.
    ///
    /// # Errors
    /// If the endpoint comes from the environment and its header list is malformed.
    pub fn apply_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), SetupError> {
        let variables = Variables(lookup);
        self.resource.apply_environment(lookup);
        self.batch = self.batch.with_environment("OTEL_BSP", lookup);
        let configured = self
            .otlp
            .as_ref()
            .is_some_and(|receiver| !receiver.endpoint.is_empty());
        if configured {
            if let Some(receiver) = &mut self.otlp {
                variables.complete(receiver);
            }
            return Ok(());
        }
        let Some(endpoint) = variables.of_traces("ENDPOINT") else {
            return Ok(());
        };
        let mut receiver = self.otlp.take().unwrap_or_default();
        variables.describe(&endpoint, &mut receiver)?;
        self.otlp = Some(receiver);
        if self.sampling_rate.is_empty() {
            "1".clone_into(&mut self.sampling_rate);
        }
        Ok(())
    }
}

// === impl Variables ===

impl Variables<'_> {
    /// The variable of the exporter, the one for traces before the one for all signals.
    fn of_traces(&self, name: &str) -> Option<String> {
        self.get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn timeout(&self) -> Option<Duration> {
        self.of_traces("TIMEOUT")?.parse().ok().map(Duration::from_millis)
    }

    fn headers(&self) -> Result<Vec<(String, String)>, SetupError> {
        let list = self.of_traces("HEADERS").unwrap_or_default();
        list.split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(decoded_pair)
            .collect()
    }

    /// Makes the receiver that the environment describes.
    fn describe(&self, endpoint: &str, receiver: &mut OtlpSettings) -> Result<(), SetupError> {
        let schemes = ["http://", "https://"];
        let plain = schemes.iter().find_map(|scheme| endpoint.strip_prefix(scheme));
        plain.unwrap_or(endpoint).clone_into(&mut receiver.endpoint);
        let http = self
            .of_traces("PROTOCOL")
            .is_some_and(|protocol| protocol.starts_with("http"));
        receiver.protocol = if http { "http" } else { "grpc" }.to_owned();
        if self.get("OTEL_EXPORTER_OTLP_INSECURE").as_deref() == Some("true") {
            receiver.secure = false;
        }
        receiver.headers.extend(self.headers()?);
        if let Some(timeout) = self.timeout() {
            receiver.timeout = Some(timeout);
        }
        Ok(())
    }

    /// Fills in what a configured receiver leaves open.
    fn complete(&self, receiver: &mut OtlpSettings) {
        if receiver.headers.is_empty() {
            receiver.headers = self.headers().unwrap_or_default();
        }
        receiver.timeout = receiver.timeout.or_else(|| self.timeout());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::BatchLimits;

    fn applied(mut settings: TraceSettings, variables: &[(&str, &str)]) -> Result<TraceSettings, SetupError> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        settings.apply_environment(&find)?;
        Ok(settings)
    }

    fn configured() -> TraceSettings {
        let receiver = OtlpSettings {
            endpoint: "collector:4317".to_owned(),
            protocol: "grpc".to_owned(),
            ..OtlpSettings::default()
        };
        TraceSettings {
            otlp: Some(receiver),
            ..TraceSettings::default()
        }
    }

    #[test]
    fn an_empty_environment_changes_nothing() {
        let settings = applied(TraceSettings::default(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap();
        assert!(settings.otlp.is_none() && settings.sampling_rate.is_empty());
        assert_eq!(settings.batch, BatchLimits::default());
    }

    #[test]
    fn an_endpoint_of_the_environment_brings_everything_with_it() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=two%20words"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ];
        let settings = applied(TraceSettings::default(), &variables).unwrap();
        let receiver = settings.otlp.unwrap();
        assert_eq!(
            (receiver.endpoint.as_str(), receiver.protocol.as_str()),
            ("traces:2", "http")
        );
        assert!(!receiver.secure);
        let headers = [
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "two words".to_owned()),
        ];
        assert_eq!(receiver.headers, headers);
        assert_eq!(receiver.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(settings.sampling_rate, "1");
    }

    #[test]
    fn the_protocol_is_grpc_unless_it_starts_with_http() {
        for (protocol, expected) in [
            ("", "grpc"),
            ("grpc", "grpc"),
            ("http", "http"),
            ("http/json", "http"),
            ("HTTP", "grpc"),
        ] {
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ];
            let settings = applied(TraceSettings::default(), &variables).unwrap();
            assert_eq!(settings.otlp.unwrap().protocol, expected, "{protocol}");
        }
    }

    #[test]
    fn only_the_word_true_makes_the_connection_insecure() {
        for (word, secure) in [("true", false), ("True", true), ("1", true), ("", true)] {
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1"),
                ("OTEL_EXPORTER_OTLP_INSECURE", word),
            ];
            assert_eq!(
                applied(TraceSettings::default(), &variables)
                    .unwrap()
                    .otlp
                    .unwrap()
                    .secure,
                secure,
                "{word}"
            );
        }
    }

    #[test]
    fn a_configured_receiver_keeps_its_headers_and_timeout() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "other:1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "env=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
        ];
        let mut own = configured();
        let receiver = own.otlp.as_mut().unwrap();
        receiver.headers = vec![("own".to_owned(), "1".to_owned())];
        receiver.timeout = Some(Duration::from_secs(3));
        let receiver = applied(own, &variables).unwrap().otlp.unwrap();
        assert_eq!(receiver.endpoint, "collector:4317");
        assert_eq!(receiver.headers, [("own".to_owned(), "1".to_owned())]);
        assert_eq!(receiver.timeout, Some(Duration::from_secs(3)));

        let settings = applied(configured(), &variables).unwrap();
        assert_eq!(settings.sampling_rate, "");
        let receiver = settings.otlp.unwrap();
        assert_eq!(receiver.headers, [("env".to_owned(), "1".to_owned())]);
        assert_eq!(receiver.timeout, Some(Duration::from_millis(7)));
    }

    #[test]
    fn a_malformed_header_list_is_an_error_where_it_counts() {
        for list in ["a", "a=1,b", "a=%zz"] {
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1"),
                ("OTEL_EXPORTER_OTLP_HEADERS", list),
            ];
            assert!(
                matches!(
                    applied(TraceSettings::default(), &variables),
                    Err(SetupError::Header(_))
                ),
                "{list}"
            );
            assert!(
                applied(configured(), &variables)
                    .unwrap()
                    .otlp
                    .unwrap()
                    .headers
                    .is_empty()
            );
        }
    }

    #[test]
    fn resource_and_batches_follow_their_variables() {
        let variables = [
            ("OTEL_SERVICE_NAME", "other"),
            ("OTEL_RESOURCE_ATTRIBUTES", "zone=a,broken,team=x%2Fy"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_SCHEDULE_DELAY", "250"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "never"),
        ];
        let mut settings = TraceSettings::default();
        "app".clone_into(&mut settings.resource.service_name);
        let settings = applied(settings, &variables).unwrap();
        assert_eq!(settings.resource.service_name, "other");
        assert_eq!(
            settings.resource.attributes,
            [
                ("zone".to_owned(), "a".to_owned()),
                ("team".to_owned(), "x/y".to_owned())
            ]
        );
        let expected = BatchLimits {
            queue: 100,
            batch: 100,
            delay: Duration::from_millis(250),
            ..BatchLimits::default()
        };
        assert_eq!(settings.batch, expected);
    }
}
