//! Every route of the HTTP API.
//!
//! Source: specification, HTTP API 5 and 7.

use std::fmt;

/// One row of the table: a path under some versions of the API, and what it does.
#[derive(Debug)]
pub(crate) struct Route {
    /// Methods that the route takes.
    pub(crate) verbs: Verbs,
    /// Versions that it exists in.
    pub(crate) versions: &'static [Version],
    /// Path without the version; `{name}` is one segment, `*` the rest.
    pub(crate) path: &'static str,
    /// Group that allow and deny rules name.
    pub(crate) group: &'static str,
    /// What it does.
    pub(crate) operation: Operation,
}

/// Methods of a route.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verbs {
    /// Any method, also one without a standard name.
    Any,
    /// Only these.
    These(&'static [&'static str]),
}

/// A version prefix of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `v1.0`
    V1,
    /// `v1.0-alpha1`
    Alpha1,
    /// `v1.0-alpha2`
    Alpha2,
    /// `v1.0-beta1`
    Beta1,
}

/// What a route does; the names are those of logs, metrics and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    GetState,
    SaveState,
    DeleteState,
    GetBulkState,
    ExecuteStateTransaction,
    QueryStateAlpha1,
    GetBulkSecret,
    GetSecret,
    PublishEvent,
    BulkPublishEvent,
    InvokeBinding,
    InvokeService,
    GetConfiguration,
    SubscribeConfiguration,
    UnsubscribeConfiguration,
    TryLock,
    Unlock,
    Encrypt,
    Decrypt,
    SubtleGetKey,
    SubtleEncrypt,
    SubtleDecrypt,
    SubtleWrapKey,
    SubtleUnwrapKey,
    SubtleSign,
    SubtleVerify,
    ExecuteActorStateTransaction,
    InvokeActor,
    GetActorState,
    RegisterActorReminder,
    RegisterActorTimer,
    UnregisterActorReminder,
    UnregisterActorTimer,
    GetActorReminder,
    ScheduleJob,
    GetJob,
    DeleteJob,
    ConverseAlpha1,
    ConverseAlpha2,
    GetWorkflow,
    StartWorkflow,
    RaiseEventWorkflow,
    PauseWorkflow,
    ResumeWorkflow,
    TerminateWorkflow,
    PurgeWorkflow,
    GetMetadata,
    PutMetadata,
    Healthz,
    HealthzOutbound,
    Shutdown,
}

const GET: Verbs = Verbs::These(&["GET"]);
const POST: Verbs = Verbs::These(&["POST"]);
const PUT: Verbs = Verbs::These(&["PUT"]);
const DELETE: Verbs = Verbs::These(&["DELETE"]);
const WRITE: Verbs = Verbs::These(&["POST", "PUT"]);
const ACTOR: Verbs = Verbs::These(&["GET", "POST", "PUT", "DELETE"]);

const STABLE: &[Version] = &[Version::V1];
const ALPHA: &[Version] = &[Version::Alpha1];
const SINCE_ALPHA: &[Version] = &[Version::V1, Version::Alpha1];
const WORKFLOW: &[Version] = &[Version::V1, Version::Beta1, Version::Alpha1];

const fn row(
    verbs: Verbs,
    versions: &'static [Version],
    path: &'static str,
    group: &'static str,
    operation: Operation,
) -> Route {
    Route {
        verbs,
        versions,
        path,
        group,
        operation,
    }
}

