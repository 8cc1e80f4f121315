//! The outermost layer: takes a request from a listener and finds the path that decides its route.
//!
//! The routing path is the *escaped* path with dot segments resolved, slashes collapsed and the trailing
//! slash removed. Percent-encoded dots and slashes stay; the original path stays with the request.
//!
//! Source: specification, HTTP API 2.

use std::borrow::Cow;
use std::convert::Infallible;
use std::task::{Context, Poll};

use outrigger_kit::path;
use outrigger_svc::{CallContext, Layer, Request, Response, Service, layer_fn};

use super::Call;

/// Opens a [`Call`] for each request.
#[derive(Clone, Debug)]
pub(crate) struct Open<S> {
    inner: S,
}

// === impl Open ===

impl<S> Open<S> {
    /// The layer; the listener has put the [`CallContext`] into the extensions of each request.
    pub(crate) fn layer() -> impl Layer<S, Service = Self> + Clone {
        layer_fn(|inner| Self { inner })
    }
}

impl<S> Service<Request> for Open<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let context = request.extensions_mut().remove::<CallContext>();
        let context = context.expect("the listener sets the call context");
        let path = request.uri().path();
        let route_path = match path::clean(path) {
            Cow::Borrowed(_) => None,
            Cow::Owned(cleaned) => Some(cleaned.into_boxed_str()),
        };
        self.inner.call(Call::new(request, context, route_path))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::ready;
    use outrigger_svc::{Body, ServiceExt, Surface, stack};

    use super::*;

    async fn route_of(uri: &str) -> String {
        let echo = tower::service_fn(|call: Call| {
            ready(Ok(Response::new(Body::from(format!(
                "{} {}",
                call.route_path(),
                call.request.uri().path()
            )))))
        });
        let service = stack(echo).push(Open::layer()).into_inner();
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        request.extensions_mut().insert(CallContext {
            surface: Surface::Api,
            remote: None,
            peer: None,
        });
        let response = service.oneshot(request).await.unwrap();
        let status = response.status();
        let body = outrigger_svc::collect_limited(response.into_body(), 1024)
            .await
            .unwrap();
        format!(
            "{} {}",
            status.as_u16(),
            String::from_utf8_lossy(&body).trim_end()
        )
    }

    #[tokio::test]
    async fn routes_are_decided_on_the_cleaned_escaped_path() {
        let table = [
            ("/v1.0/state/s/k", "200 /v1.0/state/s/k /v1.0/state/s/k"),
            (
                "/v1.0//state/./s/../t/k/",
                "200 /v1.0/state/t/k /v1.0//state/./s/../t/k/",
            ),
            (
                "/v1.0/state/s/%2e%2E%2f",
                "200 /v1.0/state/s/%2e%2E%2f /v1.0/state/s/%2e%2E%2f",
            ),
            ("/../x", "200 /x /../x"),
            ("/", "200 / /"),
            ("//", "200 / //"),
            ("/x/%zz/", "200 /x/%zz /x/%zz/"),
        ];
        for (uri, expected) in table {
            assert_eq!(route_of(uri).await, expected, "{uri}");
        }
    }
}
