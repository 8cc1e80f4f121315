//! Service invocation: who is meant, where it is, and how the call gets there.
//!
//! ```text
//! HTTP ─▶ HttpInvoke ─┐               ┌─▶ own app channel        the target is the own app
//!                     ├─▶ Invoker ────┼─▶ Peers ═▶ peer sidecar  another app
//! gRPC InvokeService ─┘               └─▶ External ─▶ server     a URL, or the name of an HTTPEndpoint
//! ```
//!
//! Source: specification, service invocation.

mod clients;
mod entry;
mod external;
mod guarded;
mod known;
mod outcome;
mod status_json;
mod target;
#[cfg(test)]
pub(crate) mod testing;
mod way;

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outrigger_config::daprd::AppProtocol;
use outrigger_kit::method;

use outrigger_link::{CallError, Invocation, Metadata, Peers, Reply, Retries, Status, Text, code};
use outrigger_resilience::{BuiltIn, Policies};
use outrigger_resolver::{Members, Request, ResolveError, Resolver};
use outrigger_telemetry::metrics::Kind;
use outrigger_telemetry::trace::TraceContext;
use tokio::time::Instant;

use self::external::External;
use self::known::{Known, KnownTargets};
use crate::app::{AppChannel, AppNetwork, Gate};

pub(crate) use self::clients::{Clients, Redirects};
pub(crate) use self::entry::HttpInvoke;
pub(crate) use self::external::{EndpointSettings, Endpoints};
pub(crate) use self::target::Target;
pub(crate) use self::target::TargetId;
pub(crate) use self::way::Way;

/// One worker's dispatcher of calls; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Invoker(Arc<Shared>);

/// What calls are dispatched with; shared by all workers.
#[derive(Clone)]
pub(crate) struct InvokerParts {
    /// Own app id.
    pub(crate) app_id: Arc<str>,
    /// Own namespace.
    pub(crate) namespace: Arc<str>,
    /// Finds other sidecars; none if there is no name resolution.
    pub(crate) resolver: Option<Resolver>,
    /// Calls other sidecars.
    pub(crate) peers: Peers,
    /// Own internal port, which resolvers of some kinds take for that of all sidecars.
    pub(crate) internal_port: u16,
    /// Host address that is advertised.
    pub(crate) host_address: String,
    /// Name of the host.
    pub(crate) host_name: String,
    /// Servers outside with a name.
    pub(crate) endpoints: Endpoints,
    /// Protocol of the own app, which decides how plain URLs are called.
    pub(crate) app_protocol: AppProtocol,
    /// The gate of calls to servers outside, which are counted apart from those of the app.
    pub(crate) external_gate: Gate,
    /// Timeouts, retries and circuit breakers of targets.
    pub(crate) policies: Policies,
    /// The network, and the metrics of calls.
    pub(crate) network: AppNetwork,
    /// Set when calls may be dispatched.
    pub(crate) ready: Readiness,
}

/// Whether calls may be dispatched yet; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

struct Shared {
    parts: InvokerParts,
    app: Option<AppChannel>,
    external: External,
    known: KnownTargets,
    forwarded: String,
}

const CALLER_APP_ID: &str = "dapr-caller-app-id";
const CALLER_NAMESPACE: &str = "dapr-caller-namespace";
const CALLEE_APP_ID: &str = "dapr-callee-app-id";
const DESTINATION_APP_ID: &str = "destination-app-id";

const LOG: &str = "dapr.runtime.direct_messaging";

// === impl Invoker ===

impl Invoker {
    /// A worker's dispatcher; `app` is the worker's channel to the own app, none without an app port.
    #[must_use]
    pub(crate) fn new(parts: InvokerParts, app: Option<AppChannel>) -> Self {
        let external = External::new(
            &parts.endpoints,
            parts.external_gate.clone(),
            parts.app_protocol,
            &parts.network,
        );
        let forwarded = forwarded(&parts.host_address, &parts.host_name);
        let known = KnownTargets::default();
        Self(Arc::new(Shared {
            parts,
            app,
            external,
            known,
            forwarded,
        }))
    }

    /// Whether calls may be dispatched.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.0.parts.ready.is_set()
    }

    /// Timeouts, retries and circuit breakers of targets.
    #[must_use]
    pub(crate) fn policies(&self) -> &Policies {
        &self.0.parts.policies
    }

    /// Whether the own app speaks HTTP.
    #[must_use]
    pub(crate) fn has_http_app(&self) -> bool {
        self.0.app.as_ref().is_some_and(AppChannel::is_http)
    }

    /// The way of a call to a sidecar of the app that `id` names.
    ///
    /// # Errors
    /// If it names no app, or the app has no known sidecar.
    pub(crate) async fn way_to(&self, id: &str) -> Result<Way, CallError> {
        let target = TargetId::parse(id).map_err(|error| CallError::text(error.to_string()))?;
        let TargetId::App { app_id, namespace } = target else {
            return Err(CallError::text(format!("invalid app id {id}")));
        };
        let Some(resolver) = &self.0.parts.resolver else {
            return Err(CallError::text("name resolver not initialized"));
        };
        let namespace = namespace.unwrap_or(&self.0.parts.namespace);
        self.0.way_to(resolver, app_id, namespace).await
    }

    /// Calls a method of the target that `id` names and returns when the answer has begun.
    ///
    /// # Errors
    /// If there is no answer of the target; the text is what clients see behind `failed to invoke, id: ..., err: `.
    pub(crate) async fn invoke(
        &self,
        id: &str,
        mut call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, CallError> {
        normalise(&mut call)?;
        let shared = &*self.0;
        let target = TargetId::parse(id).map_err(|error| CallError::text(error.to_string()))?;
        let Some(resolver) = &shared.parts.resolver else {
            return Err(CallError::text("name resolver not initialized"));
        };
        // What is not the way to another sidecar is boxed, so that it does not make every call's future larger.
        match target {
            TargetId::Url(url) => {
                call.stay_in_http();
                Box::pin(shared.external.call_url(url, call, trace)).await
            }
            TargetId::App { app_id, .. } if shared.external.has_endpoint(app_id) => {
                call.stay_in_http();
                Box::pin(shared.external.call_endpoint(app_id, call, trace)).await
            }
            TargetId::App { app_id, namespace } => {
                let namespace = namespace.unwrap_or(&shared.parts.namespace);
                shared.call_app(resolver, app_id, namespace, call, trace).await
            }
        }
    }
}

