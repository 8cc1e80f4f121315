//! A call as an HTTP request to an app or to a server outside.
//!
//! Source: specification, service invocation 3.3, 3.4 and 7.3.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use outrigger_kit::quote::go_quote;
use outrigger_link::{CallError, Invocation, Metadata, Status, Text, code};
use outrigger_svc::{Body, BoxError};
use outrigger_telemetry::trace::TraceContext;

use super::base::Base;
use super::url::{full_url, request_target};

/// A request that is ready to be sent, and how error texts call it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The request; its URI is a path.
    pub(crate) request: http::Request<Body>,
    /// The method of the app as it was given, for metrics.
    pub(crate) path: Text,
    /// Query string, for error texts.
    pub(crate) query: Text,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The header that carries the app's token.
const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Time to see whether a request that usually has no body has one; Go's HTTP client waits as long.
const BODY_PROBE: Duration = Duration::from_millis(200);

// === impl Prepared ===

impl Prepared {
    /// Makes the request of a call; `extra` headers replace those of the caller.
    ///
    /// # Errors
    /// A verb or a method that HTTP cannot carry.
    pub(crate) async fn new(
        base: &Base,
        call: Invocation,
        trace: &TraceContext,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Result<Self, CallError> {
        let Invocation {
            method: path,
            http,
            content_type,
            type_url,
            metadata,
            body,
            ..
        } = call;
        let Some(extension) = http else {
            return Err(Status::new(code::INVALID_ARGUMENT, "missing HTTP extension field").into());
        };
        let verb = extension.verb.to_method().filter(|verb| *verb != Method::CONNECT);
        let Some(verb) = verb else {
            return Err(Status::new(code::INVALID_ARGUMENT, "invalid HTTP verb").into());
        };
        let uri = uri_of(base, &path, &extension.query)?;
        let mut headers = metadata.to_http_headers(trace);
        set_content_type(&mut headers, &content_type, &type_url)?;
        for (name, value) in extra {
            headers.insert(name.clone(), value.clone());
        }
        set_trace(&mut headers, trace);
        if let Some(credentials) = &base.credentials
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, credentials.clone());
        }
        let length = declared_length(&metadata)?;
        let body = set_length(&mut headers, &verb, length, body).await;
        let mut request = http::Request::new(body);
        *request.method_mut() = verb;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(Self {
            request,
            path,
            query: extension.query,
        })
    }

    /// The URL that error texts name.
    pub(crate) fn url(base: &Base, path: &str, query: &str) -> String {
        full_url(&base.text, path, query)
    }
}

fn uri_of(base: &Base, path: &str, query: &str) -> Result<Uri, CallError> {
    let failed = |reason: &dyn std::fmt::Display| {
        CallError::text(format!(
            "parse {}: {reason}",
            go_quote(&full_url(&base.text, path, query))
        ))
    };
    let target = request_target(&base.path, path, query).map_err(|error| failed(&error))?;
    let target = PathAndQuery::try_from(target).map_err(|error| failed(&format_args!("net/url: {error}")))?;
    Ok(Uri::from(target))
}

fn set_content_type(headers: &mut HeaderMap, content_type: &Text, type_url: &Text) -> Result<(), CallError> {
    if !type_url.is_empty() {
        headers.insert(CONTENT_TYPE, PROTOBUF);
    } else if !content_type.is_empty() {
        let value = HeaderValue::from_maybe_shared(content_type.clone().into_bytes())
            .map_err(|_| CallError::text("net/http: invalid header field value for \"Content-Type\""))?;
        headers.insert(CONTENT_TYPE, value);
    }
    Ok(())
}

/// Puts the app's own token in place of any other: that of a caller is none of the app's business.
pub(crate) fn set_token(headers: &mut HeaderMap, api_token: Option<&HeaderValue>) {
    match api_token {
        Some(token) => headers.insert(API_TOKEN, token.clone()),
        None => headers.remove(API_TOKEN),
    };
}

/// The current span goes before what travels with the call, as far as it has something to say.
fn set_trace(headers: &mut HeaderMap, trace: &TraceContext) {
    if !trace.has_trace_id() {
        return;
    }
    headers.insert(TRACEPARENT, trace.to_header());
    if let Some(state) = trace
        .state_to_send()
        .and_then(|state| HeaderValue::from_str(state).ok())
    {
        headers.insert(TRACESTATE, state);
    }
}

/// The length that the caller has declared, in any spelling of the header.
fn declared_length(metadata: &Metadata) -> Result<Option<u64>, CallError> {
    let Some(text) = metadata.first_ignoring_case("content-length") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(length) => Ok(Some(length)),
        Err(_) => Err(CallError::text(format!(
            "strconv.ParseInt: parsing {}: invalid syntax",
            go_quote(text)
        ))),
    }
}

/// Says how long the body is, and leaves out a body that is none.
async fn set_length(headers: &mut HeaderMap, verb: &Method, length: Option<u64>, body: Body) -> Body {
    let usually_bodiless = matches!(
        *verb,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    );
    if let Some(length) = length.filter(|length| *length > 0) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        return body;
    }
    let body = if body.is_end_stream() || length == Some(0) {
        Body::empty()
    } else if usually_bodiless {
        Box::pin(probe(body)).await
    } else {
        body
    };
    if !body.is_end_stream() {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if !usually_bodiless {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    body
}

/// Waits a moment for the first bytes of a body that is probably none.
async fn probe(mut body: Body) -> Body {
    match tokio::time::timeout(BODY_PROBE, body.frame()).await {
        Ok(None) => Body::empty(),
        Ok(Some(first)) => Body::new(Resumed {
            first: Some(first),
            rest: body,
        }),
        Err(_) => body,
    }
}

/// A body whose first frame was taken out and is put back.
struct Resumed {
    first: Option<Result<Frame<Bytes>, BoxError>>,
    rest: Body,
}

// === impl Resumed ===

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.first {
            Some(_) => SizeHint::default(),
            None => self.rest.size_hint(),
        }
    }
}
