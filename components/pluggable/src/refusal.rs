//! What the errors of a component mean.

use outrigger_api::rpc::{self, BadRequest, ErrorInfo};
use outrigger_component::state::{BulkError, RichError, StateError};
use outrigger_error::code;
use prost::{Message as _, Name};
use tonic::{Code, Status};

/// A status of gRPC in the words of Go's clients.
#[derive(Debug, thiserror::Error)]
#[error("rpc error: code = {} desc = {}", code::name(.0.code().into()), .0.message())]
pub(crate) struct RpcError(Box<Status>);

// === impl RpcError ===

impl From<Status> for RpcError {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

/// What a status of a state call means: an error with a face of its own, one about a tag, or just an error.
pub(crate) fn state_error(status: Status) -> StateError {
    if let Some(rich) = only_detail::<ErrorInfo>(&status).and_then(|info| rich(&status, info)) {
        return StateError::Rich(Box::new(rich));
    }
    match (status.code(), about_etag(&status)) {
        (Code::FailedPrecondition, Some(reason)) => StateError::mismatch(reason),
        (Code::InvalidArgument, Some(reason)) => StateError::invalid(reason),
        _ => StateError::other(RpcError::from(status)),
    }
}

/// What a status of a deletion in bulk means: beside the others, that not all rows were there.
pub(crate) fn bulk_delete_error(status: Status) -> BulkError {
    BulkError::Whole(match rows(&status) {
        Some((expected, affected)) => StateError::other(format!(
            "delete affected only {affected} rows, expected {expected}"
        )),
        None => state_error(status),
    })
}

fn rich(status: &Status, info: ErrorInfo) -> Option<RichError> {
    let entry = |name: &str| info.metadata.get(name).map(String::as_str);
    if entry("kit_error") != Some("true") {
        return None;
    }
    let http_status = entry("http_code")?.parse().ok()?;
    let code = i32::from(status.code());
    Some(RichError {
        code,
        code_name: code::name(code).into_owned(),
        http_status,
        message: status.message().to_owned(),
        tag: entry("tag").unwrap_or_default().to_owned(),
        reason: info.reason,
        domain: info.domain,
    })
}

/// The description of the one violation that is about the field `etag`.
fn about_etag(status: &Status) -> Option<String> {
    let mut violations = only_detail::<BadRequest>(status)?.field_violations;
    match (violations.pop(), violations.is_empty()) {
        (Some(violation), true) if violation.field == "etag" => Some(violation.description),
        _ => None,
    }
}

/// How many rows there should have been, and how many were.
fn rows(status: &Status) -> Option<(i64, i64)> {
    if status.code() != Code::Internal {
        return None;
    }
    let info = only_detail::<ErrorInfo>(status)?;
    let number = |name| info.metadata.get(name)?.parse().ok();
    Some((number("expected")?, number("affected")?))
}

/// The detail of a status that has exactly one, if it is of this type.
fn only_detail<M: Name + Default>(status: &Status) -> Option<M> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    match details.as_slice() {
        [detail] => detail.unpack().ok()?,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_api::Any;
    use outrigger_api::rpc::bad_request::FieldViolation;

    use super::*;

    fn status(code: Code, message: &str, details: &[Any]) -> Status {
        let details = rpc::Status {
            code: code.into(),
            message: message.to_owned(),
            details: details.to_vec(),
        };
        Status::with_details(code, message, details.encode_to_vec().into())
    }

    fn info<const N: usize>(metadata: [(&str, &str); N]) -> Any {
        Any::pack(&ErrorInfo {
            reason: "REASON".to_owned(),
            domain: "example.org".to_owned(),
            metadata: metadata
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        })
    }

    fn violations(fields: &[&str]) -> Any {
        let violation = |field: &&str| FieldViolation {
            field: (*field).to_owned(),
            description: format!("why {field}"),
            ..FieldViolation::default()
        };
        Any::pack(&BadRequest {
            field_violations: fields.iter().map(violation).collect(),
        })
    }

    #[test]
    fn an_error_with_a_face_of_its_own_keeps_it() {
        let details = [info([
            ("kit_error", "true"),
            ("http_code", "506"),
            ("tag", "ERR_TAG"),
        ])];
        let StateError::Rich(rich) = state_error(status(Code::DataLoss, "get-error", &details)) else {
            panic!("it is not rich");
        };
        let expected = RichError {
            code: 15,
            code_name: "DataLoss".to_owned(),
            http_status: 506,
            message: "get-error".to_owned(),
            tag: "ERR_TAG".to_owned(),
            reason: "REASON".to_owned(),
            domain: "example.org".to_owned(),
        };
        assert_eq!(*rich, expected);
        assert_eq!(rich.to_string(), "api error: code = DataLoss desc = get-error");
    }

    #[test]
    fn statuses_are_told_apart_by_their_code_and_their_one_detail() {
        use Code::{Aborted, Cancelled, FailedPrecondition, Internal, InvalidArgument};
        let etag = violations(&["etag"]);
        let kit = info([("kit_error", "true"), ("http_code", "506")]);
        let rows = [("expected", "2"), ("affected", "1")];
        for (code, details, single, bulk) in [
            (
                FailedPrecondition,
                vec![etag.clone()],
                "possible etag mismatch. error from state store: why etag",
                "possible etag mismatch. error from state store: why etag",
            ),
            (
                InvalidArgument,
                vec![etag.clone()],
                "invalid etag value: why etag",
                "invalid etag value: why etag",
            ),
            (
                Aborted,
                vec![etag.clone()],
                "rpc error: code = Aborted desc = why",
                "rpc error: code = Aborted desc = why",
            ),
            (
                FailedPrecondition,
                vec![violations(&["etag", "etag"])],
                "rpc error: code = FailedPrecondition desc = why",
                "rpc error: code = FailedPrecondition desc = why",
            ),
            (
                FailedPrecondition,
                vec![violations(&["key"])],
                "rpc error: code = FailedPrecondition desc = why",
                "rpc error: code = FailedPrecondition desc = why",
            ),
            (
                FailedPrecondition,
                vec![etag.clone(), etag],
                "rpc error: code = FailedPrecondition desc = why",
                "rpc error: code = FailedPrecondition desc = why",
            ),
            (
                Internal,
                vec![info(rows)],
                "rpc error: code = Internal desc = why",
                "delete affected only 1 rows, expected 2",
            ),
            (
                Internal,
                vec![info([("expected", "two"), ("affected", "1")])],
                "rpc error: code = Internal desc = why",
                "rpc error: code = Internal desc = why",
            ),
            (
                Cancelled,
                vec![info(rows)],
                "rpc error: code = Canceled desc = why",
                "rpc error: code = Canceled desc = why",
            ),
            (
                Internal,
                vec![kit.clone(), kit],
                "rpc error: code = Internal desc = why",
                "rpc error: code = Internal desc = why",
            ),
            (
                Internal,
                vec![info([("kit_error", "true"), ("http_code", "many")])],
                "rpc error: code = Internal desc = why",
                "rpc error: code = Internal desc = why",
            ),
            (
                Internal,
                vec![],
                "rpc error: code = Internal desc = why",
                "rpc error: code = Internal desc = why",
            ),
        ] {
            let status = status(code, "why", &details);
            assert_eq!(state_error(status.clone()).to_string(), single, "{details:?}");
            assert_eq!(bulk_delete_error(status).to_string(), bulk, "{details:?}");
        }
    }

    #[test]
    fn details_that_cannot_be_read_are_none() {
        let status = Status::with_details(Code::Internal, "why", b"\xff\xff".to_vec().into());
        assert_eq!(
            state_error(status).to_string(),
            "rpc error: code = Internal desc = why"
        );
    }
}
