//! The allow and deny lists of the API.
//!
//! Source: specification, gRPC API 2.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use outrigger_error::Error;
use outrigger_svc::{Layer, Response, Service, layer_fn};

use super::answer::{answer, status};
use super::call::Call;

/// Refuses calls that the lists do not permit.
#[derive(Clone, Debug)]
pub(crate) struct Permit<S> {
    inner: S,
    rules: Arc<GrpcRules>,
}

/// Which methods may be called. Without rules every one may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GrpcRules {
    /// Empty permits all.
    allowed: HashSet<&'static str>,
    denied: HashSet<&'static str>,
}

/// One entry of `spec.api.allowed` or `spec.api.denied`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrpcRule<'a> {
    /// Name of a group of methods.
    pub(crate) name: &'a str,
    /// Version of the group: `v1`, `v1alpha1`, ...
    pub(crate) version: &'a str,
    /// Only `grpc`, in this letter case, counts here.
    pub(crate) protocol: &'a str,
}

/// Calls to other services are not judged.
const JUDGED: &str = "/dapr.proto.runtime.";
const SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/";

/// Methods by the name and version of their group.
#[rustfmt::skip] // A table: one group, one line.
const GROUPS: &[(&str, &str, &[&str])] = &[
    ("invoke", "v1", &["InvokeService"]),
    ("state", "v1", &["GetState", "GetBulkState", "SaveState", "DeleteState", "DeleteBulkState", "ExecuteStateTransaction"]),
    ("state", "v1alpha1", &["QueryStateAlpha1"]),
    ("publish", "v1", &["PublishEvent", "BulkPublishEvent"]),
    ("publish", "v1alpha1", &["BulkPublishEventAlpha1"]),
    ("bindings", "v1", &["InvokeBinding"]),
    ("secrets", "v1", &["GetSecret", "GetBulkSecret"]),
    ("actors", "v1", &[
        "RegisterActorTimer", "UnregisterActorTimer", "RegisterActorReminder", "GetActorReminder",
        "UnregisterActorReminder", "UnregisterActorRemindersByType", "ListActorReminders", "GetActorState",
        "ExecuteActorStateTransaction", "InvokeActor",
    ]),
    ("actors", "v1alpha1", &["SubscribeActorEventsAlpha1"]),
    ("metadata", "v1", &["GetMetadata", "SetMetadata"]),
    ("configuration", "v1", &["GetConfiguration", "SubscribeConfiguration", "UnsubscribeConfiguration"]),
    ("configuration", "v1alpha1", &["GetConfigurationAlpha1", "SubscribeConfigurationAlpha1", "UnsubscribeConfigurationAlpha1"]),
    ("lock", "v1alpha1", &["TryLockAlpha1"]),
    ("unlock", "v1alpha1", &["UnlockAlpha1"]),
    ("subtlecrypto", "v1alpha1", &[
        "SubtleGetKeyAlpha1", "SubtleEncryptAlpha1", "SubtleDecryptAlpha1", "SubtleSignAlpha1", "SubtleVerifyAlpha1",
        "SubtleWrapKeyAlpha1", "SubtleUnwrapKeyAlpha1",
    ]),
    ("crypto", "v1alpha1", &["EncryptAlpha1", "DecryptAlpha1"]),
    ("workflows", "v1alpha1", &[
        "StartWorkflowAlpha1", "GetWorkflowAlpha1", "TerminateWorkflowAlpha1", "RaiseEventWorkflowAlpha1",
        "PurgeWorkflowAlpha1", "PauseWorkflowAlpha1", "ResumeWorkflowAlpha1",
    ]),
    ("workflows", "v1beta1", &[
        "StartWorkflowBeta1", "GetWorkflowBeta1", "TerminateWorkflowBeta1", "RaiseEventWorkflowBeta1",
        "PurgeWorkflowBeta1", "PauseWorkflowBeta1", "ResumeWorkflowBeta1",
    ]),
    ("jobs", "v1", &["ScheduleJob", "DeleteJob", "GetJob", "DeleteJobsByPrefix", "ListJobs"]),
    ("jobs", "v1alpha1", &["ScheduleJobAlpha1", "DeleteJobAlpha1", "GetJobAlpha1", "DeleteJobsByPrefixAlpha1", "ListJobsAlpha1"]),
    ("shutdown", "v1", &["Shutdown"]),
    ("subscribe", "v1alpha1", &["SubscribeTopicEventsAlpha1"]),
    ("conversation", "v1alpha1", &["ConverseAlpha1"]),
    ("conversation", "v1alpha2", &["ConverseAlpha2"]),
];

