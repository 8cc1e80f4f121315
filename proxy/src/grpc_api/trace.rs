//! The span of a call, and the trace headers of its answer.
//!
//! Source: specification, observability 1 to 5.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use futures_util::future::{Either, Ready, ready};
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_link::{Status, code};
use outrigger_svc::{Layer, Response, Service, Surface, layer_fn};
use outrigger_telemetry::trace::{
    Position, SharedSpan, Span, SpanKind, TraceContext, Tracer, Within, baggage,
};

use super::answer::answer;
use super::call::{Call, MethodKind};
use super::observe::{Observed, Observer, observe};
use super::routes::{HUB, INVOKE_SERVICE};

/// Starts the span of each call.
#[derive(Clone, Debug)]
pub(crate) struct Trace<S> {
    inner: S,
    tracer: Tracer,
    app_id: Arc<str>,
}

/// A call that is traced.
#[derive(Debug)]
pub(crate) struct Traced {
    span: SharedSpan,
    /// What the client is told about the trace.
    trace: Option<HeaderValue>,
    baggage: Option<HeaderValue>,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Metadata key of the context in binary form.
pub(crate) const GRPC_TRACE: HeaderName = HeaderName::from_static("grpc-trace-bin");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Base64 of binary metadata: peers may send it with or without padding, and it is written without.
pub(crate) const BINARY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

// === impl Trace ===

impl<S> Trace<S> {
    /// The layer; `app_id` is the own one.
    pub(crate) fn layer(
        tracer: Tracer,
        app_id: impl Into<Arc<str>>,
    ) -> impl Layer<S, Service = Self> + Clone {
        let app_id = app_id.into();
        layer_fn(move |inner| Self {
            inner,
            tracer: tracer.clone(),
            app_id: Arc::clone(&app_id),
        })
    }

    fn kind(&self, call: &Call) -> Option<SpanKind> {
        Some(match call.kind {
            MethodKind::Foreign if is_own(call.target()?, &self.app_id) => SpanKind::Server,
            MethodKind::Foreign => SpanKind::Client,
            _ if call.context.surface == Surface::Internal => SpanKind::Server,
            MethodKind::Stream if call.method().starts_with(HUB) => SpanKind::Server,
            _ => SpanKind::Client,
        })
    }
}

impl<S> Service<Call> for Trace<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Observed<Within<S::Future>, Traced>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if !self.tracer.is_on() {
            let inner = Position::NONE.around(self.inner.call(call));
            return Either::Left(observe(inner, None));
        }
        let Some(kind) = self.kind(&call) else {
            let text = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata";
            return Either::Right(ready(Ok(answer(&Status::new(code::UNKNOWN, text)))));
        };
        let headers = call.request.headers();
        let baggage = match checked_baggage(headers) {
            Ok(baggage) => baggage,
            Err(refusal) => return Either::Right(ready(Ok(answer(&refusal)))),
        };
        let mut span = self.tracer.start(parent(headers).as_ref(), kind, call.method());
        if span.is_recording() {
            describe(&mut span, &call);
        }
        call.facts.trace = span.context().clone();
        let tells = call.kind != MethodKind::Foreign && call.method() != INVOKE_SERVICE;
        let trace = tells.then(|| binary(span.context()));
        let position = Position::from(span.context());
        let span = SharedSpan::new(span);
        call.facts.span = span.clone();
        let inner = position.around(position.during(|| self.inner.call(call)));
        let traced = Traced { span, trace, baggage };
        Either::Left(observe(inner, Some(traced)))
    }
}

// === impl Traced ===

impl Observer for Traced {
    fn begin(&mut self, headers: &mut HeaderMap) {
        if let Some(trace) = self.trace.take() {
            headers.insert(GRPC_TRACE, trace);
        }
        if let Some(baggage) = self.baggage.take() {
            headers.insert(BAGGAGE, baggage);
        }
    }

    fn end(&mut self, status: &Status) {
        if status.code != code::OK {
            self.span.change(|span| span.fail(status.message.clone()));
        }
        self.span.end();
    }
}

/// The value of `grpc-trace-bin` as it is written.
pub(crate) fn binary(context: &TraceContext) -> HeaderValue {
    HeaderValue::from_str(&BINARY.encode(context.to_grpc_bin())).expect("base64 is a header value")
}

/// The context that a client sent: the binary form, and only without it the text form, alone.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    match headers.get(GRPC_TRACE) {
        Some(value) => TraceContext::from_grpc_bin(&BINARY.decode(value).ok()?),
        None => TraceContext::from_traceparent(headers.get(TRACEPARENT)?.as_bytes()),
    }
}

/// Whether a target id is that of the own app; a namespace is not looked at.
fn is_own(target: &str, app_id: &str) -> bool {
    target.split_once('.').map_or(target, |(id, _)| id) == app_id
}

/// All baggage together in normal form, once it is known to be valid.
fn checked_baggage(headers: &HeaderMap) -> Result<Option<HeaderValue>, Status> {
    let mut values = headers.get_all(BAGGAGE).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let refusal = |error: &dyn std::fmt::Display| {
        Status::new(code::INVALID_ARGUMENT, format!("invalid baggage header: {error}"))
    };
    let mut joined = first.to_str().map_err(|error| refusal(&error))?.to_owned();
    for value in values {
        joined.push(',');
        joined.push_str(value.to_str().map_err(|error| refusal(&error))?);
    }
    let normal = baggage::rewrite(&joined).map_err(|error| refusal(&error))?;
    HeaderValue::from_str(&normal)
        .map(Some)
        .map_err(|error| refusal(&error))
}

/// The attributes that every span of this API has.
fn describe(span: &mut Span, call: &Call) {
    span.set_attribute("dapr.protocol", "grpc");
    if call.kind != MethodKind::Foreign {
        span.set_attribute("dapr.api", call.method());
    }
    let headers = call.request.headers();
    for name in headers.keys().map(HeaderName::as_str) {
        if name.starts_with("dapr-")
            && !name.ends_with("-bin")
            && let Some(value) = headers.get(name).and_then(|value| value.to_str().ok())
        {
            span.set_attribute(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in entries {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_binary_form_wins_and_the_text_form_comes_without_state() {
        let sent = TraceContext::from_traceparent(PARENT.as_bytes()).unwrap();
        let both = headers(&[("traceparent", PARENT), ("tracestate", "a=b")]);
        let found = parent(&both).unwrap();
        assert_eq!((found.trace_id, found.state), (sent.trace_id, None));

        let other = TraceContext {
            trace_id: [1; 16],
            ..sent
        };
        let mut both = both;
        both.insert(GRPC_TRACE, binary(&other));
        assert_eq!(parent(&both).unwrap().trace_id, [1; 16]);
        assert_eq!(
            parent(&headers(&[("grpc-trace-bin", "!"), ("traceparent", PARENT)])),
            None
        );
    }

    #[test]
    fn baggage_is_checked_and_written_again() {
        let found = checked_baggage(&headers(&[("baggage", "a = 1"), ("baggage", "b=2")])).unwrap();
        assert_eq!(found.unwrap(), "a=1,b=2");
        assert_eq!(checked_baggage(&HeaderMap::new()).unwrap(), None);
        let refusal = checked_baggage(&headers(&[("baggage", "invalid-baggage")])).unwrap_err();
        assert_eq!(refusal.code, code::INVALID_ARGUMENT);
        assert!(
            refusal.message.starts_with("invalid baggage header: "),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn the_namespace_of_a_target_is_not_looked_at() {
        assert!(is_own("app", "app"));
        assert!(is_own("app.other", "app"));
        assert!(!is_own("apps", "app"));
    }
}
