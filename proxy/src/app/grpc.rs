//! An app that speaks gRPC.
//!
//! All calls share one connection, which is opened again when it ends; another one is opened only beyond 2048
//! calls at once. How many calls the app takes at once on a connection is the app's affair: more of them wait.
//!
//! Source: specification, service invocation 12.3 and gRPC API 7.

mod connection;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use outrigger_api::{Any, common, rpc};
use outrigger_link::{CallError, Invocation, Metadata, Reply, ReplyStatus, Status, Text, code};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::TraceContext;
use prost::Message;
use tokio::time::Instant;

use self::connection::Connections;
use super::dial::{Dialer, Origin};
use super::gate::Gate;
use super::probe::{Probe, ProbeFailure};
use super::request::set_token;
use crate::grpc_api::{PREFIX, framed};

/// The way to an app that speaks gRPC; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct GrpcApp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    authority: Authority,
    scheme: Scheme,
    connections: Connections,
    gate: Gate,
    api_token: Option<HeaderValue>,
    max_message_size: usize,
    metrics: Metrics,
}

/// What came back of a unary call.
struct Answer {
    headers: HeaderMap,
    trailers: HeaderMap,
    status: Status,
    message: Option<Bytes>,
}

/// The body of a call, or only its length if it is too long to be sent.
enum Collected {
    Whole(Bytes),
    TooLong(usize),
}

const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
const HEALTH_CHECK: &str = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck";
const GRPC_PROTO: HeaderValue = HeaderValue::from_static("application/grpc+proto");

// === impl GrpcApp ===

impl GrpcApp {
    /// An app without connections yet. For an origin with TLS the dialer must offer `h2`.
    pub(crate) fn new(
        origin: Origin,
        dialer: Dialer,
        gate: Gate,
        api_token: Option<HeaderValue>,
        max_message_size: usize,
        metrics: Metrics,
    ) -> Self {
        let authority = Authority::try_from(origin.authority()).expect("a host and a port are an authority");
        let scheme = if origin.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let connections = Connections::new(origin, dialer);
        Self(Arc::new(Shared {
            authority,
            scheme,
            connections,
            gate,
            api_token,
            max_message_size,
            metrics,
        }))
    }

    /// Opens the connection, and opens it again whenever it ends, until the future is dropped.
    pub(crate) async fn keep_warm(&self) {
        self.0.connections.keep_warm().await;
    }

    /// Calls `OnInvoke` of the app. A failure of the call is a reply with its status, as the app's own is.
    ///
    /// # Errors
    /// If the app is unhealthy or the body of the call breaks off.
    pub(crate) async fn invoke(&self, call: Invocation, trace: &TraceContext) -> Result<Reply, CallError> {
        let slot = self.0.gate.enter().await?;
        let Invocation {
            method,
            http,
            content_type,
            type_url,
            metadata,
            body,
            ..
        } = call;
        let mut headers = metadata.to_grpc_metadata(trace);
        self.set_token(&mut headers);
        let mut message = common::InvokeRequest {
            method: method.as_str().to_owned(),
            data: Some(Any {
                type_url: type_url.as_str().to_owned(),
                value: Bytes::new(),
            }),
            content_type: content_type.as_str().to_owned(),
            http_extension: http.map(|http| common::HttpExtension {
                verb: http.verb.0,
                querystring: http.query.as_str().to_owned(),
            }),
        };
        let limit = self.0.max_message_size;
        let answer = match collect(body, limit).await? {
            Collected::Whole(value) => {
                message.data.get_or_insert_default().value = value;
                self.unary(ON_INVOKE, headers, &message).await
            }
            Collected::TooLong(length) => Answer::failed(too_large(length_with(&message, length), limit)),
        };
        drop(slot);
        Ok(answer.into_reply())
    }

