//! Everything that an API call may answer other than success.

use std::collections::BTreeMap;

use http::StatusCode;
use outrigger_kit::quote::go_quote;
use tonic::Code;

use crate::detail::Detail;
use crate::fault::Fault;

/// An error of the sidecar's API, whichever surface the call came by.
///
/// The text of each variant is the message that clients see; `face` has the rest of its row.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the message of a variant says what it and its fields are"
)]
pub enum Error {
    // Common.
    #[error("invalid request: {0}")]
    BadRequest(String),
    #[error("this API is currently not implemented")]
    Unimplemented,
    #[error("failed to read request body: {0}")]
    BodyRead(String),
    #[error("failed deserializing HTTP body: {0}")]
    MalformedBody(String),
    #[error("{0}")]
    Malformed(String),
    #[error("can't serialize request data field: {0}")]
    MalformedData(String),
    #[error("{0}")]
    MalformedResponse(String),
    #[error("failed to encode response as JSON: {0}")]
    EncodeResponse(String),
    #[error("app channel is not initialized. cannot subscribe to configuration updates")]
    NoAppChannel,
    /// An error without a code of its own.
    #[error("{0}")]
    Unclassified(String),
    /// An HTTP answer of one line of text, without a code.
    #[error("{text}")]
    Text { http: StatusCode, text: String },
    /// A gRPC error that is made from an HTTP status.
    #[error("{}", crate::code::reason_phrase(*.status))]
    HttpStatus { status: u16, detail: String },
    /// An error that a component made for clients, as it is.
    #[error("{message}")]
    Component {
        http: StatusCode,
        grpc: Code,
        code: String,
        message: String,
        details: Vec<Detail>,
    },

    // Service invocation.
    #[error("failed to invoke, id: {app_id}, err: {cause}")]
    Invoke {
        app_id: String,
        cause: String,
        denied: bool,
    },
    #[error("failed getting app id either from the URL path or the header dapr-app-id")]
    NoTarget,
    #[error("invoke API is not ready")]
    InvokeNotReady,

    // Health.
    #[error("dapr is not ready: {0}")]
    NotReady(String),
    #[error("dapr outbound is not ready")]
    OutboundNotReady,
    #[error("dapr app-id does not match")]
    AppIdMismatch,

