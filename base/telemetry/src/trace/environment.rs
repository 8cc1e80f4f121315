//! What the standard OpenTelemetry variables add to the tracing section of a configuration.

use std::time::Duration;

use outrigger_kit::percent;

use super::settings::{BatchLimits, OtlpSettings, TraceError, TraceSettings};

/// Looks up a variable; unset and empty are the same.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

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
    pub fn apply_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), TraceError> {
        let variables = Variables(lookup);
        if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
            self.service_name = name;
        }
        if let Some(list) = variables.get("OTEL_RESOURCE_ATTRIBUTES") {
            // A malformed attribute is skipped: it names nothing that the trace depends on.
            self.resource
                .extend(list.split(',').filter_map(|pair| decoded_pair(pair).ok()));
        }
        self.batch = variables.batch_limits(self.batch);
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
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The variable of the exporter, the one for traces before the one for all signals.
    fn of_traces(&self, name: &str) -> Option<String> {
        self.get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn timeout(&self) -> Option<Duration> {
        self.of_traces("TIMEOUT")?.parse().ok().map(Duration::from_millis)
    }

    fn headers(&self) -> Result<Vec<(String, String)>, TraceError> {
        let list = self.of_traces("HEADERS").unwrap_or_default();
        list.split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(decoded_pair)
            .collect()
    }

    /// Makes the receiver that the environment describes.
    fn describe(&self, endpoint: &str, receiver: &mut OtlpSettings) -> Result<(), TraceError> {
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

    fn batch_limits(&self, limits: BatchLimits) -> BatchLimits {
        let number = |name: &str| self.get(name)?.parse::<u64>().ok().filter(|number| *number > 0);
        let count = |name: &str, default: usize| {
            number(name).map_or(default, |count| usize::try_from(count).unwrap_or(default))
        };
        let millis = |name: &str, default: Duration| number(name).map_or(default, Duration::from_millis);
        let queue = count("OTEL_BSP_MAX_QUEUE_SIZE", limits.queue);
        BatchLimits {
            queue,
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", limits.batch).min(queue),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", limits.delay),
            timeout: millis("OTEL_BSP_EXPORT_TIMEOUT", limits.timeout),
        }
    }
}

/// Reads `key=value` with percent-encoding on both sides.
fn decoded_pair(pair: &str) -> Result<(String, String), TraceError> {
    let broken = || TraceError::Header(pair.to_owned());
    let (name, value) = pair.split_once('=').ok_or_else(broken)?;
    let decode = |text: &str| {
        percent::decode_path_text(text.trim())
            .map(String::from)
            .map_err(|_| broken())
    };
    Ok((decode(name)?, decode(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(mut settings: TraceSettings, variables: &[(&str, &str)]) -> Result<TraceSettings, TraceError> {
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
                    Err(TraceError::Header(_))
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
        let settings = TraceSettings {
            service_name: "app".to_owned(),
            ..TraceSettings::default()
        };
        let settings = applied(settings, &variables).unwrap();
        assert_eq!(settings.service_name, "other");
        assert_eq!(
            settings.resource,
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
