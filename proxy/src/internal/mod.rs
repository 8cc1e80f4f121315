//! Calls that come from other sidecars: judged, measured, traced, and given to the app.
//!
//! Source: specification, service invocation 6.

use std::convert::Infallible;
use std::sync::Arc;

use outrigger_link::{CallForm, CallScope, Callee, Invocation, Reply, Status, Verb, code};
use outrigger_svc::{Body, Request, Response, Service, ServiceExt};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::{Position, Span, SpanKind, TraceContext, Tracer};

use crate::access::{AccessControl, Protocol, Subject};
use crate::app::AppChannel;
use crate::invoke::normalise;

/// One worker's answer to the calls of peers; `O` answers what is no service invocation.
#[derive(Clone, Debug)]
pub(crate) struct Internal<O> {
    parts: InternalParts,
    other: O,
}

/// What calls of peers are answered with. All of it is cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct InternalParts {
    /// Own app id.
    pub(crate) app_id: Arc<str>,
    /// The worker's channel to the app; none without an app port.
    pub(crate) app: Option<AppChannel>,
    /// Who may call what.
    pub(crate) access: AccessControl,
    /// Starts the span of each call.
    pub(crate) tracer: Tracer,
    /// Counts the calls.
    pub(crate) metrics: Metrics,
}

const METHOD: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";
const CALLER_APP_ID: &str = "dapr-caller-app-id";

// === impl Internal ===

impl<O> Internal<O> {
    /// A worker's answer to calls.
    #[must_use]
    pub(crate) fn new(parts: InternalParts, other: O) -> Self {
        Self { parts, other }
    }
}

impl<O> Callee for Internal<O>
where
    O: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    O::Future: Send,
{
    fn admit(&self) -> Result<(), Status> {
        match self.parts.app {
            Some(_) => Ok(()),
            None => Err(no_app()),
        }
    }

    async fn invoke(&self, scope: CallScope, call: Invocation) -> Result<Reply, Status> {
        let mut span = self.parts.span(scope.trace.as_ref());
        let position = span.as_ref().map(|span| Position::from(span.context()));
        let peer = scope.context.peer.as_deref();
        let work = self.parts.call(peer, scope.form, call, span.as_mut());
        let outcome = position.unwrap_or_default().around(work).await;
        if let Some(span) = &mut span
            && let Err(status) = &outcome
        {
            span.fail(status.message.clone());
        }
        outcome
    }

    async fn other(&self, request: http::Request<Body>) -> http::Response<Body> {
        self.other
            .clone()
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {})
    }
}

// === impl InternalParts ===

impl InternalParts {
    async fn call(
        &self,
        peer: Option<&str>,
        form: CallForm,
        mut call: Invocation,
        span: Option<&mut Span>,
    ) -> Result<Reply, Status> {
        let Some(app) = &self.app else {
            return Err(no_app());
        };
        normalise(&mut call)?;
        let subject = Subject {
            peer,
            operation: &call.method,
            protocol: protocol(app, &call),
        };
        self.access.permit(subject, &self.metrics)?;
        let trace = match span {
            Some(span) => {
                if span.is_recording() {
                    self.describe(span, &call);
                }
                span.context().clone()
            }
            None => TraceContext::ZERO,
        };
        let series = self
            .metrics
            .invocation()
            .caller(call.metadata.first(CALLER_APP_ID).unwrap_or("unknown"));
        series.request_received();
        match app.invoke(call, &trace).await {
            Ok(reply) => {
                series.response_sent(reply.status.code);
                Ok(reply)
            }
            Err(error) => {
                // What went wrong shows in the status of the old form only.
                series.response_sent(match form {
                    CallForm::Stream => code::OK,
                    CallForm::Unary => code::INTERNAL,
                });
                Err(Status::internal(format!("error invoking app channel: {error}")))
            }
        }
    }

    /// The span of a call; none if tracing is off.
    fn span(&self, caller: Option<&TraceContext>) -> Option<Span> {
        self.tracer
            .is_on()
            .then(|| self.tracer.start(caller, SpanKind::Server, METHOD))
    }

    fn describe(&self, span: &mut Span, call: &Invocation) {
        span.set_name(format!("CallLocal/{}/{}", self.app_id, call.method));
        span.set_attribute("dapr.protocol", "grpc");
        span.set_attribute("dapr.api", METHOD);
        span.set_attribute("rpc.service", "ServiceInvocation");
        span.set_attribute("dapr.invoke_method", call.method.as_str());
    }
}

/// What the rules are matched by; the verb of a call without any metadata does not count.
fn protocol(app: &AppChannel, call: &Invocation) -> Protocol {
    if !app.is_http() {
        return Protocol::Grpc;
    }
    let http = call.http.as_ref().filter(|_| !call.metadata.is_empty());
    Protocol::Http(http.map_or(Verb::NONE, |http| http.verb))
}

fn no_app() -> Status {
    Status::internal("app channel is not initialized")
}

#[cfg(test)]
mod tests;
