//! What header blocks mean.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request, response};

use super::hpack::FieldList;
use crate::Status;
use crate::transport::{Call, Head, Request, Rpc, no_trailers, refusal_of, trace_of, wrong_head};

/// The request in a header block; none if it is malformed.
pub(super) fn read_request(fields: &FieldList) -> Option<Request> {
    let find = |wanted: &[u8]| {
        fields
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    let path = find(b":path")?;
    if fields.is_too_large {
        return None;
    }
    if let Some(rpc) = Rpc::of_path(path) {
        return Some(Request::Call(Call {
            rpc,
            trace: trace_of(find(b"grpc-trace-bin"), find(b"traceparent")),
            refusal: refusal_of(find(b"grpc-encoding")),
        }));
    }
    let mut uri = Uri::builder().path_and_query(path);
    if let (Some(scheme), Some(authority)) = (find(b":scheme"), find(b":authority")) {
        uri = uri.scheme(scheme).authority(authority);
    }
    let mut head = new_request_parts();
    head.uri = uri.build().ok()?;
    head.method = Method::from_bytes(find(b":method")?).ok()?;
    head.headers = read_fields(fields)?;
    Some(Request::Raw(Box::new(head)))
}

/// The head of an answer to a raw request; none if it is an interim one.
pub(super) fn read_response(fields: &FieldList) -> Result<Option<Head>, Malformed> {
    let status = read_http_status(fields)?;
    if status.is_informational() {
        return Ok(None);
    }
    let mut head = new_response_parts();
    head.status = status;
    head.headers = read_fields(fields).ok_or(Malformed)?;
    Ok(Some(Head::Raw(Box::new(head))))
}

/// The head of an answer to a hot call; none if it is an interim one.
pub(super) fn read_grpc_head(fields: &FieldList, is_last: bool) -> Result<Option<Head>, Malformed> {
    let status = read_http_status(fields)?;
    if status.is_informational() {
        return Ok(None);
    }
    if is_last && let Some(status) = read_status(fields) {
        return Ok(Some(Head::Ended(status)));
    }
    let kind = fields
        .iter()
        .find(|(name, _)| *name == b"content-type")
        .map(|(_, value)| value);
    Ok(Some(match wrong_head(status.as_u16(), kind) {
        Some(status) => Head::Ended(status),
        None if is_last => Head::Ended(no_trailers()),
        None => Head::Started,
    }))
}

/// A header block that is no answer.
#[derive(Debug)]
pub(super) struct Malformed;

fn read_http_status(fields: &FieldList) -> Result<http::StatusCode, Malformed> {
    let status = fields
        .iter()
        .find(|(name, _)| *name == b":status")
        .map(|(_, value)| value);
    let status = http::StatusCode::from_bytes(status.ok_or(Malformed)?);
    if fields.is_too_large {
        Err(Malformed)
    } else {
        status.map_err(|_| Malformed)
    }
}

/// The status in a block of trailers; none if there is none.
pub(super) fn read_status(fields: &FieldList) -> Option<Status> {
    let (mut code, mut message, mut details) = (None, None, None);
    for (name, value) in fields.iter() {
        match name {
            b"grpc-status" => code = Some(value),
            b"grpc-message" => message = Some(value),
            b"grpc-status-details-bin" => details = Some(value),
            _ => {}
        }
    }
    Some(Status::from_fields(code?, message, details))
}

/// The ordinary fields of a block; none if one is malformed.
pub(super) fn read_fields(fields: &FieldList) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(8);
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        // Names in upper case are malformed in HTTP/2.
        let name = HeaderName::from_lowercase(name).ok()?;
        map.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(map)
}

fn new_request_parts() -> request::Parts {
    let mut parts = http::Request::new(()).into_parts().0;
    parts.version = http::Version::HTTP_2;
    parts
}

fn new_response_parts() -> response::Parts {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.version = http::Version::HTTP_2;
    parts
}
