//! The ports of a run: bound, announced in the log, handed to the workers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::configuration::Configuration;
use outrigger_config::daprd::{self, Settings};
use outrigger_config::env::{self, Env, ProcessEnv};
use outrigger_identity::{Identity, tls};
use outrigger_kit::boolean::is_truthy;
use outrigger_link::LinkSettings;
use outrigger_svc::{BoxConnection, CallContext, DrainSignal, Surface};
use tokio::io::BufReader;

use super::{RUNTIME, RunError};
use crate::host::Host;
use crate::listen::{AsyncServe, Listeners};
use crate::pipeline::{self, InternalServer};
use crate::profiling::Profiling;
use crate::runtime::{Runtime, WorkerParts};
use crate::serve::{ServeGrpc, ServeHttp};
use crate::worker::Workers;

/// Serves links of other sidecars, in mTLS if the sidecar has an identity.
#[derive(Clone)]
pub(super) struct ServeInternal {
    pub(super) settings: Arc<LinkSettings>,
    pub(super) identity: Option<Identity>,
}

/// Bytes that are read at once below TLS, which by itself reads a small piece at a time.
const READ_BUFFER: usize = 32 << 10;

const HTTP: &str = "dapr.runtime.http";
const GRPC: &str = "dapr.runtime.grpc.api";
const INTERNAL: &str = "dapr.runtime.grpc.internal";
/// Time that another sidecar may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(20);
const CARDINALITY: &str = "The default value for 'spec.metric.http.increasedCardinality' will change to 'false' in Dapr 1.15 or later";

/// Binds the port that other sidecars will be told of; it is served much later.
pub(super) async fn hold_internal_port(settings: &Settings, host: &Host) -> Result<Listeners, RunError> {
    let address = std::slice::from_ref(&settings.internal_grpc_listen_address);
    let fixed = match settings.internal_grpc_port {
        Some(port) => Some(port),
        None => {
            let folder = host.working_directory.to_string_lossy();
            let port = daprd::stable_port(settings.app_id.as_ref(), &folder, host.user_id, &host.name);
            Listeners::one_tcp("127.0.0.1", port)
                .await
                .is_ok()
                .then_some(port)
        }
    };
    let listeners = Listeners::tcp(address, fixed.unwrap_or(0)).await;
    listeners.map_err(|error| RunError::Listen(format!("failed to start internal gRPC server: {error}")))
}

/// Opens the gRPC API.
pub(super) async fn open_grpc(
    settings: &Settings,
    runtime: &Arc<Runtime>,
    parts: &Arc<[WorkerParts]>,
    workers: &Arc<Workers>,
    drain: &DrainSignal,
) -> Result<(), RunError> {
    let listeners = api_listeners(settings, settings.grpc_port, "grpc").await?;
    for name in listeners.names() {
        tracing::info!(target: GRPC, "gRPC server listening on {name}");
    }
    tell_grpc_middleware(runtime, GRPC);
    let where_to = running_on(settings, settings.grpc_port);
    let serve = ServeGrpc::new(settings.read_buffer_size);
    listeners.accept(
        workers,
        drain,
        |worker| pipeline::api_grpc(runtime, &parts[worker]),
        serve,
    );
    tracing::info!(target: RUNTIME, "API gRPC server is running on {where_to}");
    Ok(())
}

/// Opens the HTTP API and the public port; returns the addresses of both.
pub(super) async fn open_http(
    settings: &Settings,
    configuration: &Configuration,
    runtime: &Arc<Runtime>,
    parts: &Arc<[WorkerParts]>,
    workers: &Arc<Workers>,
    drain: &DrainSignal,
) -> Result<Vec<SocketAddr>, RunError> {
    let listeners = api_listeners(settings, settings.http_port, "http").await?;
    if configuration.metrics.increased_cardinality().is_none() {
        tracing::warn!(target: HTTP, "{CARDINALITY}");
    }
    if let Some(limit) = settings.http_body_limit() {
        tracing::info!(target: HTTP, "Enabled max body size HTTP middleware with size {limit} bytes");
    }
    if runtime.tracer.is_on() {
        tracing::info!(target: HTTP, "Enabled tracing HTTP middleware");
    }
    if runtime.metrics.is_enabled() {
        tracing::info!(target: HTTP, "Enabled metrics HTTP middleware");
    }
    for name in listeners.names() {
        tracing::info!(target: HTTP, "HTTP server listening on {name}");
    }
    let mut addresses = listeners.addresses();
    let h2c = !ProcessEnv
        .get(env::DAPR_HTTP_DISABLE_H2C)
        .is_some_and(|value| is_truthy(&value));
    let serve = ServeHttp::new(Surface::Api, settings.read_buffer_size, h2c);
    listeners.accept(
        workers,
        drain,
        |worker| pipeline::api_http(runtime, &parts[worker]),
        serve,
    );
    if let Some(port) = settings.public_port {
        let address = std::slice::from_ref(&settings.public_listen_address);
        let listeners = Listeners::tcp(address, port)
            .await
            .map_err(|error| RunError::Listen(error.to_string()))?;
        for name in listeners.names() {
            tracing::info!(target: HTTP, "HTTP server listening on {name}");
        }
        addresses.extend(listeners.addresses());
        let serve = ServeHttp::new(Surface::Public, settings.read_buffer_size, false);
        listeners.accept(workers, drain, |_| pipeline::public_http(runtime), serve);
    }
    tracing::info!(target: RUNTIME, "HTTP server is running on {}", running_on(settings, settings.http_port));
    Ok(addresses)
}

