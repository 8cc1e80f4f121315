//! Workflows and their activities.

use super::instrument::{Counter, Histogram};
use super::registry::{Buckets, Description, Fixed, Registry};

/// Instruments of the workflow engine; the labels are recorded in the order that each field names.
///
/// Specification: observability, section 7.5.
#[derive(Debug)]
pub struct Workflow {
    /// Operations asked for. Labels: operation, status.
    pub operations: Counter,
    /// Latency of operations. Labels: operation, status.
    pub operation_latency: Histogram,
    /// Executions that ended. Labels: workflow name, status.
    pub executions: Counter,
    /// Duration of executions. Labels: workflow name, status.
    pub execution_latency: Histogram,
    /// Time from creation to start. Label: workflow name.
    pub scheduling_latency: Histogram,
    /// Activities asked for. Labels: activity name, status.
    pub activity_operations: Counter,
    /// Latency of activity requests. Labels: activity name, status.
    pub activity_operation_latency: Histogram,
    /// Activities that ended. Labels: activity name, status.
    pub activity_executions: Counter,
    /// Duration of activities. Labels: activity name, status.
    pub activity_execution_latency: Histogram,
    /// Attestations made. Labels: kind, status.
    pub attestations_generated: Counter,
    /// Attestations checked. Labels: kind, result.
    pub attestations_verified: Counter,
    /// Latency of attestation checks. Labels: kind, result.
    pub attestation_verify_latency: Histogram,
    /// Look-ups of certificates. Label: `hit` or `miss`.
    pub attestation_cert_cache: Counter,
    /// Size of a payload in relation to its limit. Label: workflow name.
    pub payload_size_ratio: Histogram,
    /// Size of an activity's payload in relation to its limit. Labels: workflow name, activity name.
    pub activity_payload_size_ratio: Histogram,
    /// Ways that completions took. Labels: task type, route.
    pub completion_routes: Counter,
    /// Wake-ups driven locally. Label: status.
    pub local_wakes: Counter,
    /// Latency of local wake-ups. Label: status.
    pub local_wake_latency: Histogram,
    /// Activities driven locally. Label: status.
    pub local_activities: Counter,
    /// Latency of local activities. Label: status.
    pub local_activity_latency: Histogram,
    /// Completions joined with others. Label: `folded` or `fold_nacked`.
    pub completions_folded: Counter,
    /// Wait of completions for others. No label.
    pub completion_fold_wait: Histogram,
    /// Wait for an actor's lock. Label: `method`, `reminder` or `stream`.
    pub lock_wait: Histogram,
}

/// Labels that local wake-ups are shown with from the start, at zero.
const LOCAL_WAKES: [&str; 3] = [
    "janitor_fold_recovered",
    "janitor_recovered",
    "stale_turn_rejected",
];

/// Labels that local activities are shown with from the start, at zero.
const LOCAL_ACTIVITIES: [&str; 3] = [
    "claim_evicted",
    "janitor_redispatch_escalated",
    "janitor_redispatched",
];

// === impl Workflow ===

