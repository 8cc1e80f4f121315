//! What tests of components need of a sidecar. Never part of a program.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};
use tokio::time::Instant;

use crate::{Condition, HttpClient, Init, Properties, SendHttp};

/// Sends requests over the network, without TLS and without proxies.
#[derive(Clone, Debug)]
struct Plain(Client<HttpConnector, Body>);

/// Time in which a component has to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A way to servers that speak HTTP without TLS.
#[must_use]
pub fn http_client() -> HttpClient {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    HttpClient::new(Arc::new(Plain(client)))
}

/// What a component with these settings is made from, in a sidecar that reaches servers without TLS.
#[must_use]
pub fn init(properties: Properties) -> Init {
    init_with(http_client(), properties)
}

/// What a component with these settings is made from, in a sidecar with this way to servers.
#[must_use]
pub fn init_with(http: HttpClient, properties: Properties) -> Init {
    Init {
        name: "component".into(),
        log_name: "component (type/v1)".into(),
        app_id: "app".into(),
        namespace: "default".into(),
        properties,
        deadline: Instant::now() + PATIENCE,
        http,
        condition: Condition::default(),
    }
}

// === impl Plain ===

impl SendHttp for Plain {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async move {
            let response = self.0.request(request).await?;
            Ok(response.map(Body::new))
        })
    }
}