    /// Sends any gRPC request and returns the answer as soon as its head has arrived; frames are untouched.
    ///
    /// The URI of the request is a path.
    ///
    /// # Errors
    /// If there is no connection, or it failed before an answer came.
    pub(crate) async fn forward(&self, mut request: Request) -> Result<Response, Status> {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = self.absolute(target);
        self.0.connections.send(request).await
    }

    /// Puts the token that the app asks for in place of any other.
    pub(crate) fn set_token(&self, headers: &mut HeaderMap) {
        set_token(headers, self.0.api_token.as_ref());
    }

    /// Calls a unary method and counts the call.
    async fn unary(&self, method: &'static str, headers: HeaderMap, message: &impl Message) -> Answer {
        let began = Instant::now();
        let sent = message.encoded_len();
        let answer = self
            .call(method, headers, message)
            .await
            .unwrap_or_else(Answer::failed);
        let received = answer.message.as_ref().map_or(0, |message| message.len() as u64);
        let code = answer.status.code;
        self.0
            .metrics
            .grpc_client()
            .record(method, code, sent as u64, received, began.elapsed());
        answer
    }

    async fn call(
        &self,
        method: &'static str,
        headers: HeaderMap,
        message: &impl Message,
    ) -> Result<Answer, Status> {
        let limit = self.0.max_message_size;
        let length = message.encoded_len();
        if length > limit {
            return Err(too_large(length, limit));
        }
        // A body of known length would be announced by a header, which gRPC does not have.
        let frame = futures_util::stream::iter([Ok::<_, BoxError>(Frame::data(framed(message)))]);
        let mut request = Request::new(Body::new(StreamBody::new(frame)));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from(PathAndQuery::from_static(method));
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_TYPE, GRPC_PROTO);
        request
            .headers_mut()
            .insert(TE, HeaderValue::from_static("trailers"));
        let response = self.forward(request).await?;
        Answer::read(response, limit).await
    }

    fn absolute(&self, target: Option<PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.0.scheme.clone());
        parts.authority = Some(self.0.authority.clone());
        parts.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("scheme, authority and path are a URI")
    }

    async fn probe_once(&self, timeout: Duration) -> Result<(), ProbeFailure> {
        let began = Instant::now();
        let call = tokio::time::timeout(timeout, self.call(HEALTH_CHECK, HeaderMap::new(), &()));
        let status = match call.await {
            Ok(Ok(answer)) => answer.status,
            Ok(Err(status)) => status,
            Err(_) => Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded"),
        };
        self.0.metrics.health_probes().grpc(status.code, began.elapsed());
        if status.code == code::OK {
            Ok(())
        } else {
            Err(ProbeFailure::Call(status.to_string()))
        }
    }
}

impl Probe for GrpcApp {
    fn probe(&self, timeout: Duration) -> BoxFuture<'_, Result<(), ProbeFailure>> {
        Box::pin(self.probe_once(timeout))
    }

    fn counts_every_failure(&self) -> bool {
        true
    }
}

// === impl Answer ===

impl Answer {
    /// The answer to a call that failed on its way.
    fn failed(status: Status) -> Self {
        Self {
            headers: HeaderMap::new(),
            trailers: HeaderMap::new(),
            status,
            message: None,
        }
    }

