//! What the stacks of one run are made of, and how the gRPC surface reaches it.

use std::sync::Arc;

use http::request;
use outrigger_error::Error;
use outrigger_link::{CallError, Invocation, OpenStream, Peers, Reply, Status};
use outrigger_resilience::Policy;
use outrigger_svc::{Request, Response};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::{TraceContext, Tracer};

use crate::access::{AccessControl, Protocol, Subject};
use crate::app::{AppChannel, GrpcApp};
use crate::blocks::BuildingBlocks;
use crate::components::Handlers;
use crate::grpc_api::{Backend, GrpcSettings, Shutdown};
use crate::health::Health;
use crate::http_api::{AllowedOrigins, ApiLogging, Blocks, RouteParts, Router, ShutdownHook, ShutdownKind};
use crate::internal::InternalParts;
use crate::invoke::{HttpInvoke, Invoker, InvokerParts, Way};
use crate::metadata::MetadataStore;
use crate::passthrough::Network;
use crate::stop::{Stop, StopCause};

/// Everything that the stacks of one run share. Built once, when the configuration is known.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) app_id: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) health: Health,
    pub(crate) metadata: MetadataStore,
    pub(crate) stop: Stop,
    pub(crate) api_token: Option<Arc<str>>,
    pub(crate) api_logging: Option<ApiLogging>,
    pub(crate) allowed_origins: Option<AllowedOrigins>,
    pub(crate) max_body: Option<u64>,
    pub(crate) http_handlers: Handlers,
    pub(crate) building_blocks: BuildingBlocks,
    pub(crate) routers: Routers,
    pub(crate) grpc: GrpcSettings,
    pub(crate) invoker: InvokerParts,
    pub(crate) app: Option<AppChannel>,
    pub(crate) access: AccessControl,
}

/// The routes that the API rules have left, on either port.
#[derive(Clone, Debug)]
pub(crate) struct Routers {
    pub(crate) api: Arc<Router>,
    pub(crate) public: Arc<Router>,
}

/// What a worker has for itself: connections to the app, and the dispatch of calls.
#[derive(Clone, Debug)]
pub(crate) struct WorkerParts {
    app: Option<AppChannel>,
    invoker: Invoker,
}

/// The runtime behind the gRPC API.
#[derive(Clone, Debug)]
pub(crate) struct GrpcBackend {
    app_id: Arc<str>,
    namespace: Arc<str>,
    invoker: Invoker,
    building_blocks: BuildingBlocks,
    metadata: MetadataStore,
    metrics: Metrics,
    stop: Stop,
}

/// The apps and sidecars that gRPC calls pass through to.
#[derive(Clone, Debug)]
pub(crate) struct GrpcNetwork {
    app_id: Arc<str>,
    app: Option<GrpcApp>,
    invoker: Invoker,
    peers: Peers,
    access: AccessControl,
    metrics: Metrics,
}

// === impl Runtime ===

impl Runtime {
    /// The parts of one worker.
    pub(crate) fn worker(&self) -> WorkerParts {
        let app = self.app.as_ref().map(AppChannel::for_worker);
        let invoker = Invoker::new(self.invoker.clone(), app.clone());
        WorkerParts { app, invoker }
    }

    /// What the routes of the API port need.
    pub(crate) fn api_routes(&self, worker: &WorkerParts) -> RouteParts {
        let invoke = HttpInvoke::new(worker.invoker.clone(), self.metrics.clone());
        RouteParts {
            router: self.api_router(),
            invoke: Some(invoke),
            ..self.public_routes()
        }
    }

    /// What the routes of the public port need.
    pub(crate) fn public_routes(&self) -> RouteParts {
        let stop = self.stop.clone();
        RouteParts {
            router: Arc::clone(&self.routers.public),
            invoke: None,
            health: self.health.clone(),
            metadata: self.metadata.clone(),
            shutdown: ShutdownHook::new(move |kind| match kind {
                ShutdownKind::Graceful => stop.request(StopCause::Api),
                ShutdownKind::Forced => stop.request(StopCause::Forced),
            }),
            blocks: self.blocks(),
        }
    }

