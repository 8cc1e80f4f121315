//! Server reflection, in both versions that clients speak.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use outrigger_api::DESCRIPTORS;
use outrigger_svc::{Body, BoxFuture, BoxedService, Request, Response, Service, ServiceExt, stack};
use tonic_reflection::server::Builder;

/// The methods of server reflection.
pub(crate) const METHODS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Tells clients about the services of a server.
///
/// The descriptors are decoded when the first client asks: most sidecars are never asked.
#[derive(Clone, Debug)]
pub(crate) struct Reflection {
    services: &'static [&'static str],
    servers: Arc<OnceLock<Servers>>,
}

/// One server for each version.
#[derive(Clone, Debug)]
struct Servers {
    v1: BoxedService<Request, Response, Infallible>,
    v1alpha: BoxedService<Request, Response, Infallible>,
}

// === impl Reflection ===

impl Reflection {
    /// Reflection that lists these services and itself, and knows every message of the contracts.
    pub(crate) fn of(services: &'static [&'static str]) -> Self {
        Self {
            services,
            servers: Arc::default(),
        }
    }

    /// Answers a call of one of [`METHODS`].
    pub(crate) fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Infallible>> {
        let servers = self.servers.get_or_init(|| Servers::of(self.services));
        let [v1, _] = METHODS;
        let service = if request.uri().path() == v1 {
            &servers.v1
        } else {
            &servers.v1alpha
        };
        Box::pin(service.clone().oneshot(request))
    }
}

// === impl Servers ===

impl Servers {
    fn of(services: &[&str]) -> Self {
        let reflections = [
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ];
        let listed = || {
            let builder = Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
            services
                .iter()
                .chain(&reflections)
                .fold(builder, |builder, name| builder.with_service_name(*name))
        };
        // Either version describes both.
        let v1 = listed()
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the generated descriptors decode");
        let v1alpha = listed()
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .build_v1alpha()
            .expect("the generated descriptors decode");
        Self {
            v1: boxed(v1),
            v1alpha: boxed(v1alpha),
        }
    }
}

fn boxed<S>(service: S) -> BoxedService<Request, Response, Infallible>
where
    S: Service<Request, Response = http::Response<tonic::body::Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    stack(service.map_response(|response| response.map(Body::new))).boxed()
}
