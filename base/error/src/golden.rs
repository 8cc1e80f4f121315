//! Every error as it goes out, for the golden file.

use std::fmt::Write;

use bytes::Bytes;
use http::{Response, StatusCode};
use outrigger_kit::json;
use tonic::Code;

use crate::{Detail, Error, Fault, FieldViolation, Link, Wire, code};

/// The table of all errors: one block each, with its two faces and its label in the error-code metric.
#[must_use]
pub fn table() -> String {
    let mut text = String::new();
    for error in samples() {
        write_block(&mut text, &error).expect("a string takes all text");
    }
    text
}

fn write_block(text: &mut String, error: &Error) -> std::fmt::Result {
    let debug = format!("{error:?}");
    let name: String = debug.chars().take_while(char::is_ascii_alphanumeric).collect();
    let response = Response::<Bytes>::from(error);
    let face = error.face();
    writeln!(text, "{name}")?;
    let body = String::from_utf8_lossy(response.body());
    writeln!(text, "  http {} {}", response.status().as_u16(), body.trim_end())?;
    write!(
        text,
        "  grpc {} {}",
        code::name(face.grpc as i32),
        error.message(Wire::Grpc)
    )?;
    let details = error.details(Wire::Grpc);
    if details.is_empty() {
        writeln!(text)?;
    } else {
        writeln!(text, " {}", json::to_go_string(&details))?;
    }
    writeln!(
        text,
        "  metric {{category={:?}, error_code={:?}}}",
        error.category(),
        face.code
    )
}

/// One error of each kind, with made-up names; a few kinds more than once where the parts change the row.
#[must_use]
pub fn samples() -> Vec<Error> {
    let mut samples = common();
    samples.extend(invocation());
    samples.extend(state());
    samples.extend(pubsub());
    samples.extend(stores());
    samples.extend(conversation());
    samples.extend(actors());
    samples.extend(jobs());
    samples.extend(workflows());
    samples
}

fn common() -> Vec<Error> {
    vec![
        Error::BadRequest(s("missing header 'dapr-key-name'")),
        Error::Unimplemented,
        Error::BodyRead(s("stream too large")),
        Error::MalformedBody(s("unexpected EOF")),
        Error::Malformed(s("\"key\" is a required field")),
        Error::MalformedData(s("unexpected EOF")),
        Error::MalformedResponse(s("unexpected EOF")),
        Error::EncodeResponse(s("unexpected EOF")),
        Error::NoAppChannel,
        Error::Unclassified(s("<cause> & more")),
        Error::Text {
            http: StatusCode::UNAUTHORIZED,
            text: s("invalid api token"),
        },
        Error::HttpStatus {
            status: 401,
            detail: s("authentication error: api token mismatch"),
        },
        Error::HttpStatus {
            status: 546,
            detail: "x".repeat(70),
        },
        Error::Component {
            http: StatusCode::VARIANT_ALSO_NEGOTIATES,
            grpc: Code::DataLoss,
            code: s("ERR_OF_COMPONENT"),
            message: s("get-error"),
            details: vec![
                Detail::BadRequest {
                    field_violations: vec![FieldViolation {
                        field: String::new(),
                        description: s("why"),
                    }],
                },
                Detail::Help {
                    links: vec![Link {
                        description: String::new(),
                        url: s("https://example.com/"),
                    }],
                },
                Detail::ErrorInfo {
                    domain: s("example.com"),
                    metadata: None,
                    reason: s("REASON"),
                },
            ],
        },
    ]
}

fn invocation() -> Vec<Error> {
    vec![
        Error::Invoke {
            app_id: s("callee"),
            cause: s("couldn't find service: callee"),
            denied: false,
        },
        Error::Invoke {
            app_id: s("callee"),
            cause: s(
                "rpc error: code = PermissionDenied desc = access control policy has denied access to id: \
                      spiffe://public/ns/default/caller operation: x verb: GET",
            ),
            denied: true,
        },
        Error::NoTarget,
        Error::InvokeNotReady,
        Error::NotReady(s("[app grpc-api-server]")),
        Error::OutboundNotReady,
        Error::AppIdMismatch,
    ]
}

