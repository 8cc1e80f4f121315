//! Rewriting of label values by configured rules.

use regex_lite::Regex;

use super::settings::MetricRule;

/// Prefix of the specified names, which rules may leave out.
pub(super) const PREFIX: &str = "dapr_";

/// Prefix of names that the reference does not have; they are written as they are.
pub(super) const OWN_PREFIX: &str = "outrigger_";

/// A rule whose pattern cannot be compiled; the text is the one that is logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "[INIT_FAILURE]: initialization error occurred for metrics: failed to compile regex for rule {rule}/{label}: {reason}"
)]
pub struct RuleError {
    /// Name of the metric in the rule.
    pub rule: String,
    /// Name of the label.
    pub label: String,
    /// What is wrong with the pattern.
    pub reason: String,
}

/// All rules, compiled.
///
/// Patterns have the syntax of RE2 and its guarantee of linear time; Unicode classes (`\pL`) are not supported.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    metric: String,
    label: String,
    rewrite: Rewrite,
}

/// Replaces all matches of a pattern.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    pattern: Regex,
    replacement: String,
}

// === impl Rules ===

impl Rules {
    pub(super) fn compile(rules: &[MetricRule]) -> Result<Self, RuleError> {
        let mut compiled = Vec::new();
        for rule in rules {
            let metric = rule.name.strip_prefix(PREFIX).unwrap_or(&rule.name);
            for label in &rule.labels {
                for (replacement, pattern) in &label.regex {
                    let pattern = Regex::new(pattern).map_err(|error| RuleError {
                        rule: rule.name.clone(),
                        label: label.name.clone(),
                        reason: error.to_string(),
                    })?;
                    let rewrite = Rewrite {
                        pattern,
                        replacement: replacement.clone(),
                    };
                    compiled.push(Rule {
                        metric: metric.to_owned(),
                        label: label.name.clone(),
                        rewrite,
                    });
                }
            }
        }
        Ok(Self(compiled))
    }

    /// The rewrites of a label, in the order in which they apply.
    pub(super) fn of(&self, metric: &str, label: &str) -> Vec<Rewrite> {
        let matching = self
            .0
            .iter()
            .filter(|rule| rule.metric == metric && rule.label == label);
        matching.map(|rule| rule.rewrite.clone()).collect()
    }
}

// === impl Rewrite ===

impl Rewrite {
    pub(super) fn apply(&self, value: &str) -> String {
        self.pattern
            .replace_all(value, self.replacement.as_str())
            .into_owned()
    }
}
