//! From a method's path to who answers it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use outrigger_api::durabletask::task_hub_sidecar_service_server as hub;
use outrigger_api::runtime::dapr_server;
use outrigger_svc::{Body, BoxFuture, Response, Service};
use tonic::codec::CompressionEncoding;

use super::call::{Call, MethodKind, Methods};
use super::dapr::DaprApi;
use super::hub::TaskHub;
use super::invoke::InvokeService;
use super::reflection::{self, Reflection};
use super::{Backend, GrpcSettings};
use crate::passthrough::{Network, Passthrough};

/// Path of the one method that is not served by tonic: its answers have trailers and any status number.
pub(crate) const INVOKE_SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";
/// Beginning of the paths of the workflow hub, which has no package.
pub(crate) const HUB: &str = "/TaskHubSidecarService/";

/// The services of the public server; everything else is passed through to the app it is for.
#[derive(Debug)]
pub(crate) struct Routes<B, N> {
    dapr: dapr_server::DaprServer<DaprApi<B>>,
    hub: hub::TaskHubSidecarServiceServer<TaskHub>,
    invoke: InvokeService<B>,
    reflection: Reflection,
    passthrough: Passthrough<N>,
}

/// Names of the services that the public server lists.
const SERVICES: [&str; 2] = [hub::SERVICE_NAME, dapr_server::SERVICE_NAME];

// === impl Routes ===

impl<B: Backend, N: Network> Routes<B, N> {
    /// The routes of the public server.
    pub(crate) fn new(backend: B, network: N, settings: &GrpcSettings) -> Self {
        let limit = settings.max_message_size;
        // What is sent is limited in `MessageLimit`, with the text that clients know.
        let dapr = dapr_server::DaprServer::new(DaprApi::new(backend.clone()))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limit);
        let hub = hub::TaskHubSidecarServiceServer::new(TaskHub)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limit);
        Self {
            dapr,
            hub,
            invoke: InvokeService::new(backend, limit),
            reflection: Reflection::of(&SERVICES),
            passthrough: Passthrough::new(network),
        }
    }

    /// The methods that these routes know.
    pub(crate) fn methods() -> Methods {
        Methods::of(&SERVICES)
    }
}

impl<B: Backend, N: Network> Service<Call> for Routes<B, N> {
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
        let Call {
            mut request, facts, ..
        } = call;
        request.extensions_mut().insert(facts);
        match request.uri().path() {
            INVOKE_SERVICE => self.invoke.call(request),
            path if path.starts_with(HUB) => from_tonic(self.hub.call(request)),
            path if reflection::METHODS.contains(&path) => self.reflection.call(request),
            _ => from_tonic(self.dapr.call(request)),
        }
    }
}

impl<B: Backend, N: Network> Clone for Routes<B, N> {
    fn clone(&self) -> Self {
        Self {
            dapr: self.dapr.clone(),
            hub: self.hub.clone(),
            invoke: self.invoke.clone(),
            reflection: self.reflection.clone(),
            passthrough: self.passthrough.clone(),
        }
    }
}

fn from_tonic<F>(answer: F) -> BoxFuture<'static, Result<Response, Infallible>>
where
    F: Future<Output = Result<http::Response<tonic::body::Body>, Infallible>> + Send + 'static,
{
    Box::pin(async { answer.await.map(|response| response.map(Body::new)) })
}