impl Workflow {
    /// `sidecar` says whether the series that are there from the start belong to this program.
    pub(super) fn new(registry: &Registry, sidecar: bool) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppIdAndNamespace,
        };
        let counter = |name, help, labels| registry.counter(describe(name, help, labels));
        let histogram =
            |name, help, labels, buckets| registry.histogram(describe(name, help, labels), buckets);
        let (latency, execution, ratio) = (&Buckets::Latency, &Buckets::Workflow, &Buckets::Ratio);
        let by_workflow: &[&str] = &["workflow_name", "status"];
        let by_activity: &[&str] = &["activity_name", "status"];
        let by_status: &[&str] = &["status"];
        let by_result: &[&str] = &["attestation_kind", "attestation_result"];
        let workflow = Self {
            operations: counter(
                "runtime/workflow/operation/count",
                "The number of workflow operations.",
                &["operation", "status"],
            ),
            operation_latency: histogram(
                "runtime/workflow/operation/latency",
                "The latency of workflow operations.",
                &["operation", "status"],
                latency,
            ),
            executions: counter(
                "runtime/workflow/execution/count",
                "The number of workflow executions that have ended.",
                by_workflow,
            ),
            execution_latency: histogram(
                "runtime/workflow/execution/latency",
                "The time that a workflow took from start to end.",
                by_workflow,
                execution,
            ),
            scheduling_latency: histogram(
                "runtime/workflow/scheduling/latency",
                "The time between the request for a workflow and its start.",
                &["workflow_name"],
                latency,
            ),
            activity_operations: counter(
                "runtime/workflow/activity/operation/count",
                "The number of activity requests.",
                by_activity,
            ),
            activity_operation_latency: histogram(
                "runtime/workflow/activity/operation/latency",
                "The latency of activity requests.",
                by_activity,
                latency,
            ),
            activity_executions: counter(
                "runtime/workflow/activity/execution/count",
                "The number of activity executions that have ended.",
                by_activity,
            ),
            activity_execution_latency: histogram(
                "runtime/workflow/activity/execution/latency",
                "The time that an activity took from start to end.",
                by_activity,
                execution,
            ),
            attestations_generated: counter(
                "runtime/workflow/attestation/generated/count",
                "The number of attestations made.",
                &["attestation_kind", "status"],
            ),
            attestations_verified: counter(
                "runtime/workflow/attestation/verified/count",
                "The number of attestations checked.",
                by_result,
            ),
            attestation_verify_latency: histogram(
                "runtime/workflow/attestation/verify/latency",
                "The latency of attestation checks.",
                by_result,
                latency,
            ),
            attestation_cert_cache: counter(
                "runtime/workflow/attestation/cert_cache/count",
                "The number of certificate look-ups for attestations.",
                &["cert_cache_outcome"],
            ),
            payload_size_ratio: histogram(
                "runtime/workflow/payload_size_ratio",
                "The size of workflow payloads in relation to their limit.",
                &["workflow_name"],
                ratio,
            ),
            activity_payload_size_ratio: histogram(
                "runtime/workflow/activity/payload_size_ratio",
                "The size of activity payloads in relation to their limit.",
                &["workflow_name", "activity_name"],
                ratio,
            ),
            completion_routes: counter(
                "runtime/workflow/completion_route/count",
                "The number of task completions, by the way they took.",
                &["task_type", "route"],
            ),
            local_wakes: counter(
                "runtime/workflow/local_wake/count",
                "The number of workflow wake-up reminders driven locally by the WorkflowsFastPath preview feature, by status.",
                by_status,
            ),
            local_wake_latency: histogram(
                "runtime/workflow/local_wake/drive_latency",
                "The latency of workflow wake-ups driven locally.",
                by_status,
                latency,
            ),
            local_activities: counter(
                "runtime/workflow/local_activity/count",
                "The number of activity executions driven locally by the WorkflowsFastPath preview feature, by status.",
                by_status,
            ),
            local_activity_latency: histogram(
                "runtime/workflow/local_activity/drive_latency",
                "The latency of activities driven locally.",
                by_status,
                latency,
            ),
            completions_folded: counter(
                "runtime/workflow/completions_fold/count",
                "The number of completions that joined others in one turn.",
                by_status,
            ),
            completion_fold_wait: histogram(
                "runtime/workflow/completions_fold/wait_latency",
                "The time that completions waited for others.",
                &[],
                latency,
            ),
            lock_wait: histogram(
                "runtime/workflow/lock_wait",
                "The time that workflow operations waited for the lock of their actor.",
                &["operation"],
                latency,
            ),
        };
        if sidecar {
            LOCAL_WAKES
                .iter()
                .for_each(|status| workflow.local_wakes.show(&[status]));
            LOCAL_ACTIVITIES
                .iter()
                .for_each(|status| workflow.local_activities.show(&[status]));
        }
        workflow
    }
}