/// The whole API.
#[rustfmt::skip]
pub(crate) static TABLE: &[Route] = &[
    row(GET, STABLE, "state/{storeName}/{key}", "state", Operation::GetState),
    row(WRITE, STABLE, "state/{storeName}", "state", Operation::SaveState),
    row(DELETE, STABLE, "state/{storeName}/{key}", "state", Operation::DeleteState),
    row(WRITE, STABLE, "state/{storeName}/bulk", "state", Operation::GetBulkState),
    row(WRITE, STABLE, "state/{storeName}/transaction", "state", Operation::ExecuteStateTransaction),
    row(WRITE, ALPHA, "state/{storeName}/query", "state", Operation::QueryStateAlpha1),
    row(GET, STABLE, "secrets/{secretStoreName}/bulk", "secrets", Operation::GetBulkSecret),
    row(GET, STABLE, "secrets/{secretStoreName}/{key}", "secrets", Operation::GetSecret),
    row(WRITE, STABLE, "publish/{pubsubname}/*", "publish", Operation::PublishEvent),
    row(WRITE, SINCE_ALPHA, "publish/bulk/{pubsubname}/*", "publish", Operation::BulkPublishEvent),
    row(WRITE, STABLE, "bindings/{name}", "bindings", Operation::InvokeBinding),
    row(Verbs::Any, STABLE, "invoke/*", "invoke", Operation::InvokeService),
    row(GET, SINCE_ALPHA, "configuration/{storeName}", "configuration", Operation::GetConfiguration),
    row(GET, SINCE_ALPHA, "configuration/{storeName}/subscribe", "configuration", Operation::SubscribeConfiguration),
    row(GET, SINCE_ALPHA, "configuration/{storeName}/{configurationSubscribeID}/unsubscribe", "configuration", Operation::UnsubscribeConfiguration),
    row(POST, ALPHA, "lock/{storeName}", "lock", Operation::TryLock),
    row(POST, ALPHA, "unlock/{storeName}", "unlock", Operation::Unlock),
    row(PUT, ALPHA, "crypto/{name}/encrypt", "crypto", Operation::Encrypt),
    row(PUT, ALPHA, "crypto/{name}/decrypt", "crypto", Operation::Decrypt),
    row(POST, ALPHA, "subtlecrypto/{name}/getkey", "subtlecrypto", Operation::SubtleGetKey),
    row(POST, ALPHA, "subtlecrypto/{name}/encrypt", "subtlecrypto", Operation::SubtleEncrypt),
    row(POST, ALPHA, "subtlecrypto/{name}/decrypt", "subtlecrypto", Operation::SubtleDecrypt),
    row(POST, ALPHA, "subtlecrypto/{name}/wrapkey", "subtlecrypto", Operation::SubtleWrapKey),
    row(POST, ALPHA, "subtlecrypto/{name}/unwrapkey", "subtlecrypto", Operation::SubtleUnwrapKey),
    row(POST, ALPHA, "subtlecrypto/{name}/sign", "subtlecrypto", Operation::SubtleSign),
    row(POST, ALPHA, "subtlecrypto/{name}/verify", "subtlecrypto", Operation::SubtleVerify),
    row(WRITE, STABLE, "actors/{actorType}/{actorId}/state", "actors", Operation::ExecuteActorStateTransaction),
    row(GET, STABLE, "actors/{actorType}/{actorId}/state/{key}", "actors", Operation::GetActorState),
    row(ACTOR, STABLE, "actors/{actorType}/{actorId}/method/{method}", "actors", Operation::InvokeActor),
    row(WRITE, STABLE, "actors/{actorType}/{actorId}/reminders/{name}", "actors", Operation::RegisterActorReminder),
    row(GET, STABLE, "actors/{actorType}/{actorId}/reminders/{name}", "actors", Operation::GetActorReminder),
    row(DELETE, STABLE, "actors/{actorType}/{actorId}/reminders/{name}", "actors", Operation::UnregisterActorReminder),
    row(WRITE, STABLE, "actors/{actorType}/{actorId}/timers/{name}", "actors", Operation::RegisterActorTimer),
    row(DELETE, STABLE, "actors/{actorType}/{actorId}/timers/{name}", "actors", Operation::UnregisterActorTimer),
    row(POST, SINCE_ALPHA, "jobs/{name}", "jobs", Operation::ScheduleJob),
    row(GET, SINCE_ALPHA, "jobs/{name}", "jobs", Operation::GetJob),
    row(DELETE, SINCE_ALPHA, "jobs/{name}", "jobs", Operation::DeleteJob),
    row(POST, ALPHA, "conversation/{name}/converse", "conversation", Operation::ConverseAlpha1),
    row(POST, &[Version::Alpha2], "conversation/{name}/converse", "conversation", Operation::ConverseAlpha2),
    row(GET, WORKFLOW, "workflows/{workflowComponent}/{instanceID}", "workflows", Operation::GetWorkflow),
    row(POST, WORKFLOW, "workflows/{workflowComponent}/{workflowName}/start", "workflows", Operation::StartWorkflow),
    row(POST, WORKFLOW, "workflows/{workflowComponent}/{instanceID}/raiseEvent/{eventName}", "workflows", Operation::RaiseEventWorkflow),
    row(POST, WORKFLOW, "workflows/{workflowComponent}/{instanceID}/pause", "workflows", Operation::PauseWorkflow),
    row(POST, WORKFLOW, "workflows/{workflowComponent}/{instanceID}/resume", "workflows", Operation::ResumeWorkflow),
    row(POST, WORKFLOW, "workflows/{workflowComponent}/{instanceID}/terminate", "workflows", Operation::TerminateWorkflow),
    row(POST, WORKFLOW, "workflows/{workflowComponent}/{instanceID}/purge", "workflows", Operation::PurgeWorkflow),
    row(GET, STABLE, "metadata", "metadata", Operation::GetMetadata),
    row(PUT, STABLE, "metadata/{key}", "metadata", Operation::PutMetadata),
    row(GET, STABLE, "healthz", "healthz", Operation::Healthz),
    row(GET, STABLE, "healthz/outbound", "healthz", Operation::HealthzOutbound),
    row(POST, STABLE, "shutdown", "shutdown", Operation::Shutdown),
];

// === impl Route ===

impl Route {
    /// Names of the parameters in the order of the path; the rest is called `*`.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|segment| match segment {
            "*" => Some("*"),
            _ => segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')),
        })
    }

    /// Whether parameter values are decoded: only where the route names one.
    pub(crate) fn decodes(&self) -> bool {
        self.path.contains('{')
    }
}

// === impl Version ===

impl Version {
    /// The version as the first segment of a path.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Alpha1 => "v1.0-alpha1",
            Self::Alpha2 => "v1.0-alpha2",
            Self::Beta1 => "v1.0-beta1",
        }
    }

    /// The version as rules name it.
    pub(crate) const fn group(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Alpha1 => "v1alpha1",
            Self::Alpha2 => "v1alpha2",
            Self::Beta1 => "v1beta1",
        }
    }
}

// === impl Operation ===

impl Operation {
    /// Whether the public port has it too.
    pub(crate) const fn is_public(self) -> bool {
        matches!(self, Self::GetMetadata | Self::PutMetadata) || self.is_health()
    }

    /// Whether it is a health check, which no rule can remove.
    pub(crate) const fn is_health(self) -> bool {
        matches!(self, Self::Healthz | Self::HealthzOutbound)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConverseAlpha1 | Self::ConverseAlpha2 => f.write_str("Converse"),
            named => fmt::Debug::fmt(named, f),
        }
    }
}
