//! Every way through the sidecar, and nothing else.
//!
//! ```text
//! app ──HTTP──▶ api_http ─┐                           ┌─▶ Invoker ─▶ Peers ═══mTLS h2═══▶ peer's internal
//! app ──gRPC──▶ api_grpc ─┼─▶ routes ─▶ operation ────┼─▶ own app │ HTTPEndpoint │ URL
//!                         │                           └─▶ metadata │ health │ shutdown │ building blocks
//! app ──gRPC, another service, dapr-app-id──▶ passthrough ═══frames, unchanged═══▶ peer's internal
//! peer ═══mTLS h2═══▶ internal ─▶ access ─▶ app channel ─▶ app (HTTP/1.1 │ HTTPS │ h2c │ gRPC)
//! kubelet ──▶ public_http (no token, no middleware)          Prometheus ──▶ metrics port
//! ```
//!
//! A stack is read from the bottom up: the last layer pushed meets the request first. Each worker builds its
//! own, so that nothing is shared between cores.

use std::sync::Arc;

use outrigger_svc::stack;

use crate::grpc_api;
use crate::http_api::{
    BodyLimit, Cors, LogCalls, Measure, Open, RequireToken, Rescue, Routes, Trace, UserMiddleware,
};
use crate::internal::Internal;
use crate::runtime::{Runtime, WorkerParts};
use crate::serve::HttpService;

/// Answers the calls of other sidecars; what is no service invocation goes to the gRPC routes.
pub(crate) type InternalServer = Arc<Internal<HttpService>>;

/// App → sidecar over HTTP: the whole API, for the own app.
pub(crate) fn api_http(rt: &Runtime, worker: &WorkerParts) -> HttpService {
    stack(Routes::new(rt.api_routes(worker))) // path → operation → answer; what fits no route is invocation
        .push(Rescue::layer(rt.metrics.clone())) // the only place where an error becomes a response
        .push(LogCalls::layer(rt.api_logging, rt.api_router()))
        .push(UserMiddleware::layer(rt.http_handlers.clone())) // httpPipeline of the Configuration
        .push(RequireToken::layer(rt.api_token.clone()))
        .push(Cors::layer(rt.allowed_origins.clone())) // preflights carry no token
        .push(Measure::layer(rt.http_metrics()))
        .push(Trace::layer(rt.tracer.clone()))
        .push(BodyLimit::layer(rt.max_body))
        .push(Open::layer()) // cleans the path, once, for routing, logs and labels
        .boxed()
}

/// Kubelet → sidecar over HTTP: health and metadata only.
pub(crate) fn public_http(rt: &Runtime) -> HttpService {
    stack(Routes::new(rt.public_routes()))
        .push(Rescue::layer(rt.metrics.clone()))
        .push(Measure::layer(rt.http_metrics()))
        .push(Trace::layer(rt.tracer.clone()))
        .push(Open::layer())
        .boxed()
}

/// App → sidecar over gRPC: the Dapr service, and the way through to the services of other apps.
pub(crate) fn api_grpc(rt: &Runtime, worker: &WorkerParts) -> HttpService {
    grpc_api::public(
        rt.backend(worker),
        rt.network(worker),
        &rt.grpc,
        rt.tracer.clone(),
        rt.metrics.clone(),
    )
}

/// Peer → sidecar over the link: service invocation, and the way through to the services of the own app.
pub(crate) fn internal(rt: &Runtime, worker: &WorkerParts) -> InternalServer {
    let other = grpc_api::internal(
        rt.network(worker),
        &rt.grpc,
        rt.tracer.clone(),
        rt.metrics.clone(),
    );
    Arc::new(Internal::new(rt.internal_parts(worker), other))
}
