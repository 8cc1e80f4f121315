//! How each error looks: the only table of statuses and codes.

use tonic::Code;

use crate::Error;
use crate::code::{grpc_from_http, http_from_grpc, reason_phrase};
use crate::fault::{Fault, FaultKind};

/// The row of an error: its status and code on both wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Face<'a> {
    /// Status of the HTTP answer.
    pub http: u16,
    /// Code of the gRPC status.
    pub grpc: Code,
    /// `errorCode` of the HTTP body, and label of the error-code metric.
    pub code: &'a str,
    /// Where clients see an `ErrorInfo`, and with which reason.
    pub info: Info<'a>,
}

/// Which wires carry the `ErrorInfo` detail of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info<'a> {
    /// None: a simple error.
    None,
    /// Only gRPC, with the error's code as reason and no metadata.
    Grpc,
    /// Both, with this reason and the details of the error.
    Both(&'a str),
}

// === impl Error ===

impl Error {
    /// How this error looks on both wires (specification: HTTP API 6). Every error has its row here and nowhere else.
    #[must_use]
    #[rustfmt::skip] // A table: one row, one line.
    pub fn face(&self) -> Face<'_> {
        use Code::{
            Aborted, AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound, Ok, PermissionDenied,
            ResourceExhausted, Unavailable, Unimplemented, Unknown,
        };

        let simple = |http, grpc, code| Face { http, grpc, code, info: Info::None };
        let half = |http, grpc, code| Face { http, grpc, code, info: Info::Grpc };
        let rich = |http, grpc, code, reason| Face { http, grpc, code, info: Info::Both(reason) };
        let stored = |fault: &Fault, code| match fault.kind() {
            FaultKind::Other => half(500, Internal, code),
            FaultKind::EtagMismatch => half(409, Aborted, code),
            FaultKind::EtagInvalid => half(400, InvalidArgument, code),
            FaultKind::Given { http, grpc } => half(http.as_u16(), grpc, code),
        };
        let job = |http, grpc, code| rich(http, grpc, code, code);

