//! Cross-origin requests of browsers.
//!
//! Source: specification, HTTP API 4.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{Either, Ready, ready as resolved};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};
use outrigger_svc::{Body, Layer, Response, Service, layer_fn};
use pin_project_lite::pin_project;

use super::Call;

/// Answers preflight requests and marks answers that a browser may read.
#[derive(Clone, Debug)]
pub(crate) struct Cors<S> {
    inner: S,
    origins: Option<Arc<AllowedOrigins>>,
}

/// The origins that may call, from a comma-separated list in which each entry may hold one `*`.
#[derive(Clone, Debug)]
pub(crate) struct AllowedOrigins {
    any: bool,
    patterns: Vec<(String, Option<String>)>,
}

pin_project! {
    /// The answer of [`Cors`].
    #[derive(Debug)]
    pub(crate) struct CorsFuture<F> {
        #[pin]
        inner: F,
        marks: Option<Marks>,
    }
}

/// What an answer is marked with.
#[derive(Debug)]
struct Marks {
    allowed_origin: Option<HeaderValue>,
}

const METHODS: [&str; 7] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

// === impl AllowedOrigins ===

impl AllowedOrigins {
    /// Reads the list; none if it is empty, which turns the whole layer off.
    #[must_use]
    pub(crate) fn parse(list: &str) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        let entries: Vec<_> = list
            .split(',')
            .map(|entry| entry.trim().to_ascii_lowercase())
            .collect();
        let any = entries.iter().any(|entry| entry == "*");
        let patterns = entries.into_iter().map(|entry| match entry.split_once('*') {
            Some((start, end)) => (start.to_owned(), Some(end.to_owned())),
            None => (entry, None),
        });
        Some(Self {
            any,
            patterns: patterns.collect(),
        })
    }

    /// What `Access-Control-Allow-Origin` says to this origin.
    fn answer(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        let matches = |(start, end): &(String, Option<String>)| match end {
            None => *start == text,
            Some(end) => {
                text.len() >= start.len() + end.len()
                    && text.starts_with(start)
                    && text.ends_with(end.as_str())
            }
        };
        self.patterns.iter().any(matches).then(|| origin.clone())
    }
}

// === impl Cors ===

impl<S> Cors<S> {
    /// The layer; without origins it does nothing.
    pub(crate) fn layer(origins: Option<AllowedOrigins>) -> impl Layer<S, Service = Self> + Clone {
        let origins = origins.map(Arc::new);
        layer_fn(move |inner| Self {
            inner,
            origins: origins.clone(),
        })
    }
}

impl<S> Service<Call> for Cors<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<CorsFuture<S::Future>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Some(origins) = &self.origins else {
            return Either::Left(CorsFuture {
                inner: self.inner.call(call),
                marks: None,
            });
        };
        let headers = call.request.headers();
        let allowed_origin = headers.get(ORIGIN).and_then(|origin| origins.answer(origin));
        let asked = headers
            .get(ACCESS_CONTROL_REQUEST_METHOD)
            .filter(|method| !method.is_empty());
        if call.request.method() == Method::OPTIONS
            && let Some(method) = asked
        {
            return Either::Right(resolved(Ok(preflight(headers, method, allowed_origin))));
        }
        Either::Left(CorsFuture {
            inner: self.inner.call(call),
            marks: Some(Marks { allowed_origin }),
        })
    }
}

impl<F> Future for CorsFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut outcome
            && let Some(marks) = this.marks.take()
        {
            let headers = response.headers_mut();
            headers.append(VARY, HeaderValue::from_static("Origin"));
            if let Some(origin) = marks.allowed_origin {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            }
        }
        Poll::Ready(outcome)
    }
}

/// A preflight is answered here whatever the outcome.
fn preflight(asked: &HeaderMap, method: &HeaderValue, allowed: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    for name in [
        "Origin",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
    ] {
        headers.append(VARY, HeaderValue::from_static(name));
    }
    let is_known = METHODS
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(method.as_bytes()));
    if let Some(origin) = allowed.filter(|_| is_known) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(list) = asked
            .get(ACCESS_CONTROL_REQUEST_HEADERS)
            .filter(|list| !list.is_empty())
        {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, list.clone());
        }
    }
    response
}