    /// The building blocks behind the HTTP API.
    fn blocks(&self) -> Blocks {
        Blocks {
            app_id: Arc::clone(&self.app_id),
            namespace: Arc::clone(&self.namespace),
            building_blocks: self.building_blocks.clone(),
        }
    }

    /// The routes of the API port.
    pub(crate) fn api_router(&self) -> Arc<Router> {
        Arc::clone(&self.routers.api)
    }

    /// Metrics of the HTTP ports; none while metrics are off.
    pub(crate) fn http_metrics(&self) -> Option<Metrics> {
        self.metrics.is_enabled().then(|| self.metrics.clone())
    }

    /// What answers calls of the gRPC API.
    pub(crate) fn backend(&self, worker: &WorkerParts) -> GrpcBackend {
        GrpcBackend {
            app_id: Arc::clone(&self.app_id),
            namespace: Arc::clone(&self.namespace),
            invoker: worker.invoker.clone(),
            building_blocks: self.building_blocks.clone(),
            metadata: self.metadata.clone(),
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Where gRPC calls pass through to.
    pub(crate) fn network(&self, worker: &WorkerParts) -> GrpcNetwork {
        GrpcNetwork {
            app_id: Arc::clone(&self.app_id),
            app: worker.app.as_ref().and_then(|app| app.grpc().cloned()),
            invoker: worker.invoker.clone(),
            peers: self.invoker.peers.clone(),
            access: self.access.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// What answers the calls of peers.
    pub(crate) fn internal_parts(&self, worker: &WorkerParts) -> InternalParts {
        InternalParts {
            app_id: Arc::clone(&self.app_id),
            app: worker.app.clone(),
            access: self.access.clone(),
            tracer: self.tracer.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

// === impl WorkerParts ===

impl WorkerParts {
    /// The worker's channel to the app.
    pub(crate) fn app(&self) -> Option<&AppChannel> {
        self.app.as_ref()
    }
}

// === impl GrpcBackend ===

impl Backend for GrpcBackend {
    fn is_ready(&self) -> bool {
        self.invoker.is_ready()
    }

    async fn invoke(&self, id: &str, call: Invocation, trace: &TraceContext) -> Result<Reply, CallError> {
        self.invoker.invoke(id, call, trace).await
    }

    fn policy<'a>(&'a self, id: &'a str, method: &str) -> Option<Policy<'a>> {
        let endpoint = || self.invoker.endpoint_text(id, method);
        self.invoker.policies().app(id, endpoint)
    }

    fn building_blocks(&self) -> &BuildingBlocks {
        &self.building_blocks
    }

    fn metadata(&self) -> &MetadataStore {
        &self.metadata
    }

    fn shut_down(&self, forced: Shutdown) {
        self.stop.request(match forced {
            Shutdown::Graceful => StopCause::Api,
            Shutdown::Forced => StopCause::Forced,
        });
    }

    fn has_http_app(&self) -> bool {
        self.invoker.has_http_app()
    }

    fn app_id(&self) -> &str {
        &self.app_id
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn count_error(&self, error: &Error) {
        self.metrics.error_code(error.face().code, error.category());
    }
}

// === impl GrpcNetwork ===

impl Network for GrpcNetwork {
    fn app_id(&self) -> &str {
        &self.app_id
    }

    fn permit(&self, peer: Option<&str>, operation: &str) -> Result<(), Status> {
        let subject = Subject {
            peer,
            operation,
            protocol: Protocol::Grpc,
        };
        self.access.permit(subject, &self.metrics)
    }

    fn app(&self) -> Option<&GrpcApp> {
        self.app.as_ref()
    }

    fn policy<'a>(&'a self, app_id: &'a str, method: &str) -> Option<Policy<'a>> {
        let endpoint = || format!("{app_id}:{method}");
        self.invoker.policies().app(app_id, endpoint)
    }

    async fn forward(&self, id: &str, request: Request) -> Result<Response, CallError> {
        let way = self.invoker.way_to(id).await?;
        Ok(self.peers.forward(way, request).await?)
    }

    async fn open(
        &self,
        id: &str,
        head: request::Parts,
        is_last: bool,
    ) -> Result<OpenStream<Way>, CallError> {
        let way = self.invoker.way_to(id).await?;
        Ok(self.peers.open_stream(way, head, is_last).await?)
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
