//! The outermost layer: takes a request from a listener, if it is a gRPC call at all.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use outrigger_link::{Status, code};
use outrigger_svc::{CallContext, Layer, Request, Response, Service, layer_fn};

use super::answer::answer;
use super::call::{Call, Facts, Methods};

/// Opens a [`Call`] for each request.
#[derive(Clone, Debug)]
pub(crate) struct Open<S> {
    inner: S,
    methods: Methods,
}

// === impl Open ===

impl<S> Open<S> {
    /// The layer; the listener has put the [`CallContext`] into the extensions of each request.
    pub(crate) fn layer(methods: Methods) -> impl Layer<S, Service = Self> + Clone {
        layer_fn(move |inner| Self {
            inner,
            methods: methods.clone(),
        })
    }
}

impl<S> Service<Request> for Open<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(refusal) = refusal(&request) {
            return Either::Right(ready(Ok(refusal)));
        }
        let context = request.extensions_mut().remove::<CallContext>();
        let context = context.expect("the listener sets the call context");
        let kind = self.methods.kind(request.uri().path());
        Either::Left(self.inner.call(Call {
            request,
            context,
            kind,
            facts: Facts::new(),
        }))
    }
}

/// The answer to what is no gRPC request.
fn refusal(request: &Request) -> Option<Response> {
    if request.method() != Method::POST {
        let text = format!(
            "Received a HEADERS frame with :method {:?} which should be POST",
            request.method().as_str()
        );
        return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, code::INTERNAL, text));
    }
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    if !path.starts_with('/') {
        // Routed without its slash, a method would escape the rules that are written with one.
        let text = format!("malformed method name: {}", outrigger_kit::quote::go_quote(path));
        return Some(answer(&Status::new(code::UNIMPLEMENTED, text)));
    }
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    if is_grpc(content_type) {
        return None;
    }
    let shown = outrigger_kit::quote::go_quote(&String::from_utf8_lossy(content_type));
    let text = format!("invalid gRPC request content-type {shown}");
    Some(refuse(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        code::INVALID_ARGUMENT,
        text,
    ))
}

fn refuse(http: StatusCode, code: i32, text: String) -> Response {
    let mut response = answer(&Status::new(code, text));
    *response.status_mut() = http;
    response
}

/// `application/grpc`, alone or with a subtype or parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.split_at_checked(b"application/grpc".len()) {
        Some((start, rest)) => {
            start.eq_ignore_ascii_case(b"application/grpc")
                && matches!(rest.first(), None | Some(b'+' | b';'))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_svc::{Body, ServiceExt, Surface, stack};

    use super::*;

    async fn open(method: Method, content_type: &'static str) -> Response {
        let ok = tower::service_fn(|_: Call| ready(Ok(answer(&Status::new(0, "")))));
        let service = stack(ok).push(Open::layer(Methods::of(&[]))).into_inner();
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        request
            .headers_mut()
            .insert(CONTENT_TYPE, content_type.parse().unwrap());
        request.extensions_mut().insert(CallContext {
            surface: Surface::Api,
            remote: None,
            peer: None,
        });
        let Ok(response) = service.oneshot(request).await;
        response
    }

    #[test]
    fn a_method_begins_with_a_slash() {
        for (path, refused) in [("/a.B/C", false), ("?/a.B/C", true), ("*", true)] {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = http::Uri::builder().path_and_query(path).build().unwrap();
            request
                .headers_mut()
                .insert(CONTENT_TYPE, "application/grpc".parse().unwrap());
            let refusal = refusal(&request);
            assert_eq!(refusal.is_some(), refused, "{path}");
            assert!(refusal.is_none_or(|answer| answer.headers()["grpc-status"] == "12"));
        }
    }

    #[tokio::test]
    async fn only_grpc_requests_are_calls() {
        let table = [
            (Method::POST, "application/grpc", 200, "0"),
            (Method::POST, "application/grpc+proto", 200, "0"),
            (Method::POST, "application/grpc;charset=utf-8", 200, "0"),
            (Method::POST, "application/grpc-web", 415, "3"),
            (Method::POST, "application/json", 415, "3"),
            (Method::GET, "application/grpc", 405, "13"),
        ];
        for (method, content_type, http, grpc) in table {
            let response = open(method, content_type).await;
            assert_eq!(response.status().as_u16(), http, "{content_type}");
            assert_eq!(response.headers()["grpc-status"], grpc, "{content_type}");
        }
    }
}
