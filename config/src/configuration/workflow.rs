//! Limits of workflows.

use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_kit::duration::GoDuration;

use super::wire::{ConcurrencyLimitSpec, RetentionSpec, Span, WorkflowSpec};

/// Limits of workflows; `None` is without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workflow {
    /// Workflows at once in this sidecar.
    pub max_workflows: Option<NonZeroU32>,
    /// Activities at once in this sidecar.
    pub max_activities: Option<NonZeroU32>,
    /// Workflows at once in the cluster.
    pub global_max_workflows: Option<NonZeroU32>,
    /// Activities at once in the cluster.
    pub global_max_activities: Option<NonZeroU32>,
    /// Workflows at once in the cluster, by name.
    pub workflow_limits: Vec<ConcurrencyLimit>,
    /// Activities at once in the cluster, by name.
    pub activity_limits: Vec<ConcurrencyLimit>,
    /// When the state of ended workflows is purged.
    pub retention: Retention,
}

/// A limit for one workflow or activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// Its name.
    pub name: String,
    /// How many at once; `None` is without limit.
    pub limit: Option<NonZeroU32>,
}

/// How long the state of ended workflows is kept; `None` keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Completed ones.
    pub completed: Option<Duration>,
    /// Failed ones.
    pub failed: Option<Duration>,
    /// Terminated ones.
    pub terminated: Option<Duration>,
}

// === impl Workflow ===

impl From<WorkflowSpec> for Workflow {
    fn from(spec: WorkflowSpec) -> Self {
        let limits =
            |specs: Vec<ConcurrencyLimitSpec>| specs.into_iter().map(ConcurrencyLimit::from).collect();
        Self {
            max_workflows: positive(spec.max_concurrent_workflow_invocations),
            max_activities: positive(spec.max_concurrent_activity_invocations),
            global_max_workflows: positive(spec.global_max_concurrent_workflow_invocations),
            global_max_activities: positive(spec.global_max_concurrent_activity_invocations),
            workflow_limits: limits(spec.workflow_concurrency_limits),
            activity_limits: limits(spec.activity_concurrency_limits),
            retention: Retention::from(spec.state_retention_policy),
        }
    }
}

impl From<ConcurrencyLimitSpec> for ConcurrencyLimit {
    fn from(spec: ConcurrencyLimitSpec) -> Self {
        Self {
            name: spec.name,
            limit: positive(spec.max_concurrent),
        }
    }
}

// === impl Retention ===

impl From<RetentionSpec> for Retention {
    fn from(spec: RetentionSpec) -> Self {
        let either = |own: Option<Span>| {
            own.or(spec.any_terminal)
                .map(|Span(span)| GoDuration::to_std(span))
        };
        Self {
            completed: either(spec.completed),
            failed: either(spec.failed),
            terminated: either(spec.terminated),
        }
    }
}

fn positive(number: i32) -> Option<NonZeroU32> {
    u32::try_from(number).ok().and_then(NonZeroU32::new)
}
