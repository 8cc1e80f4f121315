//! `InvokeService`: a call of an app's method, by an app that speaks gRPC to its sidecar.
//!
//! It is served without tonic: the answer of a gRPC app has trailers, and a status of any number.
//!
//! Source: specification, service invocation 9.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use outrigger_api::{Any, common, rpc, runtime};
use outrigger_error::{Error, code as codes};
use outrigger_link::{
    HttpExtension, Invocation, InvocationHead, Metadata, ReplayBody, Reply, Status, Text, Verb, code,
};
use outrigger_resilience::{Class, Failure, PolicyError};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};
use outrigger_telemetry::trace::TraceContext;
use prost::Message;
use tonic::codec::{CompressionEncoding, Streaming};

use super::Backend;
use super::answer::{GRPC, answer_with, status, status_of};
use super::call::Facts;
use super::frames::PREFIX;
use crate::attempt::status_of as status_of_policy;

/// Serves the method.
#[derive(Clone, Debug)]
pub(crate) struct InvokeService<B> {
    backend: B,
    limit: usize,
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Header metadata of the answer.
    pub(crate) headers: HeaderMap,
    /// The message, or the status of the app.
    pub(crate) message: Result<common::InvokeResponse, Status>,
    /// Trailer metadata of the answer.
    pub(crate) trailers: HeaderMap,
}

/// An attempt that brought a status or nothing; policies make no difference.
#[derive(Debug)]
struct Unsuccessful(Box<Result<Outcome, Error>>);

const HTTP_STATUS: HeaderName = HeaderName::from_static("dapr-http-status");

static WARNED_OF_METHOD: AtomicBool = AtomicBool::new(false);
static WARNED_OF_HTTP: AtomicBool = AtomicBool::new(false);

// === impl InvokeService ===

impl<B: Backend> InvokeService<B> {
    pub(crate) fn new(backend: B, limit: usize) -> Self {
        Self { backend, limit }
    }

    /// Answers a call.
    pub(crate) fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Infallible>> {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }

    async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let message = match self.read(&head.headers, body).await {
            Ok(message) => message,
            Err(refusal) => return answer_with(&refusal, HeaderMap::new()),
        };
        let metadata = Metadata::from_grpc(
            &head.headers,
            head.uri.authority().map(|authority| authority.as_str()),
        );
        let facts = Facts::of(&head.extensions);
        match invoke(&self.backend, message, metadata, facts).await {
            Ok(Outcome {
                headers,
                message: Ok(message),
                trailers,
            }) => respond(headers, &message, trailers),
            Ok(Outcome {
                headers,
                message: Err(status),
                trailers,
            }) => {
                let mut metadata = headers;
                metadata.extend(trailers);
                answer_with(&status, metadata)
            }
            Err(error) => {
                self.backend.count_error(&error);
                answer_with(&status(&error), HeaderMap::new())
            }
        }
    }

    /// Reads the one message of the request.
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<runtime::InvokeServiceRequest, Status> {
        let encoding = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => None,
            Some(b"gzip") => Some(CompressionEncoding::Gzip),
            Some(other) => {
                let shown = String::from_utf8_lossy(other);
                let text = format!("grpc: Decompressor is not installed for grpc-encoding \"{shown}\"");
                return Err(Status::new(code::UNIMPLEMENTED, text));
            }
        };
        let decoder = outrigger_api::ProstDecoder::default();
        let mut messages = Streaming::new_request(decoder, body, encoding, Some(self.limit));
        match messages.message().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Status::internal("received no request message")),
            Err(error) => Err(status_of(&error)),
        }
    }
}

/// Calls the method and reads its whole answer.
///
/// # Errors
/// When there was no answer of the app.
pub(crate) async fn invoke<B: Backend>(
    backend: &B,
    request: runtime::InvokeServiceRequest,
    metadata: Metadata,
    facts: &Facts,
) -> Result<Outcome, Error> {
    if !backend.is_ready() {
        return Err(Error::InvokeNotReady);
    }
    warn_once(
        &WARNED_OF_METHOD,
        "[DEPRECATION NOTICE] InvokeService is deprecated and will be removed in the future, please use proxy mode \
         instead.",
    );
    let runtime::InvokeServiceRequest { id, message } = request;
    let message = message.unwrap_or_default();
    facts.span.change(|span| {
        span.set_name(format!("CallLocal/{id}/{}", message.method));
        span.set_attribute("rpc.service", "ServiceInvocation");
        span.set_attribute("net.peer.name", id.clone());
    });
    let policy = backend.policy(&id, &message.method);
    let call = invocation(message, metadata);
    let Some(policy) = policy else {
        return attempt(backend, &id, call, &facts.trace).await;
    };
    let (head, body) = InvocationHead::split(call);
    let body = ReplayBody::keeping(body).await;
    let attempt = async |_| {
        let call = head.clone().with_body(body.replay());
        match attempt(backend, &id, call, &facts.trace).await {
            Ok(outcome) if outcome.message.is_ok() => Ok(outcome),
            failed => Err(Unsuccessful(Box::new(failed))),
        }
    };
    match Box::pin(policy.run(attempt)).await {
        Ok(outcome) => Ok(outcome),
        Err(PolicyError::Operation(Unsuccessful(last))) => *last,
        Err(other) => Ok(Outcome {
            headers: HeaderMap::new(),
            message: Err(status_of_policy(&other)),
            trailers: HeaderMap::new(),
        }),
    }
}

