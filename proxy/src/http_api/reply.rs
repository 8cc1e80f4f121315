//! The small answers of the API's own routes.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use outrigger_error::Error;
use outrigger_kit::json::to_go_vec;
use outrigger_svc::{Body, Response, collect_limited};
use serde::Serialize;

/// Most bytes that a route of the API collects; the body limit is smaller unless it is turned off.
const MOST_COLLECTED: usize = 64 << 20;

/// An empty success.
pub(crate) fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Plain JSON: compact, with Go's escapes and a newline at the end.
pub(crate) fn json<T: Serialize>(value: &T) -> Response {
    let mut bytes = to_go_vec(value);
    bytes.push(b'\n');
    json_bytes(bytes.into())
}

/// Bytes that are called JSON.
pub(crate) fn json_bytes(bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A protojson text, which has no newline at its end.
pub(crate) fn protojson(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One line of text, as Go's `http.Error` writes it.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Error {
    Error::Text {
        http: status,
        text: text.into(),
    }
}

/// The whole body of a request.
///
/// # Errors
/// The text of the failure, `stream too large` among them.
pub(crate) async fn read(body: Body) -> Result<Bytes, String> {
    collect_limited(body, MOST_COLLECTED)
        .await
        .map_err(|error| error.to_string())
}