        match self {
            Self::BadRequest(_) => simple(400, InvalidArgument, "ERR_BAD_REQUEST"),
            Self::Unimplemented => simple(501, Unimplemented, "ERR_API_UNIMPLEMENTED"),
            Self::BodyRead(_) => simple(400, InvalidArgument, "ERR_BODY_READ"),
            Self::MalformedBody(_) => simple(400, InvalidArgument, "ERR_MALFORMED_REQUEST"),
            Self::Malformed(_) => simple(400, InvalidArgument, "ERR_MALFORMED_REQUEST"),
            Self::MalformedData(_) => simple(500, Internal, "ERR_MALFORMED_REQUEST_DATA"),
            Self::MalformedResponse(_) => simple(500, Internal, "ERR_MALFORMED_RESPONSE"),
            Self::EncodeResponse(_) => simple(500, Internal, "ERR_INTERNAL"),
            Self::NoAppChannel => simple(500, Internal, "ERR_APP_CHANNEL_NIL"),
            Self::Unclassified(_) => simple(500, Unknown, "ERROR"),
            Self::Text { http, .. } => simple(http.as_u16(), Unknown, "ERROR"),
            Self::HttpStatus { status, .. } => rich(
                *status,
                Code::from_i32(grpc_from_http(*status)),
                "ERROR",
                reason_phrase(*status),
            ),
            Self::Component { http, grpc, code, .. } => rich(http.as_u16(), *grpc, code, code),

            Self::Invoke { denied: true, .. } => simple(403, Internal, "ERR_DIRECT_INVOKE"),
            Self::Invoke { .. } => simple(500, Internal, "ERR_DIRECT_INVOKE"),
            Self::NoTarget => simple(404, NotFound, "ERR_DIRECT_INVOKE"),
            Self::InvokeNotReady => simple(500, Internal, "ERR_DIRECT_INVOKE"),

            Self::NotReady(_) => simple(500, Internal, "ERR_HEALTH_NOT_READY"),
            Self::OutboundNotReady => simple(500, Internal, "ERR_OUTBOUND_HEALTH_NOT_READY"),
            Self::AppIdMismatch => simple(500, Internal, "ERR_HEALTH_APPID_NOT_MATCH"),

            Self::StateStoreNotConfigured { .. } => rich(500, FailedPrecondition, "ERR_STATE_STORE_NOT_CONFIGURED", "DAPR_STATE_NOT_CONFIGURED"),
            Self::StateStoreNotFound { .. } => rich(400, InvalidArgument, "ERR_STATE_STORE_NOT_FOUND", "DAPR_STATE_NOT_FOUND"),
            Self::StateKeyIllegal { .. } => rich(400, InvalidArgument, "ERR_MALFORMED_REQUEST", "DAPR_STATE_ILLEGAL_KEY"),
            Self::StateKeyEmpty => half(400, InvalidArgument, "ERR_STATE_SAVE"),
            Self::StateGet { fault, .. } => stored(fault, "ERR_STATE_GET"),
            Self::StateSave { fault, .. } => stored(fault, "ERR_STATE_SAVE"),
            Self::StateDelete { fault, .. } => stored(fault, "ERR_STATE_DELETE"),
            Self::StateBulkDelete { fault, .. } => stored(fault, "ERR_STATE_BULK_DELETE"),
            Self::StateBulkGet(fault) => match fault.kind() {
                FaultKind::Given { http, grpc } => simple(http.as_u16(), grpc, "ERR_STATE_BULK_GET"),
                _ => simple(500, Unknown, "ERR_STATE_BULK_GET"),
            },
            Self::StateTransaction(_) => half(500, Internal, "ERR_STATE_TRANSACTION"),
            Self::StateOperation(_) => half(400, Unimplemented, "ERR_NOT_SUPPORTED_STATE_OPERATION"),
            Self::StateTransactionsUnsupported { .. } => rich(500, Unimplemented, "ERR_STATE_STORE_NOT_SUPPORTED", "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED"),
            Self::StateTooManyOperations { .. } => rich(400, InvalidArgument, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS", "DAPR_STATE_TOO_MANY_TRANSACTIONS"),
            Self::StateQueryUnsupported { .. } => rich(500, Internal, "ERR_STATE_STORE_NOT_SUPPORTED", "DAPR_STATE_QUERYING_NOT_SUPPORTED"),
            Self::StateQuery { .. } => rich(500, Internal, "ERR_STATE_QUERY", "DAPR_STATE_QUERY_FAILED"),

            Self::PubsubNotFound { .. } => rich(404, InvalidArgument, "ERR_PUBSUB_NOT_FOUND", "DAPR_PUBSUB_NOT_FOUND"),
            Self::PubsubNotConfigured { .. } => rich(400, FailedPrecondition, "ERR_PUBSUB_NOT_CONFIGURED", "DAPR_PUBSUB_NOT_CONFIGURED"),
            Self::PubsubNameEmpty => rich(404, InvalidArgument, "ERR_PUBSUB_EMPTY", "DAPR_PUBSUB_NAME_EMPTY"),
            Self::TopicEmpty { .. } => rich(404, InvalidArgument, "ERR_TOPIC_NAME_EMPTY", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"),
            Self::PubsubMetadata { .. } => rich(400, InvalidArgument, "ERR_PUBSUB_REQUEST_METADATA", "DAPR_PUBSUB_METADATA_DESERIALIZATION"),
            Self::CloudEvent { .. } => rich(500, InvalidArgument, "ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENT_CREATION"),
            Self::EventEnvelope { .. } => rich(400, InvalidArgument, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_ENVELOPE"),
            Self::EventEntryId { .. } => rich(400, InvalidArgument, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_EVENTS"),
            Self::EventsMalformed { .. } => rich(400, InvalidArgument, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_UNMARSHAL_EVENTS"),
            Self::Publish { .. } => rich(500, Internal, "ERR_PUBSUB_PUBLISH_MESSAGE", "DAPR_PUBSUB_PUBLISH_MESSAGE"),
            Self::PublishForbidden { .. } => rich(403, PermissionDenied, "ERR_PUBSUB_FORBIDDEN", "DAPR_PUBSUB_FORBIDDEN"),
            Self::PubsubGone { .. } => rich(400, NotFound, "ERR_PUBSUB_NOT_FOUND", "DAPR_PUBSUB_TEST_NOT_FOUND"),
            Self::Outbox { .. } => rich(500, Internal, "ERR_PUBLISH_OUTBOX", "DAPR_PUBSUB_OUTBOX"),

            Self::OutputBinding { .. } => half(500, Internal, "ERR_INVOKE_OUTPUT_BINDING"),

            Self::SecretStoresNotConfigured => simple(500, FailedPrecondition, "ERR_SECRET_STORES_NOT_CONFIGURED"),
            Self::SecretStoreNotFound(_) => simple(401, InvalidArgument, "ERR_SECRET_STORE_NOT_FOUND"),
            Self::SecretDenied { .. } => simple(403, PermissionDenied, "ERR_PERMISSION_DENIED"),
            Self::SecretGet { .. } => simple(500, Internal, "ERR_SECRET_GET"),
            Self::SecretBulkGet { .. } => simple(500, Internal, "ERR_SECRET_GET"),

            Self::ConfigurationStoresNotConfigured => half(500, FailedPrecondition, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
            Self::ConfigurationStoreNotFound(_) => half(400, InvalidArgument, "ERR_CONFIGURATION_STORE_NOT_FOUND"),
            Self::ConfigurationGet { .. } => half(500, Internal, "ERR_CONFIGURATION_GET"),
            Self::ConfigurationSubscribe { .. } => half(500, InvalidArgument, "ERR_CONFIGURATION_SUBSCRIBE"),
            Self::ConfigurationUnsubscribe { .. } => simple(500, Ok, "ERR_CONFIGURATION_UNSUBSCRIBE"),

            Self::LockStoreNotConfigured => simple(500, FailedPrecondition, "ERR_LOCK_STORE_NOT_CONFIGURED"),
            Self::LockStoreNotFound(_) => simple(400, InvalidArgument, "ERR_LOCK_STORE_NOT_FOUND"),
            Self::LockResourceEmpty(_) => simple(400, InvalidArgument, "ERR_MALFORMED_REQUEST"),
            Self::LockOwnerEmpty(_) => simple(400, InvalidArgument, "ERR_MALFORMED_REQUEST"),
            Self::LockExpiry(_) => simple(400, InvalidArgument, "ERR_MALFORMED_REQUEST"),
            Self::TryLock(_) => simple(500, Internal, "ERR_TRY_LOCK"),
            Self::Unlock(_) => simple(500, Internal, "ERR_UNLOCK"),

            Self::CryptoNotConfigured => simple(500, Internal, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"),
            Self::CryptoNotFound(_) => simple(400, InvalidArgument, "ERR_CRYPTO_PROVIDER_NOT_FOUND"),
            Self::CryptoKey { .. } => simple(500, Internal, "ERR_CRYPTO_KEY"),
            Self::Crypto(_) => simple(500, Internal, "ERR_CRYPTO"),

            Self::ConversationNotFound(_) => simple(400, InvalidArgument, "ERR_CONVERSATION_NOT_FOUND"),
            Self::ConversationParameters { .. } => simple(400, InvalidArgument, "ERR_CONVERSATION_INVALID_PARMS"),
            Self::Conversation { .. } => simple(500, Internal, "ERR_CONVERSATION_INVOKE"),
            Self::ConversationInputs(_) => simple(400, InvalidArgument, "ERR_CONVERSATION_MISSING_INPUTS"),

            Self::ActorReminderNotHosted => simple(403, PermissionDenied, "ERR_ACTOR_REMINDER_NON_HOSTED"),
            Self::ActorTypeReserved(_) => simple(403, PermissionDenied, "ERR_ACTOR_TYPE_RESERVED"),
            Self::ActorRuntimeNotFound => simple(500, Internal, "ERR_ACTOR_RUNTIME_NOT_FOUND"),
            Self::ActorNoAppChannel => simple(400, Unavailable, "ERR_ACTOR_NO_APP_CHANNEL"),
            Self::ActorInstanceMissing => simple(400, Internal, "ERR_ACTOR_INSTANCE_MISSING"),
            Self::ActorInvoke(_) => simple(500, Internal, "ERR_ACTOR_INVOKE_METHOD"),
            Self::ActorStateGet(_) => simple(500, Internal, "ERR_ACTOR_STATE_GET"),
            Self::ActorStateTransaction(_) => simple(500, Internal, "ERR_ACTOR_STATE_TRANSACTION_SAVE"),
            Self::ActorReminderCreate(_) => simple(500, Internal, "ERR_ACTOR_REMINDER_CREATE"),
            Self::ActorReminderGet(_) => simple(500, Internal, "ERR_ACTOR_REMINDER_GET"),
            Self::ActorReminderDelete(_) => simple(500, Internal, "ERR_ACTOR_REMINDER_DELETE"),
            Self::ActorReminderNotFound(_) => simple(404, NotFound, "ERR_ACTOR_REMINDER_NOT_FOUND"),
            Self::ActorReminderExists(_) => simple(409, AlreadyExists, "ERR_ACTOR_REMINDER_ALREADY_EXISTS"),
            Self::ActorTimerCreate(_) => simple(500, Internal, "ERR_ACTOR_TIMER_CREATE"),
            Self::ActorStackDepth => simple(500, ResourceExhausted, "ERR_ACTOR_STACK_DEPTH"),
            Self::ActorNoPlacement => simple(400, Unavailable, "ERR_ACTOR_NO_PLACEMENT"),
            Self::ActorRuntimeClosed => simple(503, Unavailable, "ERR_ACTOR_RUNTIME_CLOSED"),
            Self::ActorNamespaceRequired => simple(412, FailedPrecondition, "ERR_ACTOR_NAMESPACE_REQUIRED"),
            Self::ActorNoAddress(_) => simple(404, FailedPrecondition, "ERR_ACTOR_NO_ADDRESS"),

            Self::JobEmpty { .. } => job(400, InvalidArgument, "DAPR_SCHEDULER_EMPTY"),
            Self::JobNameEmpty { .. } => job(400, InvalidArgument, "DAPR_SCHEDULER_JOB_NAME_EMPTY"),
            Self::JobScheduleEmpty { .. } => job(400, InvalidArgument, "DAPR_SCHEDULER_SCHEDULE_EMPTY"),
            Self::JobNameInBody { .. } => job(400, InvalidArgument, "DAPR_SCHEDULER_JOB_NAME"),
            Self::JobSchedule { grpc, .. } => {
                let grpc = if *grpc == Unknown { Internal } else { *grpc };
                job(http_from_grpc(grpc as i32), grpc, "DAPR_SCHEDULER_SCHEDULE_JOB")
            }
            Self::JobGet { .. } => job(500, Internal, "DAPR_SCHEDULER_GET_JOB"),
            Self::JobList { .. } => job(500, Internal, "DAPR_SCHEDULER_LIST_JOBS"),
            Self::JobDelete { .. } => job(500, Internal, "DAPR_SCHEDULER_DELETE_JOB"),

            Self::WorkflowStart { .. } => simple(500, Internal, "ERR_START_WORKFLOW"),
            Self::WorkflowGet { .. } => simple(500, Internal, "ERR_GET_WORKFLOW"),
            Self::WorkflowNameMissing => simple(400, InvalidArgument, "ERR_WORKFLOW_NAME_MISSING"),
            Self::WorkflowInstanceTooLong(_) => simple(400, InvalidArgument, "ERR_INSTANCE_ID_TOO_LONG"),
            Self::WorkflowInstanceInvalid(_) => simple(400, InvalidArgument, "ERR_INSTANCE_ID_INVALID"),
            Self::WorkflowComponentNotFound(_) => simple(400, InvalidArgument, "ERR_WORKFLOW_COMPONENT_NOT_FOUND"),
            Self::WorkflowInstanceMissing => simple(400, InvalidArgument, "ERR_INSTANCE_ID_PROVIDED_MISSING"),
            Self::WorkflowInstanceNotFound(_) => simple(404, NotFound, "ERR_INSTANCE_ID_NOT_FOUND"),
            Self::WorkflowComponentMissing => simple(400, InvalidArgument, "ERR_WORKFLOW_COMPONENT_MISSING"),
            Self::WorkflowTerminate { .. } => simple(500, Internal, "ERR_TERMINATE_WORKFLOW"),
            Self::WorkflowEventNameMissing => simple(400, InvalidArgument, "ERR_WORKFLOW_EVENT_NAME_MISSING"),
            Self::WorkflowRaiseEvent { .. } => simple(500, Internal, "ERR_RAISE_EVENT_WORKFLOW"),
            Self::WorkflowPause { .. } => simple(500, Internal, "ERR_PAUSE_WORKFLOW"),
            Self::WorkflowResume { .. } => simple(500, Internal, "ERR_RESUME_WORKFLOW"),
            Self::WorkflowPurge { .. } => simple(500, Internal, "ERR_PURGE_WORKFLOW"),
            Self::WorkflowAppIdInvalid(_) => simple(400, InvalidArgument, "ERR_WORKFLOW_APP_ID_INVALID"),
        }
    }
}