/// Brings the method into the form that is judged and sent.
///
/// # Errors
/// InvalidArgument `invalid method: ...`.
pub(crate) fn normalise(call: &mut Invocation) -> Result<(), Status> {
    let changed = match method::normalise(&call.method) {
        Ok(normal) if normal.len() == call.method.len() => None,
        Ok(normal) => Some(Text::from(normal)),
        Err(error) => {
            return Err(Status::new(
                code::INVALID_ARGUMENT,
                format!("invalid method: {error}"),
            ));
        }
    };
    if let Some(normal) = changed {
        call.method = normal;
    }
    Ok(())
}

// === impl Shared ===

impl Shared {
    async fn call_app(
        &self,
        resolver: &Resolver,
        app_id: &str,
        namespace: &str,
        mut call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, CallError> {
        // The own app is resolved like any other: a call to it fails where name resolution fails.
        let mut way = self.way_to(resolver, app_id, namespace).await?;
        if app_id == &*self.parts.app_id && namespace == &*self.parts.namespace {
            return Box::pin(self.call_own_app(call, trace)).await;
        }
        self.add_headers(&mut call.metadata, way.target());
        way.count_attempts();
        let began = Instant::now();
        let reply = self
            .parts
            .peers
            .call(&mut way, &mut call, self.retries(app_id), Some(trace))
            .await?;
        let series = &way.target().series;
        series.response_received(reply.status.code, Kind::Unary);
        series.response_latency(reply.status.code, began.elapsed());
        Ok(reply)
    }

    /// The retries that hold whatever the policies of the target are, unless a resource names the target.
    fn retries(&self, app_id: &str) -> Retries<'_> {
        let policies = &self.parts.policies;
        if policies.has_app(app_id) {
            return Retries::None;
        }
        match policies.replaced(BuiltIn::Service) {
            Some(retry) => Retries::Paused(&retry.pauses),
            None => Retries::BuiltIn,
        }
    }

    async fn way_to(&self, resolver: &Resolver, app_id: &str, namespace: &str) -> Result<Way, CallError> {
        let known = self.known.get(app_id, namespace, &self.parts.network.metrics);
        let request = Request {
            app_id,
            namespace,
            port: self.parts.internal_port,
        };
        if let Some(way) = resolver.with_known(&request, |members: &Members| known.way(members)) {
            return Ok(way);
        }
        // A search is rare: boxed, it does not make every call's future larger.
        let found = Box::pin(resolver.resolve(&request)).await;
        Ok(known.way(&found.map_err(unresolved)?))
    }

    async fn call_own_app(&self, mut call: Invocation, trace: &TraceContext) -> Result<Reply, CallError> {
        let Some(app) = &self.app else {
            return Err(CallError::text(
                "cannot invoke local endpoint: app channel not initialized",
            ));
        };
        // The caller is this very app: it must not pass for another one.
        for name in [CALLER_APP_ID, CALLER_NAMESPACE, CALLEE_APP_ID] {
            call.metadata.remove_ignoring_case(name);
        }
        call.metadata.set(CALLER_APP_ID, &*self.parts.app_id);
        call.metadata.set(CALLER_NAMESPACE, &*self.parts.namespace);
        call.metadata.set(CALLEE_APP_ID, &*self.parts.app_id);
        app.invoke(call, trace).await
    }

    /// Tells the callee by which way the call comes and who makes it.
    fn add_headers(&self, metadata: &mut Metadata, target: &Known) {
        metadata.push("X-Forwarded-For", &self.parts.host_address);
        metadata.push("X-Forwarded-Host", &self.parts.host_name);
        metadata.push("Forwarded", &self.forwarded);
        metadata.set(DESTINATION_APP_ID, &*target.app_id);
        metadata.set(CALLER_NAMESPACE, &*self.parts.namespace);
        metadata.set(CALLER_APP_ID, &*self.parts.app_id);
        metadata.set(CALLEE_APP_ID, &*target.app_id);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("app_id", &self.parts.app_id)
            .field("namespace", &self.parts.namespace)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

// === impl InvokerParts ===

impl fmt::Debug for InvokerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokerParts")
            .field("app_id", &self.app_id)
            .field("namespace", &self.namespace)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

// === impl Readiness ===

impl Readiness {
    /// Calls may be dispatched from now on.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether calls may be dispatched.
    #[must_use]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "a mapping of errors takes them by value"
)]
fn unresolved(error: ResolveError) -> CallError {
    CallError::text(error.to_string())
}

/// The value of the `Forwarded` header (RFC 7239); IPv6 addresses stand in brackets and quotes.
fn forwarded(address: &str, host_name: &str) -> String {
    let address = match address.parse::<Ipv6Addr>() {
        Ok(address) => format!("\"[{address}]\""),
        Err(_) => address.to_owned(),
    };
    format!("for={address};by={address};host={host_name}")
}

#[cfg(test)]
mod balance_tests;
#[cfg(test)]
mod tests;
