//! The allow and deny lists of the API: they remove routes when the server is built.
//!
//! Source: specification, HTTP API 4.

use super::table::{Route, Version};

/// Which routes exist. Without rules every route does.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiRules {
    allowed: Vec<String>,
    denied: Vec<String>,
}

/// One entry of `spec.api.allowed` or `spec.api.denied`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiRule<'a> {
    /// Name of a group or of the beginning of a route.
    pub(crate) name: &'a str,
    /// Version of a group (`v1`) or of a route (`v1.0`).
    pub(crate) version: &'a str,
    /// Only `http`, in any case, counts here.
    pub(crate) protocol: &'a str,
}

// === impl ApiRules ===

impl ApiRules {
    /// Takes the entries that concern HTTP.
    pub(crate) fn new<'a>(
        allowed: impl IntoIterator<Item = ApiRule<'a>>,
        denied: impl IntoIterator<Item = ApiRule<'a>>,
    ) -> Self {
        Self {
            allowed: keys(allowed),
            denied: keys(denied),
        }
    }

    /// Whether a version of a route exists.
    pub(crate) fn allow(&self, route: &Route, version: Version) -> bool {
        if route.operation.is_health() {
            return true;
        }
        let matches = |keys: &[String]| keys.iter().any(|key| concerns(key, route, version));
        !matches(&self.denied) && (self.allowed.is_empty() || matches(&self.allowed))
    }
}

fn keys<'a>(rules: impl IntoIterator<Item = ApiRule<'a>>) -> Vec<String> {
    rules
        .into_iter()
        .filter(|rule| rule.protocol.eq_ignore_ascii_case("http"))
        .map(|rule| format!("{}/{}", rule.version, rule.name))
        .collect()
}

fn concerns(key: &str, route: &Route, version: Version) -> bool {
    let Some((rule_version, rule_name)) = key.split_once('/') else {
        return false;
    };
    let is_group = rule_version == version.group() && rule_name == route.group;
    is_group || (rule_version == version.prefix() && route.path.starts_with(rule_name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_api::table::{Operation, TABLE};

    fn rule<'a>(version: &'a str, name: &'a str) -> ApiRule<'a> {
        ApiRule {
            name,
            version,
            protocol: "HTTP",
        }
    }

    fn allows(rules: &ApiRules, operation: Operation, version: Version) -> bool {
        let route = TABLE
            .iter()
            .find(|route| route.operation == operation && route.versions.contains(&version));
        rules.allow(route.unwrap(), version)
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let rules = ApiRules::default();
        assert!(
            TABLE
                .iter()
                .all(|route| route.versions.iter().all(|version| rules.allow(route, *version)))
        );
    }

    #[test]
    fn a_denied_group_is_gone_in_that_version_only() {
        let rules = ApiRules::new([], [rule("v1", "state"), rule("v1alpha1", "jobs")]);
        assert!(!allows(&rules, Operation::GetState, Version::V1));
        assert!(allows(&rules, Operation::QueryStateAlpha1, Version::Alpha1));
        assert!(allows(&rules, Operation::GetJob, Version::V1));
        assert!(!allows(&rules, Operation::GetJob, Version::Alpha1));
    }

    #[test]
    fn an_allow_list_keeps_its_groups_and_the_health_checks() {
        let rules = ApiRules::new([rule("v1", "invoke"), rule("v1.0-alpha1", "lock")], []);
        assert!(allows(&rules, Operation::InvokeService, Version::V1));
        assert!(allows(&rules, Operation::TryLock, Version::Alpha1));
        assert!(!allows(&rules, Operation::Unlock, Version::Alpha1));
        assert!(!allows(&rules, Operation::GetMetadata, Version::V1));
        assert!(allows(&rules, Operation::Healthz, Version::V1));
    }

    #[test]
    fn denial_wins_over_permission() {
        let rules = ApiRules::new(
            [rule("v1", "actors")],
            [rule("v1.0", "actors/{actorType}/{actorId}/timers")],
        );
        assert!(allows(&rules, Operation::InvokeActor, Version::V1));
        assert!(!allows(&rules, Operation::RegisterActorTimer, Version::V1));
    }

    #[test]
    fn rules_of_other_protocols_are_ignored() {
        let grpc = ApiRule {
            name: "state",
            version: "v1",
            protocol: "grpc",
        };
        let rules = ApiRules::new([grpc], [grpc]);
        assert!(allows(&rules, Operation::GetState, Version::V1));
    }
}
