//! The internal server beside service invocation: reflection, and the way through to the own app.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use outrigger_api::internals::service_invocation_server::SERVICE_NAME;
use outrigger_error::Error;
use outrigger_svc::{BoxFuture, BoxedService, Request, Response, Service, stack};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::Tracer;

use super::call::{Call, MethodKind, Methods};
use super::reflection::{self, Reflection};
use super::{GrpcSettings, Measure, MessageLimit, Open, Trace, answer, status};
use crate::passthrough::{Network, Passthrough};

/// What peers may call that is no service invocation.
#[derive(Clone, Debug)]
struct Routes<N> {
    reflection: Reflection,
    passthrough: Passthrough<N>,
}

const SERVICES: [&str; 1] = [SERVICE_NAME];

/// The way of such a call through the internal server. Read from the bottom up.
pub(crate) fn internal<N: Network>(
    network: N,
    settings: &GrpcSettings,
    tracer: Tracer,
    metrics: Metrics,
) -> BoxedService<Request, Response, Infallible> {
    stack(Routes {
        reflection: Reflection::of(&SERVICES),
        passthrough: Passthrough::new(network),
    })
    .push(MessageLimit::layer(settings.max_message_size))
    .push(Measure::layer(metrics))
    .push(Trace::layer(tracer, Arc::clone(&settings.app_id)))
    .push(Open::layer(Methods::of(&SERVICES)))
    .boxed()
}

// === impl Routes ===

impl<N: Network> Service<Call> for Routes<N> {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if call.kind == MethodKind::Foreign {
            return self.passthrough.call(call);
        }
        if reflection::METHODS.contains(&call.request.uri().path()) {
            return self.reflection.call(call.request);
        }
        // Service invocation has been answered before; what is left are the calls of actors.
        let refusal = status(&Error::ActorNoPlacement);
        Box::pin(std::future::ready(Ok(answer(&refusal))))
    }
}
