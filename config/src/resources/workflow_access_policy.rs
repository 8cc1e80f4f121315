//! The kind `WorkflowAccessPolicy`.

use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use serde::Deserialize;
use serde_json::Value;

use super::{Metadata, Resource};

/// Which apps may do what with the workflows and activities of the apps in its scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkflowAccessPolicy {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Rules in order; without any, nothing is allowed to other apps.
    pub rules: Vec<PolicyRule>,
    /// App ids that enforce it; empty is all.
    pub scopes: Vec<String>,
}

/// What some callers may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// App ids of the callers.
    pub callers: Vec<String>,
    /// What they may do with workflows.
    pub workflows: Vec<WorkflowRule>,
    /// Which activities they may schedule.
    pub activities: Vec<ActivityRule>,
}

/// What may be done with the workflows of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkflowRule {
    /// Name or glob.
    pub name: String,
    /// Operations, each one of `schedule terminate raise pause resume purge get rerun`.
    pub operations: Vec<String>,
    /// What must have happened before.
    pub requires: Vec<Requirement>,
}

/// Activities that may be scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ActivityRule {
    /// Name or glob.
    pub name: String,
    /// What must have happened before.
    pub requires: Vec<Requirement>,
}

/// Something that must have happened before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Requirement {
    /// One of `activity.started activity.completed workflow.started workflow.completed event.raised`.
    pub event_type: String,
    /// Name of the activity, workflow or event.
    pub name: String,
    /// App id it happened in.
    #[serde(rename = "appID")]
    pub app_id: String,
}