/// Opens the profiling port, if it is asked for.
pub(super) async fn open_profiling(
    settings: &Settings,
    workers: &Arc<Workers>,
    drain: &DrainSignal,
) -> Result<(), RunError> {
    if !settings.enable_profiling {
        return Ok(());
    }
    let listeners = Listeners::tcp(&settings.api_listen_addresses, settings.profile_port)
        .await
        .map_err(|error| RunError::Listen(format!("{error} for profiling API")))?;
    for address in &settings.api_listen_addresses {
        tracing::info!(target: HTTP, "HTTP profiling server listening on: {address}:{}", settings.profile_port);
    }
    let serve = ServeHttp::new(Surface::Public, settings.read_buffer_size, false);
    let profiling = Profiling::new(Arc::clone(workers), drain.clone());
    listeners.accept(workers, drain, |_| profiling.clone().into_service(), serve);
    Ok(())
}

/// Serves the port that other sidecars call.
pub(super) fn open_internal(
    listeners: Listeners,
    runtime: &Arc<Runtime>,
    parts: &Arc<[WorkerParts]>,
    workers: &Arc<Workers>,
    drain: &DrainSignal,
    serve: ServeInternal,
) {
    for name in listeners.names() {
        tracing::info!(target: INTERNAL, "gRPC server listening on pre-bound {name}");
    }
    tell_grpc_middleware(runtime, INTERNAL);
    let port = listeners.addresses().first().map_or(0, SocketAddr::port);
    listeners.accept(
        workers,
        drain,
        |worker| pipeline::internal(runtime, &parts[worker]),
        serve,
    );
    tracing::info!(target: RUNTIME, "Internal gRPC server is running on :{port}");
}

async fn api_listeners(settings: &Settings, port: u16, name: &str) -> Result<Listeners, RunError> {
    let listeners = match &settings.unix_domain_socket {
        Some(folder) => {
            let file = format!("dapr-{}-{name}.socket", settings.app_id);
            Listeners::unix(&Path::new(folder).join(file))
        }
        None => Listeners::tcp(&settings.api_listen_addresses, port).await,
    };
    listeners.map_err(|error| RunError::Listen(error.to_string()))
}

fn running_on(settings: &Settings, port: u16) -> String {
    match settings.unix_domain_socket {
        Some(_) => "a Unix Domain Socket".to_owned(),
        None => format!("port {port}"),
    }
}

fn tell_grpc_middleware(runtime: &Runtime, scope: &'static str) {
    if runtime.tracer.is_on() {
        tracing::info!(target: "dapr", scope, "Enabled gRPC tracing middleware");
    }
    if runtime.metrics.is_enabled() {
        tracing::info!(target: "dapr", scope, "Enabled gRPC metrics middleware");
    }
}

// === impl ServeInternal ===

impl AsyncServe<InternalServer> for ServeInternal {
    fn serve(
        &self,
        server: InternalServer,
        connection: BoxConnection,
        remote: Option<SocketAddr>,
        drain: DrainSignal,
    ) -> impl Future<Output = ()> + Send + 'static {
        let settings = Arc::clone(&self.settings);
        let config = self.identity.as_ref().map(Identity::server_config);
        async move {
            let context = CallContext {
                surface: Surface::Internal,
                remote,
                peer: None,
            };
            let Some(config) = config else {
                return outrigger_link::serve(connection, settings, context, server, drain).await;
            };
            let connection = BufReader::with_capacity(READ_BUFFER, connection);
            let accepted = tokio::select! {
                accepted = tokio::time::timeout(HANDSHAKE, tls::accept(config, connection)) => accepted,
                () = drain.stopping() => return,
            };
            let stream = match accepted {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(target: INTERNAL, "refused a connection: {error}");
                    return;
                }
                Err(_) => {
                    tracing::debug!(target: INTERNAL, "refused a connection: the handshake takes too long");
                    return;
                }
            };
            let session = stream.get_ref().1;
            let Some(peer) = tls::peer_id(session) else { return };
            tracing::debug!(target: INTERNAL, "Accepted a connection from {peer} over {}", tls::describe(session));
            let context = CallContext {
                peer: Some(peer.to_string().into()),
                ..context
            };
            outrigger_link::serve(stream, settings, context, server, drain).await;
        }
    }
}
