//! Features that can be turned on and off.

use std::collections::BTreeSet;

use super::wire::FeatureSpec;

/// Features the product knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Changed resources are applied without a restart of the process. On by default.
    HotReload,
    /// Results of activities of other apps are queued by reminder. On by default.
    WorkflowsRemoteActivityReminder,
    /// Actor state keys may expire.
    ActorStateTtl,
    /// Workflow workers may connect to any replica.
    WorkflowsClusteredDeployment,
    /// Workflow history is signed.
    WorkflowHistorySigning,
    /// Fewer reminders per workflow turn.
    WorkflowsFastPath,
}

/// The features that are on, known or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features(BTreeSet<String>);

// === impl Feature ===

impl Feature {
    /// The name of the feature in a Configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HotReload => "HotReload",
            Self::WorkflowsRemoteActivityReminder => "WorkflowsRemoteActivityReminder",
            Self::ActorStateTtl => "ActorStateTTL",
            Self::WorkflowsClusteredDeployment => "WorkflowsClusteredDeployment",
            Self::WorkflowHistorySigning => "WorkflowHistorySigning",
            Self::WorkflowsFastPath => "WorkflowsFastPath",
        }
    }
}

// === impl Features ===

impl Features {
    /// The default features with these entries applied in order: the last of a name wins.
    pub(super) fn new(entries: Vec<FeatureSpec>) -> Self {
        let on_by_default = [Feature::HotReload, Feature::WorkflowsRemoteActivityReminder];
        let mut names: BTreeSet<String> = on_by_default
            .iter()
            .map(|feature| feature.name().to_owned())
            .collect();
        for entry in entries {
            if entry.enabled {
                names.insert(entry.name);
            } else {
                names.remove(&entry.name);
            }
        }
        Self(names)
    }

    /// Whether a feature is on.
    #[must_use]
    pub fn is_on(&self, feature: Feature) -> bool {
        self.0.contains(feature.name())
    }

    /// Names of all features that are on, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for Features {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_applied_over_the_defaults() {
        let entry = |name: &str, enabled| FeatureSpec {
            name: name.to_owned(),
            enabled,
        };
        let features = Features::new(vec![
            entry("HotReload", false),
            entry("Unknown", true),
            entry("ActorStateTTL", true),
            entry("ActorStateTTL", false),
        ]);
        assert!(!features.is_on(Feature::HotReload));
        assert!(!features.is_on(Feature::ActorStateTtl));
        let names: Vec<_> = features.names().collect();
        assert_eq!(names, ["Unknown", "WorkflowsRemoteActivityReminder"]);
        assert!(Features::default().is_on(Feature::HotReload));
    }
}