fn state() -> Vec<Error> {
    let mismatch = || Fault::etag_mismatch(Some("state etag not match for key=k"));
    let invalid = || Fault::etag_invalid(Some("strconv.Atoi: parsing \"x\": invalid syntax"));
    let given = || {
        let info = Detail::ErrorInfo {
            domain: s("example.com"),
            metadata: None,
            reason: s("REASON"),
        };
        Fault::given(
            StatusCode::VARIANT_ALSO_NEGOTIATES,
            Code::DataLoss,
            s("get-error"),
            vec![info],
        )
    };
    vec![
        Error::StateStoreNotConfigured {
            store: s("store"),
            app_id: s("app"),
        },
        Error::StateStoreNotFound {
            store: s("store"),
            app_id: s("app"),
        },
        Error::StateKeyIllegal {
            store: s("store"),
            key: s("a||b"),
            field: s("a||b"),
        },
        Error::StateKeyEmpty,
        Error::StateGet {
            store: s("store"),
            key: s("k"),
            fault: Fault::other("cause"),
        },
        Error::StateGet {
            store: s("store"),
            key: s("k"),
            fault: given(),
        },
        Error::StateSave {
            store: s("store"),
            fault: Fault::other("cause"),
        },
        Error::StateSave {
            store: s("store"),
            fault: mismatch(),
        },
        Error::StateSave {
            store: s("store"),
            fault: Fault::etag_mismatch(None),
        },
        Error::StateSave {
            store: s("store"),
            fault: invalid(),
        },
        Error::StateSave {
            store: s("store"),
            fault: given(),
        },
        Error::StateDelete {
            key: s("k"),
            fault: Fault::other("cause"),
        },
        Error::StateDelete {
            key: s("k"),
            fault: mismatch(),
        },
        Error::StateDelete {
            key: s("k"),
            fault: invalid(),
        },
        Error::StateBulkDelete {
            store: s("store"),
            fault: Fault::other("cause"),
        },
        Error::StateBulkDelete {
            store: s("store"),
            fault: mismatch(),
        },
        Error::StateBulkDelete {
            store: s("store"),
            fault: invalid(),
        },
        Error::StateBulkGet(Fault::other("cause")),
        Error::StateBulkGet(given()),
        Error::StateTransaction(s("cause")),
        Error::StateOperation(s("frob")),
        Error::StateTransactionsUnsupported { store: s("store") },
        Error::StateTooManyOperations {
            store: s("store"),
            given: 11,
            limit: 10,
        },
        Error::StateQueryUnsupported { store: s("store") },
        Error::StateQuery {
            store: s("store"),
            cause: s("cannot query encrypted store"),
        },
    ]
}

fn pubsub() -> Vec<Error> {
    let metadata = || [(s("ttlInSeconds"), s("10"))].into();
    vec![
        Error::PubsubNotFound {
            pubsub: s("bus"),
            metadata: metadata(),
        },
        Error::PubsubNotFound {
            pubsub: s("bus"),
            metadata: [].into(),
        },
        Error::PubsubNotConfigured { pubsub: s("bus") },
        Error::PubsubNameEmpty,
        Error::TopicEmpty { pubsub: s("bus") },
        Error::PubsubMetadata {
            pubsub: s("bus"),
            cause: s("rawPayload value must be a valid boolean: actual is 'x'"),
            metadata: metadata(),
        },
        Error::CloudEvent {
            pubsub: s("bus"),
            app_id: s("app"),
            cause: s("cause"),
        },
        Error::EventEnvelope {
            pubsub: s("bus"),
            topic: s("topic"),
            app_id: s("app"),
            cause: s("cause"),
        },
        Error::EventEntryId {
            pubsub: s("bus"),
            topic: s("topic"),
            app_id: s("app"),
        },
        Error::EventsMalformed {
            pubsub: s("bus"),
            topic: s("topic"),
            app_id: s("app"),
            cause: s("unexpected EOF"),
        },
        Error::Publish {
            pubsub: s("bus"),
            topic: s("topic"),
            cause: s("cause"),
        },
        Error::PublishForbidden {
            pubsub: s("bus"),
            topic: s("topic"),
            app_id: s("app"),
        },
        Error::PubsubGone {
            pubsub: s("bus"),
            topic: s("topic"),
        },
        Error::Outbox {
            app_id: s("app"),
            cause: s("cause"),
        },
    ]
}

fn stores() -> Vec<Error> {
    let keys = || vec![s("k1"), s("k2")];
    vec![
        Error::OutputBinding {
            binding: s("out"),
            cause: s("couldn't find output binding out"),
        },
        Error::SecretStoresNotConfigured,
        Error::SecretStoreNotFound(s("vault")),
        Error::SecretDenied {
            store: s("vault"),
            key: s("key \"1\""),
        },
        Error::SecretGet {
            store: s("vault"),
            key: s("key"),
            cause: s("cause"),
        },
        Error::SecretBulkGet {
            store: s("vault"),
            cause: s("cause"),
        },
        Error::ConfigurationStoresNotConfigured,
        Error::ConfigurationStoreNotFound(s("conf")),
        Error::ConfigurationGet {
            store: s("conf"),
            keys: keys(),
            cause: s("cause"),
        },
        Error::ConfigurationSubscribe {
            store: s("conf"),
            keys: keys(),
            cause: s("cause"),
        },
        Error::ConfigurationUnsubscribe {
            id: s("id"),
            cause: s("subscription does not exist"),
        },
        Error::LockStoreNotConfigured,
        Error::LockStoreNotFound(s("lock")),
        Error::LockResourceEmpty(s("lock")),
        Error::LockOwnerEmpty(s("lock")),
        Error::LockExpiry(s("lock")),
        Error::TryLock(s("cause")),
        Error::Unlock(s("cause")),
        Error::CryptoNotConfigured,
        Error::CryptoNotFound(s("crypto")),
        Error::CryptoKey {
            key: s("key"),
            cause: s("cause"),
        },
        Error::Crypto(s("cause")),
    ]
}

