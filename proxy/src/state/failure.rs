//! What stores say went wrong, for policies and for clients.

use http::StatusCode;
use outrigger_component::state::{RichError, StateError};
use outrigger_error::{Detail, Error, Fault};
use outrigger_resilience::{Class, Failure, PolicyError};
use tonic::Code;

/// The failure of a store as policies see it: one about a tag is never tried again, anything else is.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Failed(pub(super) StateError);

// === impl Failed ===

impl Failure for Failed {
    fn class(&self) -> Class {
        if self.0.is_about_etag() {
            Class::Permanent
        } else {
            Class::Plain
        }
    }
}

/// The failure as clients see it.
pub(super) fn fault(failed: PolicyError<Failed>) -> Fault {
    match failed {
        PolicyError::Operation(Failed(StateError::EtagMismatch(cause))) => {
            Fault::etag_mismatch(cause.map(|cause| cause.to_string()).as_deref())
        }
        PolicyError::Operation(Failed(StateError::EtagInvalid(cause))) => {
            Fault::etag_invalid(cause.map(|cause| cause.to_string()).as_deref())
        }
        PolicyError::Operation(Failed(StateError::Rich(error))) => {
            let details = vec![info(&error)];
            Fault::given(http(&error), Code::from_i32(error.code), error.message, details)
        }
        failed => Fault::other(failed.to_string()),
    }
}

/// An error that a store has made for clients, as it is.
pub(super) fn rich(error: RichError) -> Error {
    Error::Component {
        http: http(&error),
        grpc: Code::from_i32(error.code),
        details: vec![info(&error)],
        // An error without a tag is known by its reason.
        code: if error.tag.is_empty() {
            error.reason
        } else {
            error.tag
        },
        message: error.message,
    }
}

fn http(error: &RichError) -> StatusCode {
    StatusCode::from_u16(error.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn info(error: &RichError) -> Detail {
    Detail::ErrorInfo {
        domain: error.domain.clone(),
        metadata: None,
        reason: error.reason.clone(),
    }
}
