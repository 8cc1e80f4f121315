//! An app that speaks HTTP.
//!
//! Bodies stream both ways. Redirects are answers like any other; what the app says about the length of its
//! body is left to the framing of the next hop.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use outrigger_link::{CallError, Invocation, Metadata, Reply, ReplyStatus, Text};
use outrigger_svc::{Body, Held};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::TraceContext;
use tokio::time::Instant;

use super::base::Base;
use super::client::{AnswerBody, Client};
use super::gate::{Gate, Slot};
use super::handlers::through;
use super::request::{Prepared, set_token};
use super::send_error::{RequestError, SendError};
use super::websocket;
use crate::components::Handlers;

/// One worker's way to an app that speaks HTTP.
#[derive(Debug)]
pub(crate) struct HttpApp {
    shared: Arc<Shared>,
    client: Client,
}

#[derive(Debug)]
struct Shared {
    base: Base,
    gate: Gate,
    api_token: Option<HeaderValue>,
    metrics: Metrics,
    handlers: Handlers,
}

// === impl HttpApp ===

impl HttpApp {
    pub(crate) fn new(
        base: Base,
        gate: Gate,
        api_token: Option<HeaderValue>,
        metrics: Metrics,
        handlers: Handlers,
        client: Client,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                base,
                gate,
                api_token,
                metrics,
                handlers,
            }),
            client,
        }
    }

    /// The same for another worker.
    pub(crate) fn for_worker(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            client: self.client.for_worker(),
        }
    }

    /// Whether the app speaks HTTP/1.1, which connections can leave.
    pub(crate) fn speaks_http1(&self) -> bool {
        self.client.speaks_http1()
    }

    /// Calls the app.
    ///
    /// # Errors
    /// If the app is unhealthy, the call cannot be carried by HTTP or no answer came.
    pub(crate) async fn invoke(
        &self,
        mut call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, CallError> {
        let Shared {
            base,
            gate,
            api_token,
            metrics,
            handlers,
        } = &*self.shared;
        let slot = gate.enter().await?;
        // What a call that leaves HTTP has for a body is none of its request.
        let upgrade = call.upgrade.then(|| std::mem::take(&mut call.body));
        let prepared = Prepared::new(base, call, trace, &[]).await?;
        let Prepared {
            mut request,
            path,
            query,
        } = prepared;
        set_token(request.headers_mut(), api_token.as_ref());
        let method = request.method().clone();
        let began = Instant::now();
        let outcome = match &upgrade {
            None => through(handlers, request, |request| self.client.send(request)).await,
            Some(_) => {
                let send = |request| self.client.send_upgrade(request);
                Box::pin(through(handlers, request, send)).await
            }
        };
        let (status, received) = match &outcome {
            Ok(response) => (response.status().as_u16(), content_length(response.headers())),
            Err(_) => (500, 0),
        };
        // The length of what was sent is not among the request's headers and counts as none.
        metrics
            .http_client()
            .record(method.as_str(), &path, status, 0, received, began.elapsed());
        let outcome = match (outcome, upgrade) {
            (Ok(response), Some(body)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Box::pin(websocket::leave(response, body, slot)).await
            }
            (outcome, _) => outcome.map(|response| reply(response, slot)),
        };
        match outcome {
            Ok(reply) => Ok(reply),
            Err(source) => {
                let url = Prepared::url(base, &path, &query);
                Err(CallError::text(RequestError { method, url, source }.to_string()))
            }
        }
    }

    /// Asks the app something on the sidecar's own account, within the limit of calls in flight.
    ///
    /// # Errors
    /// The failure in Go's words.
    pub(crate) async fn ask(
        &self,
        path: &'static str,
        mut headers: HeaderMap,
    ) -> Result<http::Response<AnswerBody>, String> {
        let _slot = self.shared.gate.wait().await;
        set_token(&mut headers, self.shared.api_token.as_ref());
        let began = Instant::now();
        let request = get(&format!("/{path}"), headers);
        let outcome = through(&self.shared.handlers, request, |request| {
            self.client.send(request)
        })
        .await;
        let (status, received) = match &outcome {
            Ok(response) => (response.status().as_u16(), content_length(response.headers())),
            Err(_) => (500, 0),
        };
        self.shared
            .metrics
            .http_client()
            .record("GET", path, status, 0, received, began.elapsed());
        outcome.map_err(|source| self.failed(&format!("/{path}"), source).to_string())
    }

    /// The whole URL of a path, for messages.
    pub(crate) fn url(&self, path: &str) -> String {
        Prepared::url(&self.shared.base, path, "")
    }

    /// Sends a `GET` past the gate and the user's handlers.
    ///
    /// # Errors
    /// The failure in Go's words.
    pub(crate) async fn get(
        &self,
        path: &str,
        headers: HeaderMap,
    ) -> Result<http::Response<AnswerBody>, RequestError> {
        let outcome = self.client.send(get(path, headers)).await;
        outcome.map_err(|source| self.failed(path, source))
    }

    fn failed(&self, path: &str, source: SendError) -> RequestError {
        RequestError {
            method: Method::GET,
            url: self.url(path),
            source,
        }
    }
}

fn get(path: &str, headers: HeaderMap) -> http::Request<Body> {
    let mut request = http::Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    request
}

/// What an answer is to the caller; `slot` is kept until the body has been read.
pub(crate) fn reply(response: http::Response<AnswerBody>, slot: Slot) -> Reply {
    let (head, body) = response.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    Reply {
        status: ReplyStatus::new(head.status.as_u16().into()),
        content_type: content_type
            .map(|text| Text::from(String::from_utf8_lossy(text)))
            .unwrap_or_default(),
        headers: Metadata::from_http_response(&head.headers),
        body: match slot {
            _ if body.is_end_stream() => Body::empty(),
            // The call keeps its place among those in flight until its answer has been read.
            slot if slot.is_counted() => Body::new(Held::new(body, slot)),
            _ => Body::new(body),
        },
        ..Reply::default()
    }
}

/// The declared length of an answer, 0 if there is none.
pub(crate) fn content_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}