    // State.
    #[error("state store {store} is not configured")]
    StateStoreNotConfigured { store: String, app_id: String },
    #[error("state store {store} is not found")]
    StateStoreNotFound { store: String, app_id: String },
    #[error("input key/keyPrefix '{key}' can't contain '||'")]
    StateKeyIllegal {
        store: String,
        key: String,
        field: String,
    },
    #[error("state key cannot be empty")]
    StateKeyEmpty,
    #[error("fail to get {key} from state store {store}: {fault}")]
    StateGet {
        store: String,
        key: String,
        fault: Fault,
    },
    #[error("failed saving state in state store {store}: {fault}")]
    StateSave { store: String, fault: Fault },
    #[error("failed deleting state with key {key}: {fault}")]
    StateDelete { key: String, fault: Fault },
    #[error("failed deleting state in state store {store}: {fault}")]
    StateBulkDelete { store: String, fault: Fault },
    #[error("{0}")]
    StateBulkGet(Fault),
    #[error("error while executing state transaction: {0}")]
    StateTransaction(String),
    #[error("operation type {0} not supported")]
    StateOperation(String),
    #[error("state store {store} doesn't support transactions")]
    StateTransactionsUnsupported { store: String },
    #[error(
        "the transaction contains {given} operations, which is more than what the state store supports: {limit}"
    )]
    StateTooManyOperations {
        store: String,
        given: usize,
        limit: usize,
    },
    #[error("state store does not support querying")]
    StateQueryUnsupported { store: String },
    #[error("state store {store} query failed: {cause}")]
    StateQuery { store: String, cause: String },

    // Publish and subscribe.
    #[error("pubsub {pubsub} is not found")]
    PubsubNotFound {
        pubsub: String,
        metadata: BTreeMap<String, String>,
    },
    #[error("pubsub {pubsub} is not configured")]
    PubsubNotConfigured { pubsub: String },
    #[error("pubsub name is empty")]
    PubsubNameEmpty,
    #[error("topic is empty in pubsub {pubsub}")]
    TopicEmpty { pubsub: String },
    #[error("failed deserializing metadata. Error: {cause}")]
    PubsubMetadata {
        pubsub: String,
        cause: String,
        metadata: BTreeMap<String, String>,
    },
    #[error("cannot create cloudevent")]
    CloudEvent {
        pubsub: String,
        app_id: String,
        cause: String,
    },
    #[error("error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {cause}")]
    EventEnvelope {
        pubsub: String,
        topic: String,
        app_id: String,
        cause: String,
    },
    #[error(
        "error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: entryId is duplicated or not \
         present for entry"
    )]
    EventEntryId {
        pubsub: String,
        topic: String,
        app_id: String,
    },
    #[error("error when unmarshaling the request for topic {topic} pubsub {pubsub}: {cause}")]
    EventsMalformed {
        pubsub: String,
        topic: String,
        app_id: String,
        cause: String,
    },
    #[error("error when publishing to topic {topic} in pubsub {pubsub}: {cause}")]
    Publish {
        pubsub: String,
        topic: String,
        cause: String,
    },
    #[error("topic {topic} is not allowed for app id {app_id}")]
    PublishForbidden {
        pubsub: String,
        topic: String,
        app_id: String,
    },
    #[error("pubsub '{pubsub}' not found")]
    PubsubGone { pubsub: String, topic: String },
    #[error("error while publishing outbox message: {cause}")]
    Outbox { app_id: String, cause: String },

    // Bindings.
    #[error("error invoking output binding {binding}: {cause}")]
    OutputBinding { binding: String, cause: String },

    // Secrets.
    #[error("secret store is not configured")]
    SecretStoresNotConfigured,
    #[error("failed finding secret store with key {0}")]
    SecretStoreNotFound(String),
    #[error("access denied by policy to get {} from {}", go_quote(.key), go_quote(.store))]
    SecretDenied { store: String, key: String },
    #[error("failed getting secret with key {key} from secret store {store}: {cause}")]
    SecretGet {
        store: String,
        key: String,
        cause: String,
    },
    #[error("failed getting secrets from secret store {store}: {cause}")]
    SecretBulkGet { store: String, cause: String },

    // Configuration.
    #[error("configuration stores not configured")]
    ConfigurationStoresNotConfigured,
    #[error("configuration store {0} not found")]
    ConfigurationStoreNotFound(String),
    #[error("failed to get [{}] from Configuration store {store}: {cause}", .keys.join(" "))]
    ConfigurationGet {
        store: String,
        keys: Vec<String>,
        cause: String,
    },
    #[error("failed to subscribe [{}] from Configuration store {store}: {cause}", .keys.join(" "))]
    ConfigurationSubscribe {
        store: String,
        keys: Vec<String>,
        cause: String,
    },
    #[error("failed to unsubscribe to configuration request {id}: {cause}")]
    ConfigurationUnsubscribe { id: String, cause: String },

    // Locks.
    #[error("lock store is not configured")]
    LockStoreNotConfigured,
    #[error("lock store {0} not found")]
    LockStoreNotFound(String),
    #[error("ResourceId is empty in lock store {0}")]
    LockResourceEmpty(String),
    #[error("LockOwner is empty in lock store {0}")]
    LockOwnerEmpty(String),
    #[error("ExpiryInSeconds is not positive in lock store {0}")]
    LockExpiry(String),
    #[error("failed to try acquiring lock: {0}")]
    TryLock(String),
    #[error("failed to release lock: {0}")]
    Unlock(String),

    // Cryptography.
    #[error("crypto providers not configured")]
    CryptoNotConfigured,
    #[error("crypto provider {0} not found")]
    CryptoNotFound(String),
    #[error("failed to retrieve key {key}: {cause}")]
    CryptoKey { key: String, cause: String },
    #[error("failed to perform operation: {0}")]
    Crypto(String),

    // Conversation.
    #[error("failed finding conversation component {0}")]
    ConversationNotFound(String),
    #[error("failed conversing with component {component}: invalid params: {cause}")]
    ConversationParameters { component: String, cause: String },
    #[error("failed conversing with component {component}: {cause}")]
    Conversation { component: String, cause: String },
    #[error("failed conversing with component {0}: missing inputs in request")]
    ConversationInputs(String),

    // Actors.
    #[error("operations on actor reminders are only possible on hosted actor types")]
    ActorReminderNotHosted,
    #[error(
        "actor type {} is reserved for the Dapr workflow runtime; direct actor API access is not permitted",
        go_quote(.0)
    )]
    ActorTypeReserved(String),
    #[error(
        "the state store is not configured to use the actor runtime. Have you set the - name: actorStateStore value: \
         \"true\" in your state store component file?"
    )]
    ActorRuntimeNotFound,
    #[error("app channel is not initialized")]
    ActorNoAppChannel,
    #[error("actor instance is missing")]
    ActorInstanceMissing,
    #[error("error invoke actor method: {0}")]
    ActorInvoke(String),
    #[error("error getting actor state: {0}")]
    ActorStateGet(String),
    #[error("error saving actor transaction state: {0}")]
    ActorStateTransaction(String),
    #[error("error creating actor reminder: {0}")]
    ActorReminderCreate(String),
    #[error("error getting actor reminder: {0}")]
    ActorReminderGet(String),
    #[error("error deleting actor reminder: {0}")]
    ActorReminderDelete(String),
    #[error("actor reminder not found: {0}")]
    ActorReminderNotFound(String),
    #[error("actor reminder already exists: {0}")]
    ActorReminderExists(String),
    #[error("error creating actor timer: {0}")]
    ActorTimerCreate(String),
    #[error("maximum stack depth exceeded")]
    ActorStackDepth,
    #[error("placement service is not configured")]
    ActorNoPlacement,
    #[error("actor runtime is closed")]
    ActorRuntimeClosed,
    #[error("actors must have a namespace configured when running in Kubernetes mode")]
    ActorNamespaceRequired,
    #[error("did not find address for actor '{0}'")]
    ActorNoAddress(String),

    // Jobs.
    #[error("Job is empty")]
    JobEmpty { app_id: String, namespace: String },
    #[error("Name is empty")]
    JobNameEmpty { app_id: String, namespace: String },
    #[error("Schedule is empty")]
    JobScheduleEmpty { app_id: String, namespace: String },
    #[error("Set the job name in the url only")]
    JobNameInBody { app_id: String },
    #[error("failed to schedule job due to: {cause}")]
    JobSchedule {
        app_id: String,
        namespace: String,
        grpc: Code,
        cause: String,
    },
    #[error("failed to get job due to: {cause}")]
    JobGet {
        app_id: String,
        namespace: String,
        cause: String,
    },
    #[error("failed to list jobs due to: {cause}")]
    JobList {
        app_id: String,
        namespace: String,
        cause: String,
    },
    #[error("failed to delete job due to: {cause}")]
    JobDelete {
        app_id: String,
        namespace: String,
        cause: String,
    },

    // Workflows.
    #[error("error starting workflow '{workflow}': {cause}")]
    WorkflowStart { workflow: String, cause: String },
    #[error("error while getting workflow info on instance '{instance}': {cause}")]
    WorkflowGet { instance: String, cause: String },
    #[error("workflow name is not configured")]
    WorkflowNameMissing,
    #[error("workflow instance ID exceeds the max length of {0} characters")]
    WorkflowInstanceTooLong(usize),
    #[error("workflow instance ID '{0}' is invalid: only alphanumeric and underscore characters are allowed")]
    WorkflowInstanceInvalid(String),
    #[error("workflow component '{0}' does not exist")]
    WorkflowComponentNotFound(String),
    #[error("no instance ID was provided")]
    WorkflowInstanceMissing,
    #[error("unable to find workflow with the provided instance ID: {0}")]
    WorkflowInstanceNotFound(String),
    #[error("no workflow component was provided")]
    WorkflowComponentMissing,
    #[error("error terminating workflow '{instance}': {cause}")]
    WorkflowTerminate { instance: String, cause: String },
    #[error("missing workflow event name")]
    WorkflowEventNameMissing,
    #[error("error raising event on workflow '{instance}': {cause}")]
    WorkflowRaiseEvent { instance: String, cause: String },
    #[error("error pausing workflow {instance}: {cause}")]
    WorkflowPause { instance: String, cause: String },
    #[error("error resuming workflow {instance}: {cause}")]
    WorkflowResume { instance: String, cause: String },
    #[error("error purging workflow {instance}: {cause}")]
    WorkflowPurge { instance: String, cause: String },
    #[error(
        "workflow app ID '{0}' is invalid: only alphanumeric, dash and underscore characters are allowed"
    )]
    WorkflowAppIdInvalid(String),
}
