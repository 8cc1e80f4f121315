//! The way of components to HTTP servers outside.

use std::sync::Arc;

use http::uri::PathAndQuery;
use outrigger_component::{HttpClient, SendHttp, Trust};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};
use rustls::crypto::CryptoProvider;

use crate::app::base::Base;
use crate::app::client::HttpVersion;
use crate::app::pool::PoolSettings;
use crate::app::{AppNetwork, Dialer, Tls, unverified};
use crate::invoke::{Clients, Redirects};

/// Sends requests by the sidecar's own client: its name look-ups, its trust in the roots of the system.
#[derive(Debug)]
struct Outside {
    clients: Clients,
    /// Opens connections to servers that another trust is for.
    dialer: Dialer,
    crypto: Arc<CryptoProvider>,
}

/// Most bytes of the head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// A client for all components of a run.
pub(crate) fn client(network: &AppNetwork) -> HttpClient {
    let dialer = network
        .dialer()
        .with_tls(Tls::system(&network.crypto))
        .with_proxies(&network.proxies);
    HttpClient::new(Arc::new(Outside::new(dialer, Arc::clone(&network.crypto))))
}

// === impl Outside ===

impl Outside {
    fn new(dialer: Dialer, crypto: Arc<CryptoProvider>) -> Self {
        let settings = PoolSettings {
            max_head: MAX_HEAD,
            ..PoolSettings::default()
        };
        Self {
            clients: Clients::new(HttpVersion::Http1, dialer.clone(), settings),
            dialer,
            crypto,
        }
    }

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
        match self.clients.send(&base, request, Redirects::Follow).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(failure) => Err(failure.into_request_error(|| (method, url)).into()),
        }
    }
}

impl SendHttp for Outside {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(self.exchange(request))
    }

    fn trusting(&self, trust: &Trust) -> Result<Arc<dyn SendHttp>, BoxError> {
        let mut dialer = self.dialer.clone();
        if trust.is_blind {
            dialer = dialer.with_tls(Tls::of(unverified(&self.crypto, &[])));
        } else if let Some(roots) = &trust.roots {
            dialer = dialer.with_tls(Tls::with_roots(&self.crypto, roots)?);
        }
        if let Some(name) = &trust.server_name {
            dialer = dialer.with_server_name(name);
        }
        Ok(Arc::new(Self::new(dialer, Arc::clone(&self.crypto))))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use outrigger_telemetry::metrics::Metrics;

    use super::*;
    use crate::app::testing::{network, start_secure, text};

    async fn fetch(http: &HttpClient, server: SocketAddr) -> Result<String, BoxError> {
        let request = http::Request::get(format!("https://{server}/a%7Cb")).body(Body::empty())?;
        Ok(text(http.send(request).await?.into_body()).await)
    }

    #[tokio::test]
    async fn a_server_is_believed_by_its_roots_and_name() {
        let (server, root) = start_secure("vault.example").await;
        let http = client(&network(Metrics::disabled()));
        let trust = |roots: Option<&str>, is_blind, name: Option<&str>| Trust {
            roots: roots.map(str::to_owned),
            is_blind,
            server_name: name.map(str::to_owned),
        };
        let named = Some("vault.example");
        for (trust, is_believed) in [
            (trust(Some(&root), false, named), true),
            (trust(Some(&root), false, None), false),
            (trust(None, false, named), false),
            (trust(None, true, None), true),
        ] {
            let answer = fetch(&http.trusting(&trust).unwrap(), server).await;
            assert_eq!(answer.is_ok(), is_believed, "{trust:?}: {answer:?}");
            if let Ok(text) = answer {
                assert!(
                    text.starts_with("GET /a%7Cb\n"),
                    "targets are not touched: {text}"
                );
            }
        }
        assert!(fetch(&http, server).await.is_err());
        let error = http
            .trusting(&trust(Some(""), false, None))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "no certificate in the PEM text of roots");
    }
}
