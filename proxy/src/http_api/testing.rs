//! The whole API in one process, without a listener.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::Method;
use outrigger_svc::{
    Body, BoxedService, CallContext, Request, Response, ServiceExt, Surface, collect_limited, stack,
};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::Tracer;

use super::{
    AllowedOrigins, ApiLogging, ApiRules, Blocks, BodyLimit, Cors, LogCalls, Measure, Open, Port,
    RequireToken, Rescue, RouteParts, Router, Routes, ShutdownHook, ShutdownKind, Trace, UserMiddleware,
};
use crate::blocks::BuildingBlocks;
use crate::components::Handlers;
use crate::health::Health;
use crate::invoke::{HttpInvoke, Invoker};
use crate::metadata::{MetadataStore, SidecarMetadata};

/// The API of the app `caller` and what it is made of.
pub(crate) struct Api {
    pub(crate) health: Health,
    pub(crate) metadata: MetadataStore,
    pub(crate) shutdowns: Arc<Mutex<Vec<ShutdownKind>>>,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) token: Option<&'static str>,
    pub(crate) origins: &'static str,
    pub(crate) limit: Option<u64>,
    pub(crate) logging: Option<ApiLogging>,
    pub(crate) rules: ApiRules,
    pub(crate) handlers: Handlers,
    pub(crate) port: Port,
    pub(crate) invoker: Option<Invoker>,
    pub(crate) building_blocks: BuildingBlocks,
}

/// An answer, read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

// === impl Api ===

impl Api {
    /// An API with nothing switched on but pass-through tracing.
    pub(crate) fn new(invoker: Option<Invoker>) -> Self {
        let metadata = SidecarMetadata {
            id: "caller".to_owned(),
            runtime_version: "edge".to_owned(),
            ..SidecarMetadata::default()
        };
        Self {
            health: Health::new(),
            metadata: MetadataStore::new(metadata),
            shutdowns: Arc::default(),
            metrics: Metrics::disabled(),
            tracer: Tracer::pass_through(),
            token: None,
            origins: "",
            limit: None,
            logging: None,
            rules: ApiRules::default(),
            handlers: Handlers::default(),
            port: Port::Api,
            invoker,
            building_blocks: BuildingBlocks::default(),
        }
    }

    /// The pipeline, as the sidecar builds it.
    pub(crate) fn service(&self) -> BoxedService<Request, Response, Infallible> {
        let router = Arc::new(Router::new(&self.rules, self.port));
        let told = Arc::clone(&self.shutdowns);
        let invoke = self
            .invoker
            .clone()
            .map(|invoker| HttpInvoke::new(invoker, self.metrics.clone()));
        let parts = RouteParts {
            router: Arc::clone(&router),
            invoke: invoke.filter(|_| self.port == Port::Api),
            health: self.health.clone(),
            metadata: self.metadata.clone(),
            shutdown: ShutdownHook::new(move |kind| told.lock().unwrap().push(kind)),
            blocks: Blocks {
                building_blocks: self.building_blocks.clone(),
                app_id: "caller".into(),
                namespace: "default".into(),
            },
        };
        let metrics = self.metrics.is_enabled().then(|| self.metrics.clone());
        stack(Routes::new(parts))
            .push(Rescue::layer(self.metrics.clone()))
            .push(LogCalls::layer(self.logging, router))
            .push(UserMiddleware::layer(self.handlers.clone()))
            .push(RequireToken::layer(self.token.map(Arc::from)))
            .push(Cors::layer(AllowedOrigins::parse(self.origins)))
            .push(Measure::layer(metrics))
            .push(Trace::layer(self.tracer.clone()))
            .push(BodyLimit::layer(self.limit))
            .push(Open::layer())
            .boxed()
    }

    /// Sends a request through the pipeline and reads the answer to its end.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        Answer::read(self.pass(request).await).await
    }

    /// `GET` of which the body is still to be read.
    pub(crate) async fn open(&self, uri: &str) -> Response {
        self.pass(http::Request::get(uri).body(Body::empty()).unwrap())
            .await
    }

    async fn pass(&self, mut request: Request) -> Response {
        let remote = Some("192.0.2.9:4711".parse().unwrap());
        request.extensions_mut().insert(CallContext {
            surface: Surface::Api,
            remote,
            peer: None,
        });
        self.service()
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {})
    }

    /// Sends a request with these headers.
    pub(crate) async fn call(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = http::Request::builder()
            .method(method.parse::<Method>().unwrap())
            .uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-length", body.len());
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// `GET` without headers.
    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.call("GET", uri, &[], "").await
    }
}

// === impl Answer ===

impl Answer {
    async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        headers.sort();
        let body = collect_limited(body, 1 << 30).await.unwrap();
        Self {
            status: head.status.as_u16(),
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Status and body.
    pub(crate) fn short(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}