/// Why a policy is skipped. Log as `WorkflowAccessPolicy "<name>" failed validation, skipping: <text>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct WorkflowAccessPolicyError {
    path: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PolicySpec {
    metadata: Metadata,
    spec: Spec,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    rules: Vec<RuleSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuleSpec {
    callers: Vec<CallerSpec>,
    workflows: Vec<WorkflowRule>,
    activities: Vec<ActivityRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CallerSpec {
    #[serde(rename = "appID")]
    app_id: String,
}

// === impl WorkflowAccessPolicy ===

impl WorkflowAccessPolicy {
    const OPERATIONS: [&str; 8] = [
        "schedule",
        "terminate",
        "raise",
        "pause",
        "resume",
        "purge",
        "get",
        "rerun",
    ];
    const EVENTS: [&str; 5] = [
        "activity.started",
        "activity.completed",
        "workflow.started",
        "workflow.completed",
        "event.raised",
    ];

    /// Checks the policy against the schema of its kind, as the API server of a cluster does.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), WorkflowAccessPolicyError> {
        let at = Place::root("spec.rules");
        at.count(&self.rules, 0, 100)?;
        for (index, rule) in self.rules.iter().enumerate() {
            rule.validate(&at.item(index))?;
        }
        Ok(())
    }
}

impl Resource for WorkflowAccessPolicy {
    const KIND: &'static str = "WorkflowAccessPolicy";

    fn from_document(_api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let wire: PolicySpec = from_value_ignoring_case(document)?;
        let rule = |spec: RuleSpec| PolicyRule {
            callers: spec.callers.into_iter().map(|caller| caller.app_id).collect(),
            workflows: spec.workflows,
            activities: spec.activities,
        };
        Ok(Self {
            metadata: wire.metadata,
            rules: wire.spec.rules.into_iter().map(rule).collect(),
            scopes: wire.scopes,
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn same_as(&self, other: &Self) -> bool {
        self.metadata.name == other.metadata.name && self.rules == other.rules && self.scopes == other.scopes
    }
}

// === impl PolicyRule ===

impl PolicyRule {
    fn validate(&self, at: &Place) -> Result<(), WorkflowAccessPolicyError> {
        let callers = at.field("callers");
        callers.count(&self.callers, 1, 100)?;
        for (index, app_id) in self.callers.iter().enumerate() {
            callers.item(index).field("appID").length(app_id)?;
        }
        if self.workflows.is_empty() && self.activities.is_empty() {
            return Err(at.error("at least one of workflows or activities must contain a rule"));
        }
        let workflows = at.field("workflows");
        workflows.count(&self.workflows, 0, 100)?;
        for (index, rule) in self.workflows.iter().enumerate() {
            rule.validate(&workflows.item(index))?;
        }
        let activities = at.field("activities");
        activities.count(&self.activities, 0, 100)?;
        for (index, rule) in self.activities.iter().enumerate() {
            let at = activities.item(index);
            at.field("name").length(&rule.name)?;
            Requirement::validate_all(&rule.requires, &at.field("requires"))?;
        }
        Ok(())
    }
}

// === impl WorkflowRule ===

impl WorkflowRule {
    fn validate(&self, at: &Place) -> Result<(), WorkflowAccessPolicyError> {
        at.field("name").length(&self.name)?;
        let operations = at.field("operations");
        operations.count(&self.operations, 1, 8)?;
        for (index, operation) in self.operations.iter().enumerate() {
            operations
                .item(index)
                .one_of(operation, &WorkflowAccessPolicy::OPERATIONS)?;
            if self
                .operations
                .iter()
                .take(index)
                .any(|earlier| earlier == operation)
            {
                return Err(operations
                    .item(index)
                    .error(&format!("duplicate value \"{operation}\"")));
            }
        }
        if !self.requires.is_empty() && self.operations != ["schedule"] {
            return Err(at.error("requires is only valid when the rule's only operation is 'schedule'"));
        }
        Requirement::validate_all(&self.requires, &at.field("requires"))
    }
}

// === impl Requirement ===

impl Requirement {
    fn validate_all(requirements: &[Self], at: &Place) -> Result<(), WorkflowAccessPolicyError> {
        at.count(requirements, 0, 20)?;
        for (index, requirement) in requirements.iter().enumerate() {
            let at = at.item(index);
            at.field("eventType")
                .one_of(&requirement.event_type, &WorkflowAccessPolicy::EVENTS)?;
            at.field("name").length(&requirement.name)?;
            at.field("appID").length(&requirement.app_id)?;
        }
        Ok(())
    }
}

/// Where in a resource a rule of the schema applies.
struct Place(String);

// === impl Place ===

impl Place {
    fn root(path: &str) -> Self {
        Self(path.to_owned())
    }

    fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    fn error(&self, message: &str) -> WorkflowAccessPolicyError {
        WorkflowAccessPolicyError {
            path: self.0.clone(),
            message: message.to_owned(),
        }
    }

    fn count<T>(&self, items: &[T], least: usize, most: usize) -> Result<(), WorkflowAccessPolicyError> {
        match items.len() {
            few if few < least => Err(self.error(&format!("must have at least {least} items"))),
            many if many > most => Err(self.error(&format!("must have at most {most} items"))),
            _ => Ok(()),
        }
    }

    fn length(&self, text: &str) -> Result<(), WorkflowAccessPolicyError> {
        match text.chars().count() {
            1..=256 => Ok(()),
            _ => Err(self.error("must have 1 to 256 characters")),
        }
    }

    fn one_of(&self, text: &str, words: &[&str]) -> Result<(), WorkflowAccessPolicyError> {
        if words.contains(&text) {
            return Ok(());
        }
        Err(self.error(&format!(
            "unsupported value \"{text}\", must be one of: {}",
            words.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;

    fn policy(rules: &str) -> WorkflowAccessPolicy {
        let text = format!("metadata: {{name: p}}\nspec: {{rules: {rules}}}\nscopes: [target]");
        WorkflowAccessPolicy::from_document("dapr.io/v1alpha1", &yaml::to_json(&text).unwrap()).unwrap()
    }

    #[test]
    fn valid_policies_pass() {
        for rules in [
            "[]",
            "[{callers: [{appID: a}], activities: [{name: '*'}]}]",
            "[{callers: [{appID: a}], workflows: [{name: w, operations: [schedule], requires: \
                [{eventType: event.raised, name: n, appID: b}]}]}]",
        ] {
            assert_eq!(policy(rules).validate(), Ok(()), "{rules}");
        }
        assert_eq!(policy("[{callers: [{appid: a}]}]").rules[0].callers, ["a"]);
    }

    #[test]
    fn broken_rules_are_named_with_their_place() {
        let table = [
            ("[{}]", "spec.rules[0].callers: must have at least 1 items"),
            (
                "[{callers: [{}]}]",
                "spec.rules[0].callers[0].appID: must have 1 to 256 characters",
            ),
            (
                "[{callers: [{appID: a}]}]",
                "spec.rules[0]: at least one of workflows or activities must contain a rule",
            ),
            (
                "[{callers: [{appID: a}], workflows: [{name: w}]}]",
                "spec.rules[0].workflows[0].operations: must have at least 1 items",
            ),
            (
                "[{callers: [{appID: a}], workflows: [{name: w, operations: [get, get]}]}]",
                "spec.rules[0].workflows[0].operations[1]: duplicate value \"get\"",
            ),
            (
                "[{callers: [{appID: a}], workflows: [{name: w, operations: [get, schedule], requires: [{}]}]}]",
                "spec.rules[0].workflows[0]: requires is only valid when the rule's only operation is 'schedule'",
            ),
        ];
        for (rules, expected) in table {
            assert_eq!(policy(rules).validate().unwrap_err().to_string(), expected);
        }
        let odd = policy("[{callers: [{appID: a}], workflows: [{name: w, operations: [run]}]}]").validate();
        assert!(odd.unwrap_err().to_string().contains("unsupported value \"run\""));
    }
}
