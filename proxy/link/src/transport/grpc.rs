//! gRPC over HTTP/2: paths, heads and statuses.

use base64::Engine;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use outrigger_kit::quote::go_quote;
use outrigger_telemetry::trace::TraceContext;

use super::Rpc;
use crate::status::{GRPC_STATUS, LENIENT};
use crate::{Status, code};

/// Media type of gRPC.
pub(crate) const GRPC: &str = "application/grpc";

pub(crate) const USER_AGENT: &str = concat!("grpc-outrigger/", env!("CARGO_PKG_VERSION"));
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const GRPC_TRACE: HeaderName = HeaderName::from_static("grpc-trace-bin");
pub(super) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

// === impl Rpc ===

impl Rpc {
    /// The path of the method.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Stream => "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream",
            Self::Unary => "/dapr.proto.internals.v1.ServiceInvocation/CallLocal",
            Self::Upgrade => "/outrigger.internals.v1.ServiceInvocation/CallUpgraded",
        }
    }

    /// The hot method of a path, if it is one.
    pub(crate) fn of_path(path: &[u8]) -> Option<Self> {
        [Self::Stream, Self::Unary, Self::Upgrade]
            .into_iter()
            .find(|rpc| rpc.path().as_bytes() == path)
    }
}

/// The head of a hot call, as the `h2` crate wants it.
pub(super) fn request_of(rpc: Rpc, authority: &str, trace: Option<&TraceContext>) -> Request<()> {
    let uri = http::Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(rpc.path())
        .build();
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.unwrap_or_else(|_| http::Uri::from_static(rpc.path()));
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(trace) = trace {
        headers.insert(TRACEPARENT, trace.to_header());
        let binary = LENIENT.encode(trace.to_grpc_bin());
        headers.insert(
            GRPC_TRACE,
            HeaderValue::from_str(&binary).expect("base64 is a header value"),
        );
    }
    request
}

/// The trace in the metadata of a call: the binary form, and only if that is absent the text form.
///
/// Source: specification, observability 1.2.
pub(crate) fn trace_of(binary: Option<&[u8]>, text: Option<&[u8]>) -> Option<TraceContext> {
    match binary {
        Some(binary) => TraceContext::from_grpc_bin(&LENIENT.decode(binary).ok()?),
        None => TraceContext::from_traceparent(text?),
    }
}

/// What is wrong with a hot call before it is looked into, if anything.
pub(crate) fn refusal_of(encoding: Option<&[u8]>) -> Option<Status> {
    let name = encoding.filter(|name| !name.is_empty() && *name != b"identity")?;
    let name = go_quote(&String::from_utf8_lossy(name));
    let text = format!("grpc: Decompressor is not installed for grpc-encoding {name}");
    Some(Status::new(code::UNIMPLEMENTED, text))
}

/// The status of an answer whose headers are not those of gRPC, or that ends with its headers.
///
/// None if messages may follow.
pub(crate) fn status_of_response(http: StatusCode, headers: &HeaderMap, is_end: bool) -> Option<Status> {
    if headers.contains_key(&GRPC_STATUS) && is_end {
        return Status::from_trailers(headers);
    }
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let wrong = wrong_head(http.as_u16(), kind);
    if wrong.is_none() && is_end {
        return Some(no_trailers());
    }
    wrong
}

/// The status of an answer that is not gRPC.
pub(crate) fn wrong_head(http: u16, kind: Option<&[u8]>) -> Option<Status> {
    let bad_kind = match kind {
        Some(kind) if is_grpc(kind) => None,
        Some(kind) => {
            let kind = go_quote(&String::from_utf8_lossy(kind));
            Some(format!("transport: received unexpected content-type {kind}"))
        }
        None => Some("malformed header: missing HTTP content-type".to_owned()),
    };
    if http == 200 {
        return bad_kind.map(|text| Status::new(code::UNKNOWN, text));
    }
    let code = match http {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502..=504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    };
    let reason = StatusCode::from_u16(http)
        .ok()
        .and_then(|status| status.canonical_reason());
    let mut text = format!(
        "unexpected HTTP status code received from server: {http} ({})",
        reason.unwrap_or_default()
    );
    if let Some(bad_kind) = bad_kind {
        text.push_str("; ");
        text.push_str(&bad_kind);
    }
    Some(Status::new(code, text))
}

/// The status of a stream that ended with its data.
pub(crate) fn no_trailers() -> Status {
    Status::internal("server closed the stream without sending trailers")
}

fn is_grpc(kind: &[u8]) -> bool {
    let rest = kind
        .get(..GRPC.len())
        .filter(|start| start.eq_ignore_ascii_case(GRPC.as_bytes()));
    rest.is_some() && matches!(kind.get(GRPC.len()), None | Some(b'+' | b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_web_servers_become_statuses() {
        let html = Some(&b"text/html"[..]);
        let cases = [
            (
                404,
                html,
                12,
                "unexpected HTTP status code received from server: 404 (Not Found); \
                 transport: received unexpected content-type \"text/html\"",
            ),
            (
                503,
                Some(&b"application/grpc"[..]),
                14,
                "unexpected HTTP status code received from server: 503 (Service Unavailable)",
            ),
            (
                200,
                html,
                2,
                "transport: received unexpected content-type \"text/html\"",
            ),
            (200, None, 2, "malformed header: missing HTTP content-type"),
        ];
        for (http, kind, code, text) in cases {
            assert_eq!(wrong_head(http, kind), Some(Status::new(code, text)));
        }
        for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC;x"] {
            assert_eq!(wrong_head(200, Some(kind.as_bytes())), None);
        }
        assert!(wrong_head(200, Some(b"application/grpc-web")).is_some());
    }

    #[test]
    fn only_plain_messages_are_taken() {
        assert_eq!(refusal_of(None), None);
        assert_eq!(refusal_of(Some(b"identity")), None);
        assert_eq!(
            refusal_of(Some(b"gzip")).unwrap().message,
            "grpc: Decompressor is not installed for grpc-encoding \"gzip\""
        );
    }
}