// === impl GrpcRules ===

impl GrpcRules {
    /// Takes the entries that concern gRPC; names and versions that no group has are ignored.
    pub(crate) fn new<'a>(
        allowed: impl IntoIterator<Item = GrpcRule<'a>>,
        denied: impl IntoIterator<Item = GrpcRule<'a>>,
    ) -> Self {
        Self {
            allowed: methods(allowed),
            denied: methods(denied),
        }
    }

    /// Whether the method at this path may be called.
    #[must_use]
    pub(crate) fn permit(&self, path: &str) -> bool {
        if !path.starts_with(JUDGED) {
            return true;
        }
        let method = path.strip_prefix(SERVICE).unwrap_or_default();
        !self.denied.contains(method) && (self.allowed.is_empty() || self.allowed.contains(method))
    }
}

fn methods<'a>(rules: impl IntoIterator<Item = GrpcRule<'a>>) -> HashSet<&'static str> {
    let rules = rules.into_iter().filter(|rule| rule.protocol == "grpc");
    let groups = rules.flat_map(|rule| {
        GROUPS
            .iter()
            .filter(move |(name, version, _)| *name == rule.name && *version == rule.version)
    });
    groups
        .flat_map(|(_, _, methods)| methods.iter().copied())
        .collect()
}

// === impl Permit ===

impl<S> Permit<S> {
    /// The layer.
    pub(crate) fn layer(rules: impl Into<Arc<GrpcRules>>) -> impl Layer<S, Service = Self> + Clone {
        let rules = rules.into();
        layer_fn(move |inner| Self {
            inner,
            rules: Arc::clone(&rules),
        })
    }
}

impl<S> Service<Call> for Permit<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if self.rules.permit(call.method()) {
            return Either::Left(self.inner.call(call));
        }
        let error = Error::HttpStatus {
            status: 501,
            detail: "requested endpoint is not available".to_owned(),
        };
        Either::Right(ready(Ok(answer(&status(&error)))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{MethodKind, Methods};
    use super::*;

    fn rule<'a>(name: &'a str, version: &'a str) -> GrpcRule<'a> {
        GrpcRule {
            name,
            version,
            protocol: "grpc",
        }
    }

    fn permits(rules: &GrpcRules, method: &str) -> bool {
        rules.permit(&format!("{SERVICE}{method}"))
    }

    #[test]
    fn every_method_of_the_tables_exists() {
        let methods = Methods::of(&["dapr.proto.runtime.v1.Dapr"]);
        for method in GROUPS.iter().flat_map(|(_, _, methods)| methods.iter()) {
            assert_ne!(
                methods.kind(&format!("{SERVICE}{method}")),
                MethodKind::Foreign,
                "{method}"
            );
        }
    }

    #[test]
    fn without_rules_everything_is_permitted() {
        assert!(permits(&GrpcRules::default(), "GetState"));
        assert!(permits(&GrpcRules::default(), "Unknown"));
    }

    #[test]
    fn an_allow_list_permits_its_groups_only() {
        let rules = GrpcRules::new([rule("state", "v1"), rule("nothing", "v1")], []);
        assert!(permits(&rules, "GetState"));
        assert!(!permits(&rules, "QueryStateAlpha1"));
        assert!(!permits(&rules, "GetMetadata"));
        assert!(rules.permit("/TaskHubSidecarService/Hello"));
        assert!(rules.permit("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
    }

    #[test]
    fn a_deny_list_refuses_its_groups_only_and_wins() {
        let rules = GrpcRules::new([rule("jobs", "v1")], [rule("jobs", "v1"), rule("invoke", "v1")]);
        assert!(!permits(&rules, "ScheduleJob"));
        let rules = GrpcRules::new([], [rule("invoke", "v1")]);
        assert!(!permits(&rules, "InvokeService"));
        assert!(permits(&rules, "GetState"));
    }

    #[test]
    fn rules_that_select_no_method_change_nothing() {
        let http = GrpcRule {
            name: "state",
            version: "v1",
            protocol: "http",
        };
        let upper = GrpcRule {
            name: "state",
            version: "v1",
            protocol: "GRPC",
        };
        assert_eq!(
            GrpcRules::new([http, upper, rule("state", "v9")], [http]),
            GrpcRules::default()
        );
    }
}