fn conversation() -> Vec<Error> {
    vec![
        Error::ConversationNotFound(s("model")),
        Error::ConversationParameters {
            component: s("model"),
            cause: s("cause"),
        },
        Error::Conversation {
            component: s("model"),
            cause: s("cause"),
        },
        Error::ConversationInputs(s("model")),
    ]
}

fn actors() -> Vec<Error> {
    vec![
        Error::ActorReminderNotHosted,
        Error::ActorTypeReserved(s("dapr.internal.x")),
        Error::ActorRuntimeNotFound,
        Error::ActorNoAppChannel,
        Error::ActorInstanceMissing,
        Error::ActorInvoke(s("cause")),
        Error::ActorStateGet(s("cause")),
        Error::ActorStateTransaction(s("cause")),
        Error::ActorReminderCreate(s("cause")),
        Error::ActorReminderGet(s("cause")),
        Error::ActorReminderDelete(s("cause")),
        Error::ActorReminderNotFound(s("reminder")),
        Error::ActorReminderExists(s("reminder")),
        Error::ActorTimerCreate(s("cause")),
        Error::ActorStackDepth,
        Error::ActorNoPlacement,
        Error::ActorRuntimeClosed,
        Error::ActorNamespaceRequired,
        Error::ActorNoAddress(s("type/id")),
    ]
}

fn jobs() -> Vec<Error> {
    let (app_id, namespace) = (|| s("app"), || s("default"));
    let schedule = |grpc| Error::JobSchedule {
        app_id: app_id(),
        namespace: namespace(),
        grpc,
        cause: s("cause"),
    };
    vec![
        Error::JobEmpty {
            app_id: app_id(),
            namespace: namespace(),
        },
        Error::JobNameEmpty {
            app_id: app_id(),
            namespace: namespace(),
        },
        Error::JobScheduleEmpty {
            app_id: app_id(),
            namespace: namespace(),
        },
        Error::JobNameInBody { app_id: app_id() },
        schedule(Code::Unknown),
        schedule(Code::AlreadyExists),
        Error::JobGet {
            app_id: app_id(),
            namespace: namespace(),
            cause: s("scheduler clients are disabled"),
        },
        Error::JobList {
            app_id: app_id(),
            namespace: namespace(),
            cause: s("cause"),
        },
        Error::JobDelete {
            app_id: app_id(),
            namespace: namespace(),
            cause: s("cause"),
        },
    ]
}

fn workflows() -> Vec<Error> {
    vec![
        Error::WorkflowStart {
            workflow: s("flow"),
            cause: s("cause"),
        },
        Error::WorkflowGet {
            instance: s("i1"),
            cause: s("cause"),
        },
        Error::WorkflowNameMissing,
        Error::WorkflowInstanceTooLong(64),
        Error::WorkflowInstanceInvalid(s("i.1")),
        Error::WorkflowComponentNotFound(s("engine")),
        Error::WorkflowInstanceMissing,
        Error::WorkflowInstanceNotFound(s("i1")),
        Error::WorkflowComponentMissing,
        Error::WorkflowTerminate {
            instance: s("i1"),
            cause: s("cause"),
        },
        Error::WorkflowEventNameMissing,
        Error::WorkflowRaiseEvent {
            instance: s("i1"),
            cause: s("cause"),
        },
        Error::WorkflowPause {
            instance: s("i1"),
            cause: s("cause"),
        },
        Error::WorkflowResume {
            instance: s("i1"),
            cause: s("cause"),
        },
        Error::WorkflowPurge {
            instance: s("i1"),
            cause: s("cause"),
        },
        Error::WorkflowAppIdInvalid(s("a b")),
    ]
}

fn s(text: &str) -> String {
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_golden_file_shows_what_goes_out() {
        assert_eq!(
            table(),
            include_str!("../golden/errors.txt"),
            "run `cargo xtask golden` and look at the change"
        );
    }

    #[test]
    fn every_error_has_a_sample() {
        let declared = include_str!("error.rs").matches("#[error(").count();
        let shown: HashSet<_> = samples().iter().map(std::mem::discriminant).collect();
        assert_eq!(shown.len(), declared);
    }
}
