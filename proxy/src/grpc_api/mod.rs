//! The public gRPC API: the Dapr service, the workflow hub, reflection, and the way through for everything else.
//!
//! ```text
//! listener ─▶ Open ─▶ Permit ─▶ RequireToken ─▶ Trace ─▶ Measure ─▶ LogCalls ─▶ MessageLimit ─▶ Routes
//!                                                                                                │
//!        Dapr (tonic) ◀─ InvokeService (own) ◀─ TaskHub, reflection (tonic) ◀─ passthrough ◀─────┘
//! ```
//!
//! Each layer is infallible: a refusal is an answer whose headers carry the status. What has no component or
//! service behind it answers as a sidecar without that component does.

mod absent;
mod answer;
mod call;
mod configuration;
mod crypto;
mod dapr;
mod frames;
mod hub;
mod internal;
mod invoke;
mod lock;
mod log;
mod measure;
mod metadata;
mod observe;
mod open;
mod reflection;
mod routes;
mod rules;
mod secrets;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod trace;

use std::convert::Infallible;
use std::sync::Arc;

use outrigger_error::Error;
use outrigger_link::{CallError, Invocation, Reply};
use outrigger_resilience::Policy;
use outrigger_svc::{BoxedService, Request, Response, stack};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::{TraceContext, Tracer};

use crate::blocks::BuildingBlocks;
use crate::metadata::MetadataStore;
use crate::passthrough::Network;

pub(crate) use answer::{answer, answer_with, status};
pub(crate) use call::{Call, target_of};
pub(crate) use frames::{MessageLimit, PREFIX, Scanner};
pub(crate) use internal::internal;
pub(crate) use invoke::framed;
pub(crate) use log::{ApiLog, LogCalls};
pub(crate) use measure::Measure;
pub(crate) use observe::{Observer, observe};
pub(crate) use open::Open;
pub(crate) use routes::Routes;
pub(crate) use rules::Permit;
pub(crate) use rules::{GrpcRule, GrpcRules};
pub(crate) use token::RequireToken;
pub(crate) use trace::{Trace, binary};

/// What the API asks of the runtime behind it.
pub(crate) trait Backend: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Whether apps can be invoked yet.
    fn is_ready(&self) -> bool;

    /// Calls a method of the app that `id` names, with all retries.
    ///
    /// # Errors
    /// When the app gave no answer; the text is the cause that clients see.
    fn invoke(
        &self,
        id: &str,
        call: Invocation,
        trace: &TraceContext,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// The policies of calls to a method of the app that `id` names, if any apply.
    fn policy<'a>(&'a self, id: &'a str, method: &str) -> Option<Policy<'a>> {
        let _ = (id, method);
        None
    }

    /// The operation layers of the building blocks.
    fn building_blocks(&self) -> &BuildingBlocks;

    /// What the sidecar tells about itself.
    fn metadata(&self) -> &MetadataStore;

    /// Ends the sidecar soon, or at once if `forced`.
    fn shut_down(&self, forced: Shutdown);

    /// Whether the own app speaks HTTP.
    fn has_http_app(&self) -> bool;

    /// Own app id.
    fn app_id(&self) -> &str;

    /// Namespace of the sidecar.
    fn namespace(&self) -> &str;

    /// Counts an error answer.
    fn count_error(&self, error: &Error);
}

/// How a sidecar is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// After what is in flight.
    Graceful,
    /// At once.
    Forced,
}

/// How the public server behaves.
#[derive(Clone)]
pub(crate) struct GrpcSettings {
    /// Own app id.
    pub(crate) app_id: Arc<str>,
    /// Most bytes of one message, in either direction.
    pub(crate) max_message_size: usize,
    /// Token that every call must bring.
    pub(crate) api_token: Option<Arc<str>>,
    /// Which methods may be called.
    pub(crate) rules: Arc<GrpcRules>,
    /// Whether calls are logged.
    pub(crate) log: ApiLog,
}

/// The way of a call through the public server. Read from the bottom up.
pub(crate) fn public<B: Backend, N: Network>(
    backend: B,
    network: N,
    settings: &GrpcSettings,
    tracer: Tracer,
    metrics: Metrics,
) -> BoxedService<Request, Response, Infallible> {
    stack(Routes::new(backend, network, settings))
        .push(MessageLimit::layer(settings.max_message_size))
        .push(LogCalls::layer(settings.log))
        .push(Measure::layer(metrics))
        .push(Trace::layer(tracer, Arc::clone(&settings.app_id)))
        .push(RequireToken::layer(settings.api_token.clone()))
        .push(Permit::layer(Arc::clone(&settings.rules)))
        .push(Open::layer(Routes::<B, N>::methods()))
        .boxed()
}

impl std::fmt::Debug for GrpcSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcSettings")
            .field("app_id", &self.app_id)
            .field("max_message_size", &self.max_message_size)
            .finish_non_exhaustive()
    }
}
