//! What the standard OpenTelemetry variables say about all signals.

use std::time::Duration;

use outrigger_kit::percent;

use super::settings::{BatchLimits, Resource, SetupError};

/// Looks up a variable; unset and empty are the same.
pub(crate) struct Variables<'a>(pub(crate) &'a dyn Fn(&str) -> Option<String>);

// === impl Variables ===

impl Variables<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A time in milliseconds, other than zero.
    pub(crate) fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok().filter(|number| *number > 0)
    }
}

// === impl Resource ===

impl Resource {
    /// Applies `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, as `lookup` finds them.
    pub fn apply_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) {
        let variables = Variables(lookup);
        if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
            self.service_name = name;
        }
        if let Some(list) = variables.get("OTEL_RESOURCE_ATTRIBUTES") {
            // A malformed attribute is skipped: it names nothing that anything depends on.
            let pairs = list.split(',').filter_map(|pair| decoded_pair(pair).ok());
            self.attributes.extend(pairs);
        }
    }
}

// === impl BatchLimits ===

impl BatchLimits {
    /// Applies the variables of a batch processor, as `lookup` finds them: `OTEL_BSP_...` for spans,
    /// `OTEL_BLRP_...` for log records.
    #[must_use]
    pub fn with_environment(self, prefix: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let variables = Variables(lookup);
        let name = |name: &str| format!("{prefix}_{name}");
        let count = |suffix: &str, default: usize| {
            let count = variables.number(&name(suffix));
            count.map_or(default, |count| usize::try_from(count).unwrap_or(default))
        };
        let millis = |suffix: &str, default| variables.millis(&name(suffix)).unwrap_or(default);
        let queue = count("MAX_QUEUE_SIZE", self.queue);
        Self {
            queue,
            batch: count("MAX_EXPORT_BATCH_SIZE", self.batch).min(queue),
            delay: millis("SCHEDULE_DELAY", self.delay),
            timeout: millis("EXPORT_TIMEOUT", self.timeout),
        }
    }
}

/// Reads `key=value` with percent-encoding on both sides.
pub(crate) fn decoded_pair(pair: &str) -> Result<(String, String), SetupError> {
    let broken = || SetupError::Header(pair.to_owned());
    let (name, value) = pair.split_once('=').ok_or_else(broken)?;
    let decode = |text: &str| {
        percent::decode_path_text(text.trim())
            .map(String::from)
            .map_err(|_| broken())
    };
    Ok((decode(name)?, decode(value)?))
}
