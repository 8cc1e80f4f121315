//! The calls that all measurements work on.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_link::codec::{
    PREFIX, decode_request_chunk, decode_response_chunk, encode_request_chunk, encode_response_chunk,
};
use outrigger_link::{HttpExtension, Invocation, Metadata, Reply, ReplyStatus, Verb};
use outrigger_telemetry::trace::TraceContext;

/// A trace in text form, sampled.
pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The path of an invocation at the HTTP API.
pub const INVOKE_PATH: &str = "/v1.0/invoke/callee/method/neworder";

/// Largest message of a link, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Headers of a request by an HTTP client of the usual kind.
#[must_use]
pub fn client_headers() -> HeaderMap {
    headers(&[
        ("host", "127.0.0.1:3500"),
        ("user-agent", "python-requests/2.32.3"),
        ("accept-encoding", "gzip, deflate"),
        ("accept", "*/*"),
        ("connection", "keep-alive"),
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("x-request-id", "6f1c2b1e-7a53-4a4e-9d4d-0b8f2d1f3c55"),
        ("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."),
        ("traceparent", TRACEPARENT),
    ])
}

/// Metadata of a gRPC client.
#[must_use]
pub fn grpc_headers() -> HeaderMap {
    headers(&[
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.68.0"),
        ("te", "trailers"),
        ("grpc-timeout", "5S"),
        ("dapr-app-id", "callee"),
        ("x-request-id", "6f1c2b1e-7a53-4a4e-9d4d-0b8f2d1f3c55"),
        ("grpc-trace-bin", "AAAK92UZFs1D3YRI6yEcgDGcAbetaxaSMzECAQ"),
    ])
}

/// Headers of an app's answer.
#[must_use]
pub fn app_headers() -> HeaderMap {
    headers(&[
        ("server", "uvicorn"),
        ("date", "Mon, 23 Nov 2026 07:12:52 GMT"),
        ("content-type", "application/json"),
        ("content-length", "1024"),
    ])
}

/// Adds what the calling sidecar says of itself and of the way.
pub fn add_forwarding(metadata: &mut Metadata) {
    for (name, value) in FORWARDING {
        metadata.push(name, value);
    }
}

/// Names and values of [`add_forwarding`].
pub const FORWARDING: [(&str, &str); 7] = [
    ("X-Forwarded-For", "192.0.2.2"),
    ("X-Forwarded-Host", "shop-7d9c6"),
    ("Forwarded", "for=192.0.2.2;by=192.0.2.2;host=shop-7d9c6"),
    ("destination-app-id", "callee"),
    ("dapr-caller-namespace", "default"),
    ("dapr-caller-app-id", "caller"),
    ("dapr-callee-app-id", "callee"),
];

/// A `POST` as the calling sidecar sends it, without a body.
#[must_use]
pub fn call() -> Invocation {
    let mut call = Invocation::new("neworder");
    call.http = Some(HttpExtension {
        verb: Verb::POST,
        query: "page=2&size=50".into(),
    });
    call.content_type = "application/json".into();
    call.metadata = Metadata::from_http(&client_headers());
    add_forwarding(&mut call.metadata);
    call
}

/// [`call`] as the called sidecar receives it.
#[must_use]
pub fn received_call() -> Invocation {
    let mut message = Vec::new();
    encode_request_chunk(&mut message, MAX_MESSAGE, &call(), None).expect("the sample can be sent");
    let chunk = decode_request_chunk(&Bytes::copy_from_slice(&message[PREFIX..])).expect("it is a message");
    chunk.request.expect("it has a head").call
}

/// [`reply`] as the calling sidecar receives it.
#[must_use]
pub fn received_reply() -> Reply {
    let mut message = Vec::new();
    encode_response_chunk(&mut message, MAX_MESSAGE, &reply(), false, None).expect("the sample can be sent");
    let chunk = decode_response_chunk(&Bytes::copy_from_slice(&message[PREFIX..])).expect("it is a message");
    chunk.response.expect("it has a head").reply
}

/// The app's answer as the called sidecar sends it, without a body.
#[must_use]
pub fn reply() -> Reply {
    Reply {
        status: ReplyStatus::new(200),
        headers: Metadata::from_http_response(&app_headers()),
        content_type: "application/json".into(),
        ..Reply::default()
    }
}

/// A body of some length.
#[must_use]
pub fn body(len: usize) -> Bytes {
    Bytes::from(vec![b'x'; len])
}

/// The trace of [`TRACEPARENT`].
#[must_use]
pub fn trace() -> TraceContext {
    TraceContext::from_traceparent(TRACEPARENT.as_bytes()).expect("the sample is valid")
}

fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
    let entries = entries.iter();
    entries
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}
