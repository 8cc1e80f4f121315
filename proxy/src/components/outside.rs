//! The way of components to HTTP servers outside.

use std::sync::Arc;

use http::uri::PathAndQuery;
use outrigger_component::{HttpClient, SendHttp};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};

use crate::app::base::Base;
use crate::app::client::HttpVersion;
use crate::app::pool::PoolSettings;
use crate::app::{AppNetwork, Tls};
use crate::invoke::{Clients, Redirects};

/// Sends requests by the sidecar's own client: its name look-ups, its trust in the roots of the system.
#[derive(Debug)]
struct Outside(Clients);

/// Most bytes of the head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// A client for all components of a run.
pub(crate) fn client(network: &AppNetwork) -> HttpClient {
    let dialer = network
        .dialer()
        .with_tls(Tls::system(&network.crypto))
        .with_proxies(&network.proxies);
    let settings = PoolSettings {
        max_head: MAX_HEAD,
        ..PoolSettings::default()
    };
    HttpClient::new(Arc::new(Outside(Clients::new(
        HttpVersion::Http1,
        dialer,
        settings,
    ))))
}

// === impl Outside ===

impl Outside {
    async fn exchange(&self, mut request: Request) -> Result<Response, BoxError> {
        let url = request.uri().to_string();
        let method = request.method().clone();
        let parts = request.uri().clone().into_parts();
        let origin = match (&parts.scheme, &parts.authority) {
            (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
            _ => return Err(format!("unsupported protocol scheme in \"{url}\"").into()),
        };
        let base = Base::parse(&origin).map_err(|error| error.to_string())?;
        let target = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
        *request.uri_mut() = target.into();
        match self.0.send(&base, request, Redirects::Follow).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(failure) => Err(failure.into_request_error(|| (method, url)).into()),
        }
    }
}

impl SendHttp for Outside {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(self.exchange(request))
    }
}
