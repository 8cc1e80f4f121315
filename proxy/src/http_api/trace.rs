//! The trace of a call: its span, the context in the answer, and the check of baggage.
//!
//! Health checks have no trace. With a sampling rate of exactly 0 the layer does nothing.
//!
//! Source: specification, observability 1.3, 4 and 5.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{Either, Ready, ready as resolved};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use outrigger_error::Error;
use outrigger_svc::{Layer, Response, Service, layer_fn};
use outrigger_telemetry::trace::{
    Position, SharedSpan, Span, SpanKind, TraceContext, Tracer, Within, baggage,
};
use pin_project_lite::pin_project;

use super::Call;
use super::rescue::answer;

/// Gives each call a span and its answer the context of that span.
#[derive(Clone, Debug)]
pub(crate) struct Trace<S> {
    inner: S,
    tracer: Arc<Tracer>,
}

pin_project! {
    /// The answer of [`Trace`].
    #[derive(Debug)]
    pub(crate) struct TraceFuture<F> {
        #[pin]
        inner: Within<F>,
        traced: Option<Traced>,
    }
}

/// What is still to be done for the trace when the answer comes.
#[derive(Debug)]
struct Traced {
    span: SharedSpan,
    context: TraceContext,
    baggage: Option<HeaderValue>,
}

const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

// === impl Trace ===

impl<S> Trace<S> {
    /// The layer.
    pub(crate) fn layer(tracer: Tracer) -> impl Layer<S, Service = Self> + Clone {
        // The stack is copied for every request: its counts must be the worker's own.
        let tracer = Arc::new(tracer);
        layer_fn(move |inner| Self {
            inner,
            tracer: Arc::clone(&tracer),
        })
    }
}

impl<S> Service<Call> for Trace<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<TraceFuture<S::Future>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let path = call.request.uri().path();
        if !self.tracer.is_on() || path.contains("/healthz") {
            return Either::Left(TraceFuture {
                inner: Position::NONE.around(self.inner.call(call)),
                traced: None,
            });
        }
        let headers = call.request.headers();
        let parent = TraceContext::from_headers(headers);
        let mut span = self.tracer.start(parent.as_ref(), SpanKind::Client, path);
        if span.is_recording() {
            describe(&mut span, &call);
        }
        let mut traced = Traced {
            context: span.context().clone(),
            span: SharedSpan::new(span),
            baggage: None,
        };
        traced.baggage = match checked_baggage(call.request.headers()) {
            Ok(baggage) => baggage,
            Err(refusal) => {
                let mut response = answer(&refusal);
                traced.finish(&mut response);
                return Either::Right(resolved(Ok(response)));
            }
        };
        call.trace = Some(traced.context.clone());
        call.span = traced.span.clone();
        let position = Position::from(&traced.context);
        Either::Left(TraceFuture {
            inner: position.around(position.during(|| self.inner.call(call))),
            traced: Some(traced),
        })
    }
}

impl<F> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut outcome
            && let Some(traced) = this.traced.take()
        {
            traced.finish(response);
        }
        Poll::Ready(outcome)
    }
}

// === impl Traced ===

impl Traced {
    /// Ends the span and tells the client where in the trace it was.
    fn finish(self, response: &mut Response) {
        let status = response.status();
        let headers = response.headers_mut();
        if !headers.contains_key(TRACEPARENT) {
            self.context.write_headers(headers);
        }
        if let Some(baggage) = self.baggage {
            headers.insert(BAGGAGE, baggage);
        }
        self.span.change(|span| {
            span.set_attribute("dapr.status_code", status.as_u16().to_string());
            span.set_http_status(status);
        });
        self.span.end();
    }
}

/// The text of all baggage headers together, once it is known to be valid.
fn checked_baggage(headers: &HeaderMap) -> Result<Option<HeaderValue>, Error> {
    let mut values = headers.get_all(BAGGAGE).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let joined = match values.next() {
        None => first.clone(),
        Some(second) => {
            let all: Vec<_> = [first, second]
                .into_iter()
                .chain(values)
                .map(HeaderValue::as_bytes)
                .collect();
            HeaderValue::from_bytes(&all.join(&b',')).map_err(|error| refusal(&error))?
        }
    };
    let text = joined.to_str().map_err(|error| refusal(&error))?;
    baggage::validate(text).map_err(|error| refusal(&error))?;
    Ok(Some(joined))
}

fn refusal(error: &dyn std::error::Error) -> Error {
    Error::Text {
        http: StatusCode::BAD_REQUEST,
        text: format!("invalid baggage header: {error}"),
    }
}

/// The attributes that every span of this API has.
fn describe(span: &mut Span, call: &Call) {
    let request = &call.request;
    let method = request.method().as_str();
    span.set_attribute("dapr.protocol", "http");
    span.set_attribute("dapr.api", format!("{method} {}", request.uri().path()));
    span.set_attribute("http.request.method", method);
    span.set_attribute("url.full", request.uri().to_string());
    if let Some(remote) = call.context.remote {
        span.set_attribute("server.address", remote.ip().to_string());
        span.set_attribute("server.port", remote.port().to_string());
    }
    for name in request
        .headers()
        .keys()
        .filter(|name| name.as_str().starts_with("dapr-"))
    {
        let last = request.headers().get_all(name).iter().next_back();
        if let Some(value) = last.and_then(|value| value.to_str().ok()) {
            span.set_attribute(name.to_string(), value);
        }
    }
}
