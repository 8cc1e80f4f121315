//! How a call ends: statuses and the responses that carry them.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use outrigger_error::{Error, Wire};
use outrigger_link::Status;
use outrigger_svc::{Body, Response};

/// The content type of every answer.
pub(crate) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The status that an error of the API is on this surface.
pub(crate) fn status(error: &Error) -> Status {
    Status {
        code: error.face().grpc as i32,
        message: error.message(Wire::Grpc),
        details: error.grpc_details(),
    }
}

/// A status of tonic as plain parts.
pub(crate) fn status_of(status: &tonic::Status) -> Status {
    Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: bytes::Bytes::copy_from_slice(status.details()),
    }
}

/// An answer without a message: the status stands in its headers.
pub(crate) fn answer(status: &Status) -> Response {
    answer_with(status, HeaderMap::new())
}

/// An answer without a message that carries metadata beside its status.
pub(crate) fn answer_with(status: &Status, metadata: HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = metadata;
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    status.write_to(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    #[test]
    fn an_answer_without_a_message_has_headers_only() {
        let response = answer(&status(&Error::SecretStoresNotConfigured));
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers["grpc-status"], "9");
        assert_eq!(headers["grpc-message"], "secret store is not configured");
        assert!(!headers.contains_key("grpc-status-details-bin"));
        assert!(response.body().is_end_stream());
    }

    #[test]
    fn details_of_an_error_go_along() {
        let error = Error::HttpStatus {
            status: 401,
            detail: "missing metadata in request".to_owned(),
        };
        let parts = status(&error);
        assert_eq!((parts.code, parts.message.as_str()), (16, "Unauthorized"));
        assert!(answer(&parts).headers().contains_key("grpc-status-details-bin"));
    }
}