/// Calls the method once and reads the whole answer.
async fn attempt<B: Backend>(
    backend: &B,
    id: &str,
    call: Invocation,
    trace: &TraceContext,
) -> Result<Outcome, Error> {
    let failed = |cause: String| Error::Invoke {
        app_id: id.to_owned(),
        cause,
        denied: false,
    };
    let reply = backend.invoke(id, call, trace).await;
    let reply = reply.map_err(|error| failed(error.to_string()))?;
    outcome(reply, trace)
        .await
        .map_err(|error| failed(error.to_string()))
}

fn invocation(message: common::InvokeRequest, metadata: Metadata) -> Invocation {
    let Any { type_url, value } = message.data.unwrap_or_default();
    let http = message.http_extension.map(|extension| HttpExtension {
        verb: Verb(extension.verb),
        query: Text::from(extension.querystring),
    });
    let mut call = Invocation::new(message.method);
    call.http = http;
    call.content_type = message.content_type.into();
    call.type_url = type_url.into();
    call.metadata = metadata;
    call.body = Body::from(value);
    call
}

async fn outcome(reply: Reply, trace: &TraceContext) -> Result<Outcome, BoxError> {
    let Reply {
        status,
        headers,
        trailers,
        content_type,
        type_url,
        body,
    } = reply;
    let mut metadata = headers.to_grpc_metadata(trace);
    let value = body.collect().await?.to_bytes();
    let failure = if status.is_http() {
        warn_once(
            &WARNED_OF_HTTP,
            "[DEPRECATION NOTICE] Invocation path of gRPC -> HTTP is deprecated and will be removed in the future.",
        );
        metadata.insert(HTTP_STATUS, HeaderValue::from(status.code));
        http_failure(status.code, &value)
    } else {
        (status.code != code::OK).then(|| Status {
            code: status.code,
            message: status.message.as_str().to_owned(),
            details: details(status.code, &status.message, status.details),
        })
    };
    let data = Any {
        type_url: type_url.as_str().to_owned(),
        value,
    };
    let message = common::InvokeResponse {
        data: Some(data),
        content_type: content_type.as_str().to_owned(),
    };
    Ok(Outcome {
        headers: metadata,
        message: failure.map_or(Ok(message), Err),
        trailers: trailers.to_grpc_trailers(),
    })
}

/// The status of an HTTP app's answer that is no success.
fn http_failure(code: i32, body: &[u8]) -> Option<Status> {
    let http = u16::try_from(code).unwrap_or_default();
    if codes::grpc_from_http(http) == code::OK {
        return None;
    }
    Some(status(&Error::HttpStatus {
        status: http,
        detail: String::from_utf8_lossy(body).into_owned(),
    }))
}

/// The encoded `google.rpc.Status` with details that each are an encoded `google.protobuf.Any`.
fn details(code: i32, message: &str, details: Vec<Bytes>) -> Bytes {
    let details: Vec<Any> = details
        .into_iter()
        .filter_map(|detail| Any::decode(detail).ok())
        .collect();
    if details.is_empty() {
        return Bytes::new();
    }
    rpc::Status {
        code,
        message: message.to_owned(),
        details,
    }
    .encode_to_vec()
    .into()
}

/// An answer of one message.
fn respond(headers: HeaderMap, message: &common::InvokeResponse, mut trailers: HeaderMap) -> Response {
    Status::new(code::OK, "").write_to(&mut trailers);
    let frames = [Frame::data(framed(message)), Frame::trailers(trailers)].map(Ok::<_, BoxError>);
    let mut response = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    *response.headers_mut() = headers;
    response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC);
    response
}

/// A message behind its prefix.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(
        &u32::try_from(length)
            .expect("messages are shorter than 4 GiB")
            .to_be_bytes(),
    );
    message.encode(&mut frame).expect("the frame has room");
    frame.freeze()
}

// === impl Unsuccessful ===

impl Failure for Unsuccessful {
    fn class(&self) -> Class {
        Class::Plain
    }
}

impl fmt::Display for Unsuccessful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Ok(outcome) => match &outcome.message {
                Ok(_) => f.write_str("no error"),
                Err(status) => status.fmt(f),
            },
            Err(error) => error.fmt(f),
        }
    }
}

fn warn_once(warned: &AtomicBool, text: &str) {
    if !warned.swap(true, Ordering::Relaxed) {
        tracing::warn!(target: "dapr.runtime.grpc.api", "{text}");
    }
}
