//! The way of the official clients to their servers.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient as SdkClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use outrigger_component::HttpClient;
use outrigger_svc::{Body, BoxError, collect_limited};

/// Hands requests of the official clients to the sidecar's own one.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    http: HttpClient,
    /// How long an answer is waited for, where the caller says so.
    patience: Option<Duration>,
}

/// Most bytes of an answer: a page of DynamoDB has at most 16 MiB, in base64.
const MAX_ANSWER: usize = 32 << 20;

// === impl Bridge ===

impl Bridge {
    pub(crate) fn new(http: HttpClient) -> Self {
        Self { http, patience: None }
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = request.into_parts();
        let Some(body) = body.bytes() else {
            return Err(ConnectorError::user("the body of a request is a stream".into()));
        };
        let request = http::Request::from_parts(head, Body::from(Bytes::copy_from_slice(body)));
        let fetch = async {
            let (head, body) = self.http.send(request).await?.into_parts();
            let body = collect_limited(body, MAX_ANSWER).await?;
            Ok::<_, BoxError>(http::Response::from_parts(head, SdkBody::from(body)))
        };
        let response = match self.patience {
            None => fetch.await,
            Some(patience) => tokio::time::timeout(patience, fetch)
                .await
                .map_err(|elapsed| ConnectorError::timeout(elapsed.into()))?,
        };
        let response = response.map_err(ConnectorError::io)?;
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

impl HttpConnector for Bridge {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

impl SdkClient for Bridge {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let connect = settings.connect_timeout().unwrap_or_default();
        SharedHttpConnector::new(Self {
            http: self.http.clone(),
            patience: settings.read_timeout().map(|read| connect + read),
        })
    }
}
