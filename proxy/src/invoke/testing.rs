//! Dispatchers and peers in one process, over loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_config::daprd::AppProtocol;
use outrigger_link::{LinkSettings, PeerSettings, Peers, Security, TcpConnect};
use outrigger_resilience::Policies;
use outrigger_resolver::{
    Answer, Endpoint, Endpoints as Found, Keep, NameResolver, Request as Lookup, ResolveError, Resolver,
};
use outrigger_svc::{Body, BoxFuture, CallContext, Drain, Request, Response, Surface};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::Tracer;
use tokio::net::TcpListener;

use super::{EndpointSettings, Endpoints, Invoker, InvokerParts, Readiness};
use crate::access::AccessControl;
use crate::app::{AppChannel, Gate, testing};
use crate::internal::{Internal, InternalParts};

/// The apps that exist, and where their sidecars listen; an app with several instances is listed for each.
struct Registry(Vec<(&'static str, SocketAddr)>);

impl NameResolver for Registry {
    fn resolve<'a>(&'a self, request: Lookup<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        let found = self.0.iter().filter(|(app_id, _)| *app_id == request.app_id);
        let found: Found = found
            .map(|(_, address)| Endpoint::new(address.to_string()))
            .collect();
        let answer = match found.is_empty() {
            false => Ok(Answer {
                endpoints: Arc::new(found),
                keep: Keep::Live,
            }),
            true => Err(ResolveError::NotFound(request.app_id.into())),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// The dispatcher of the app `caller`, which knows the given apps.
pub(crate) fn invoker(
    app: Option<AppChannel>,
    apps: &[(&'static str, SocketAddr)],
    endpoints: &[EndpointSettings],
    metrics: &Metrics,
) -> Invoker {
    guarded_invoker(app, apps, endpoints, metrics, Policies::default())
}

/// The same under policies.
pub(crate) fn guarded_invoker(
    app: Option<AppChannel>,
    apps: &[(&'static str, SocketAddr)],
    endpoints: &[EndpointSettings],
    metrics: &Metrics,
    policies: Policies,
) -> Invoker {
    let network = testing::network(metrics.clone());
    let ready = Readiness::default();
    ready.set();
    let parts = InvokerParts {
        app_id: "caller".into(),
        namespace: "default".into(),
        resolver: Some(Resolver::new(Arc::new(Registry(apps.to_vec())))),
        peers: Peers::new(PeerSettings::default(), Security::Plain, Arc::new(TcpConnect)),
        internal_port: 50002,
        host_address: "192.0.2.2".to_owned(),
        host_name: "vm".to_owned(),
        endpoints: Endpoints::new(endpoints, &network).unwrap(),
        app_protocol: AppProtocol::Http,
        external_gate: Gate::new(None),
        policies,
        network,
        ready,
    };
    Invoker::new(parts, app)
}

/// Starts the internal server of the app `callee`; it ends with the test's runtime.
pub(crate) async fn start_peer(app: Option<AppChannel>, metrics: Metrics, tracer: Tracer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts = InternalParts {
        access: AccessControl::default(),
        app_id: "callee".into(),
        app,
        tracer,
        metrics,
    };
    let other = tower::service_fn(|_: Request| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let callee = Arc::new(Internal::new(parts, other));
    tokio::spawn(async move {
        let drain = Drain::new();
        while let Ok((stream, remote)) = listener.accept().await {
            let context = CallContext {
                surface: Surface::Internal,
                remote: Some(remote),
                peer: None,
            };
            let settings = Arc::new(LinkSettings::default());
            tokio::spawn(outrigger_link::serve(
                stream,
                settings,
                context,
                Arc::clone(&callee),
                drain.signal(),
            ));
        }
    });
    address
}
