//! Service invocation over the HTTP API.
//!
//! Source: specification, service invocation 3.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode, request};
use http_body::Body as _;
use outrigger_error::Error;
use outrigger_link::{CallError, HttpExtension, Invocation, Metadata, Text, Verb, code};
use outrigger_resilience::PolicyError;
use outrigger_svc::{Body, BoxFuture, Response};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::TraceContext;

use super::guarded::Unsuccessful;
use super::outcome::{Asked, response};
use super::target::APP_ID_HEADER;
use super::{Invoker, Target};
use crate::http_api::Call;
use crate::websocket::Switch;

/// The HTTP entry: what arrives at `/v1.0/invoke/`, and every request that no route takes.
#[derive(Clone, Debug)]
pub(crate) struct HttpInvoke(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    invoker: Invoker,
    metrics: Metrics,
}

// === impl HttpInvoke ===

impl HttpInvoke {
    /// The entry to an invoker.
    #[must_use]
    pub(crate) fn new(invoker: Invoker, metrics: Metrics) -> Self {
        Self(Arc::new(Entry { invoker, metrics }))
    }

    /// Invokes what the request names and answers with what came back.
    pub(crate) fn serve(&self, call: Call) -> BoxFuture<'static, Result<Response, Error>> {
        let entry = Arc::clone(&self.0);
        Box::pin(async move { entry.invoke(call).await })
    }
}

// === impl Entry ===

impl Entry {
    async fn invoke(&self, call: Call) -> Result<Response, Error> {
        let trace = call.trace.as_ref().unwrap_or(&TraceContext::ZERO);
        let (mut head, body) = call.request.into_parts();
        let target = Target::of(head.uri.path(), &head.headers).map_err(|_| no_path())?;
        // Basic credentials may name an app without a name.
        let target = target
            .filter(|target| !target.id.is_empty())
            .ok_or(Error::NoTarget)?;
        head.headers.remove(APP_ID_HEADER);
        if !self.invoker.is_ready() {
            return Err(Error::InvokeNotReady);
        }
        call.span.change(|span| {
            span.set_name(format!("CallLocal/{}/{}", target.id, target.method));
            span.set_attribute("rpc.service", "ServiceInvocation");
            span.set_attribute("net.peer.name", target.id.as_ref());
        });
        let mut invocation = invocation(&target, &head, body);
        let promised = Switch::take(&mut head.extensions).map(|switch| {
            let (body, promised) = switch.promise();
            (invocation.body, invocation.streaming, invocation.upgrade) = (body, true, true);
            promised
        });
        let asked = Asked {
            version: head.version,
            is_streaming: invocation.streaming,
            wants_events: invocation.wants_events(),
            is_traced: call.trace.is_some(),
        };
        let failed = |cause: String, is_denied| Error::Invoke {
            app_id: target.id.clone().into_owned(),
            cause,
            denied: is_denied,
        };
        let reply = match self.invoker.policy(&target) {
            None => self.invoker.invoke(&target.id, invocation, trace).await,
            Some(policy) => {
                let under = self.invoker.invoke_under(policy, &target.id, invocation, trace);
                match Box::pin(under).await {
                    Ok(reply) => Ok(reply),
                    Err(PolicyError::Operation(Unsuccessful::Status(reply, _))) => Ok(*reply),
                    Err(PolicyError::Operation(Unsuccessful::NoReply(error, _))) => Err(error),
                    Err(other) => return Err(failed(other.to_string(), false)),
                }
            }
        };
        let mut reply = reply.map_err(|error| failed(error.to_string(), is_denied(&error)))?;
        if let Some(promised) = promised
            && reply.status.is_switching()
        {
            let body = std::mem::take(&mut reply.body);
            let answer = response(reply, asked, trace).await;
            return Ok(promised.keep(answer.map_err(|error| error.of(failed))?, body));
        }
        let is_failure = reply.status.is_http() && !(200..400).contains(&reply.status.code);
        if is_failure && !asked.is_streaming {
            self.metrics.error_code("ERR_DIRECT_INVOKE", "service-invocation");
        }
        let answer = response(reply, asked, trace).await;
        answer.map_err(|error| error.of(failed))
    }
}

/// A path with a broken escape is no request target.
fn no_path() -> Error {
    Error::Text {
        http: StatusCode::BAD_REQUEST,
        text: "400 Bad Request".to_owned(),
    }
}

fn is_denied(error: &CallError) -> bool {
    error.code() == code::PERMISSION_DENIED
}

fn invocation(target: &Target<'_>, head: &request::Parts, body: Body) -> Invocation {
    let mut invocation = Invocation::new(Text::from(target.method.as_ref()));
    invocation.http = Some(HttpExtension {
        verb: Verb::from_method(&head.method),
        query: head.uri.query().map(Text::from).unwrap_or_default(),
    });
    invocation.content_type = text_of(head.headers.get(CONTENT_TYPE));
    invocation.metadata = Metadata::from_http(&head.headers);
    invocation.streaming = !body.is_end_stream() && body.size_hint().exact().is_none();
    invocation.body = body;
    invocation
}

fn text_of(value: Option<&HeaderValue>) -> Text {
    value
        .map(|value| Text::from(String::from_utf8_lossy(value.as_bytes())))
        .unwrap_or_default()
}
