//! What tests of components need of a sidecar. Never part of a program.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response, collect_limited};
use tokio::time::Instant;

use crate::{Condition, HttpClient, Init, Properties, SendHttp};

/// All servers that can be reached: a function that answers each request.
pub struct Server {
    answer: Option<Box<Reply>>,
    asked: Mutex<Vec<Asked>>,
}

/// A request as a server got it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// Its body.
    pub body: String,
}

/// Status, headers and body of an answer.
pub type Told = (u16, Vec<(&'static str, &'static str)>, String);

type Reply = dyn Fn(&Asked, usize) -> Told + Send + Sync;

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

// === impl Server ===

impl Server {
    /// A server that answers as a function says, which is told the number of the request too.
    #[must_use]
    pub fn new(answer: impl Fn(&Asked, usize) -> Told + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            answer: Some(Box::new(answer)),
            asked: Mutex::default(),
        })
    }

    /// A server whose connections break.
    #[must_use]
    pub fn broken() -> Arc<Self> {
        Arc::new(Self {
            answer: None,
            asked: Mutex::default(),
        })
    }

    /// The way to it.
    #[must_use]
    pub fn client(self: &Arc<Self>) -> HttpClient {
        HttpClient::new(Arc::clone(self) as Arc<dyn SendHttp>)
    }

    /// The requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(&self, request: Request) -> Result<Response, BoxError> {
        let (head, body) = request.into_parts();
        let body = collect_limited(body, 1 << 20).await?;
        let asked = Asked {
            method: head.method.to_string(),
            url: head.uri.to_string(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec())?,
        };
        let count = {
            let mut all = self.all();
            all.push(asked.clone());
            all.len()
        };
        let answer = self.answer.as_ref().ok_or("connection reset by peer")?;
        let (status, headers, body) = answer(&asked, count);
        let response = http::Response::builder().status(status);
        let response = headers
            .into_iter()
            .fold(response, |response, (name, value)| response.header(name, value));
        Ok(response.body(Body::from(body))?)
    }
}

impl SendHttp for Server {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(self.exchange(request))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
