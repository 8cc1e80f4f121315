//! The rules as they are written, and which of them make sense.
//!
//! A text that is no JSON is an error; a rule that makes no sense is left out with a warning.

use outrigger_kit::json::from_value_ignoring_case;
use outrigger_svc::BoxError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How many requests a resource takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FlowRule {
    pub(super) resource: String,
    /// 0 the threshold itself, 1 less of it at first, 2 more or less of it by the memory in use.
    pub(super) token_calculate_strategy: i32,
    /// 0 refuse what is too much, 1 let it wait.
    pub(super) control_behavior: i32,
    pub(super) threshold: f64,
    /// 0 the resource counts, 1 another one does.
    pub(super) relation_strategy: i32,
    pub(super) ref_resource: String,
    pub(super) max_queueing_time_ms: u32,
    pub(super) warm_up_period_sec: u32,
    pub(super) warm_up_cold_factor: u32,
    pub(super) stat_interval_in_ms: u32,
    pub(super) low_mem_usage_threshold: i64,
    pub(super) high_mem_usage_threshold: i64,
    pub(super) mem_low_water_mark_bytes: i64,
    pub(super) mem_high_water_mark_bytes: i64,
}

/// When a resource is not asked for a while.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BreakerRule {
    pub(super) resource: String,
    /// 0 the share of slow requests, 1 the share of errors, 2 the number of errors.
    pub(super) strategy: i32,
    pub(super) retry_timeout_ms: u32,
    pub(super) min_request_amount: u64,
    pub(super) stat_interval_ms: u32,
    pub(super) stat_sliding_window_bucket_count: u32,
    pub(super) max_allowed_rt_ms: u64,
    pub(super) threshold: f64,
    pub(super) probe_num: u64,
}

/// How many requests a resource takes at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct IsolationRule {
    pub(super) resource: String,
    pub(super) metric_type: i32,
    pub(super) threshold: u32,
}

/// How many requests with one parameter a resource takes. No parameters are given to it here, so it never fits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HotspotRule {
    pub(super) resource: String,
}

/// When the whole sidecar takes no more requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SystemRule {
    /// 0 load, 1 average time, 2 requests at once, 3 requests a second, 4 share of CPU.
    pub(super) metric_type: u32,
    pub(super) trigger_count: f64,
    /// 1 looks at what the sidecar can take before it refuses.
    pub(super) strategy: i32,
}

/// A rule that may make no sense.
pub(super) trait Rule: DeserializeOwned {
    /// What errors call the kind of rule.
    const NAME: &'static str;

    /// What makes no sense in it.
    fn flaw(&self) -> Option<&'static str>;
}

/// Reads a list of rules.
///
/// # Errors
/// `fail to load sentinel <kind> rules '<text>': <error>`
pub(super) fn read<R: Rule>(text: &str) -> Result<Vec<R>, BoxError> {
    let failed =
        |error: &dyn std::fmt::Display| format!("fail to load sentinel {} rules '{text}': {error}", R::NAME);
    let value: Value = serde_json::from_str(text).map_err(|error| failed(&error))?;
    let rules: Vec<R> = match value {
        Value::Null => Vec::new(),
        value => from_value_ignoring_case(&value).map_err(|error| failed(&error))?,
    };
    let makes_sense = |rule: &R| match rule.flaw() {
        None => true,
        Some(flaw) => {
            tracing::warn!(target: "dapr.contrib", "a sentinel {} rule is left out: {flaw}", R::NAME);
            false
        }
    };
    Ok(rules.into_iter().filter(makes_sense).collect())
}

// === impl Rule ===