    /// Reads an answer to its end.
    async fn read(response: Response, limit: usize) -> Result<Self, Status> {
        let (head, mut body) = response.into_parts();
        if let Some(status) = Status::from_trailers(&head.headers) {
            return Ok(Self {
                headers: HeaderMap::new(),
                trailers: head.headers,
                status,
                message: None,
            });
        }
        let mut received = BytesMut::new();
        let mut trailers = HeaderMap::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            match frame.into_data() {
                Ok(data) => {
                    received.extend_from_slice(&data);
                    check_length(&received, limit)?;
                }
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        let missing = || Status::internal("server closed the stream without sending trailers");
        let status = Status::from_trailers(&trailers).ok_or_else(missing)?;
        let message = (status.code == code::OK)
            .then(|| unframed(received.freeze()))
            .transpose()?;
        Ok(Self {
            headers: head.headers,
            trailers,
            status,
            message,
        })
    }

    fn into_reply(self) -> Reply {
        let Self {
            headers,
            trailers,
            mut status,
            message,
        } = self;
        let message = match message.map(common::InvokeResponse::decode) {
            None => common::InvokeResponse::default(),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                let text = format!("grpc: failed to unmarshal the received message: {error}");
                status = Status::internal(text);
                common::InvokeResponse::default()
            }
        };
        let Any { type_url, value } = message.data.unwrap_or_default();
        Reply {
            status: ReplyStatus {
                code: status.code,
                message: Text::from(status.message.as_str()),
                details: details(&status.details),
            },
            headers: Metadata::from_grpc(&headers, None),
            trailers: Metadata::from_grpc(&trailers, None),
            content_type: message.content_type.into(),
            type_url: type_url.into(),
            body: Body::from(value),
        }
    }
}

/// The status of a call whose answer breaks off.
pub(crate) fn broken(error: &BoxError) -> Status {
    match error.downcast_ref::<Status>() {
        Some(status) => status.clone(),
        None => Status::unavailable(format!("error reading from server: {error}")),
    }
}

/// Reads a body up to `limit` bytes; of a longer one the length only.
async fn collect(mut body: Body, limit: usize) -> Result<Collected, CallError> {
    let mut collected = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::text(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > limit {
            collected = BytesMut::new();
        } else if collected.is_empty() && http_body::Body::is_end_stream(&body) {
            return Ok(Collected::Whole(data));
        } else {
            collected.extend_from_slice(&data);
        }
    }
    Ok(if length > limit {
        Collected::TooLong(length)
    } else {
        Collected::Whole(collected.freeze())
    })
}

/// Encoded length of a request whose value has `length` bytes and is not in the message.
fn length_with(message: &common::InvokeRequest, length: usize) -> usize {
    let varint = |number: usize| prost::length_delimiter_len(number);
    let data = message.data.as_ref().map_or(0, Message::encoded_len);
    let with_value = data + 1 + varint(length) + length;
    message.encoded_len() - varint(data) - data + varint(with_value) + with_value
}

fn too_large(length: usize, limit: usize) -> Status {
    let text = format!("trying to send message larger than max ({length} vs. {limit})");
    Status::new(code::RESOURCE_EXHAUSTED, text)
}

/// Refuses a message by its prefix.
fn check_length(received: &[u8], limit: usize) -> Result<(), Status> {
    let Some([_, length @ ..]) = received.first_chunk::<PREFIX>() else {
        return Ok(());
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > limit {
        let text = format!("grpc: received message larger than max ({length} vs. {limit})");
        return Err(Status::new(code::RESOURCE_EXHAUSTED, text));
    }
    Ok(())
}

/// The one message of a unary answer.
fn unframed(mut received: Bytes) -> Result<Bytes, Status> {
    let Some([flag, length @ ..]) = received.first_chunk::<PREFIX>().copied() else {
        return Err(Status::internal(
            "cardinality violation: received no response message from non-server-streaming RPC",
        ));
    };
    if flag != 0 {
        return Err(Status::internal(
            "grpc: compressed flag set with identity or empty encoding",
        ));
    }
    received.advance(PREFIX);
    if received.len() != u32::from_be_bytes(length) as usize {
        return Err(Status::internal("unexpected EOF"));
    }
    Ok(received)
}

/// The details of an encoded `google.rpc.Status`, each as an encoded `google.protobuf.Any`.
fn details(encoded: &Bytes) -> Vec<Bytes> {
    let status = rpc::Status::decode(encoded.clone()).unwrap_or_default();
    status
        .details
        .iter()
        .map(|detail| detail.encode_to_vec().into())
        .collect()
}