/// The first of some flaws that is there.
fn first(flaws: &[(bool, &'static str)]) -> Option<&'static str> {
    flaws
        .iter()
        .find(|(is_there, _)| *is_there)
        .map(|(_, flaw)| *flaw)
}

const NO_RESOURCE: &str = "empty resource name";
const NEGATIVE: &str = "negative threshold";

impl Rule for FlowRule {
    const NAME: &'static str = "flow";

    fn flaw(&self) -> Option<&'static str> {
        let (low, high) = (self.mem_low_water_mark_bytes, self.mem_high_water_mark_bytes);
        first(&[
            (self.resource.is_empty(), NO_RESOURCE),
            (
                !(0..=2).contains(&self.token_calculate_strategy),
                "unknown strategy",
            ),
            (!(0..=1).contains(&self.control_behavior), "unknown behaviour"),
            (self.threshold.is_nan() || self.threshold < 0.0, NEGATIVE),
            (
                self.relation_strategy == 1 && self.ref_resource.is_empty(),
                "no resource that it refers to",
            ),
            (
                self.token_calculate_strategy == 1 && self.warm_up_period_sec == 0,
                "no time to warm up",
            ),
            (
                self.token_calculate_strategy == 1 && self.warm_up_cold_factor == 1,
                "a cold factor of 1",
            ),
            (
                self.token_calculate_strategy == 2 && !(0 < low && low < high),
                "water marks that are not in order",
            ),
            (
                self.token_calculate_strategy == 2
                    && !(0 < self.high_mem_usage_threshold
                        && self.high_mem_usage_threshold < self.low_mem_usage_threshold),
                "thresholds that are not in order",
            ),
        ])
    }
}

impl Rule for BreakerRule {
    const NAME: &'static str = "circuit breaker";

    fn flaw(&self) -> Option<&'static str> {
        first(&[
            (self.resource.is_empty(), NO_RESOURCE),
            (!(0..=2).contains(&self.strategy), "unknown strategy"),
            (self.stat_interval_ms == 0, "no interval"),
            (self.retry_timeout_ms == 0, "no time until it is tried again"),
            (self.threshold.is_nan() || self.threshold < 0.0, NEGATIVE),
            (self.strategy != 2 && self.threshold > 1.0, "a share above 1"),
        ])
    }
}

impl Rule for IsolationRule {
    const NAME: &'static str = "isolation";

    fn flaw(&self) -> Option<&'static str> {
        first(&[
            (self.resource.is_empty(), NO_RESOURCE),
            (self.metric_type != 0, "unknown kind of measure"),
            (self.threshold == 0, "a threshold of 0"),
        ])
    }
}

impl Rule for HotspotRule {
    const NAME: &'static str = "hotspot param";

    fn flaw(&self) -> Option<&'static str> {
        first(&[(self.resource.is_empty(), NO_RESOURCE)])
    }
}

impl Rule for SystemRule {
    const NAME: &'static str = "system";

    fn flaw(&self) -> Option<&'static str> {
        first(&[
            (self.metric_type > 4, "unknown kind of measure"),
            (self.trigger_count.is_nan() || self.trigger_count < 0.0, NEGATIVE),
            (
                self.metric_type == 4 && self.trigger_count > 1.0,
                "a share above 1",
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_whatever_the_case_of_their_fields() {
        let rules: Vec<FlowRule> = read(
            r#"[{"Resource":"GET:/a","threshold":2.5,"controlbehavior":1,"unknown":1},
                {"resource":"","threshold":1},{"resource":"x","tokenCalculateStrategy":1}]"#,
        )
        .unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!((rules[0].threshold, rules[0].control_behavior), (2.5, 1));
        assert!(read::<FlowRule>("null").unwrap().is_empty());
    }

    #[test]
    fn texts_that_are_no_rules_are_told_with_their_kind() {
        let error = read::<BreakerRule>("{").unwrap_err().to_string();
        assert!(
            error.starts_with("fail to load sentinel circuit breaker rules '{': "),
            "{error}"
        );
        let error = read::<HotspotRule>(r#"[{"resource":7e}]"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("fail to load sentinel hotspot param rules '[{"),
            "{error}"
        );
        let error = read::<SystemRule>(r#"{"metricType":1}"#).unwrap_err().to_string();
        assert!(
            error.starts_with("fail to load sentinel system rules '"),
            "{error}"
        );
        let error = read::<IsolationRule>("x").unwrap_err().to_string();
        assert!(
            error.starts_with("fail to load sentinel isolation rules 'x': "),
            "{error}"
        );
    }
}
