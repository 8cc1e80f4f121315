//! One run of the sidecar, from its first certificate to the end of the drain.
//!
//! ```text
//! identity ─▶ Configuration ─▶ metrics port ─▶ internal port held ─▶ tracing ─▶ name resolution
//!     ─▶ resources ─▶ app channel ─▶ gRPC and HTTP APIs ─▶ internal server ─▶ app port ─▶ running
//! ```
//!
//! Nothing opens a port before the identity is there. The process may run several times, after each SIGHUP,
//! so nothing here is global.
//!
//! Source: specification, the daprd process 3 and 9.

mod app;
mod observe;
mod ports;
mod reload;
mod resiliency;
mod resolution;
mod resources;
mod security;
mod servers;
mod shutdown;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use outrigger_component::Catalogue;
use outrigger_config::configuration::{Configuration, ConfigurationError};
use outrigger_config::daprd::Settings;
use outrigger_config::env::ProcessEnv;
use outrigger_config::resources::Disk;
use outrigger_config::version;
use outrigger_kit::system;
use outrigger_resolver as resolver;
use outrigger_telemetry::export::SetupError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::observe::Observers;
use self::reload::HotReload;
use self::servers::Servers;
use crate::access::AccessError;
use crate::health::Health;
use crate::host::Host;
use crate::metadata::{ActorRuntime, MetadataStore, SidecarMetadata};
use crate::stop::{Stop, StopCause};
use crate::worker::Workers;

/// Why a run has ended other than well. Logged as `Fatal error from runtime: <text>`, but for [`Self::Forced`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The identity could not be obtained.
    #[error(transparent)]
    Identity(#[from] outrigger_identity::StartError),
    /// A Configuration file cannot be used.
    #[error("error loading configuration: {0}")]
    Configuration(#[from] ConfigurationError),
    /// The metrics port cannot be bound.
    #[error("failed to start metrics server: listen tcp {address}: bind: {}", system::text(.source))]
    Metrics {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The advertised address of the host is unknown.
    #[error("failed to determine host address: {0}")]
    HostAddress(#[from] resolver::HostAddressError),
    /// Policies of access control that are for nobody.
    #[error(transparent)]
    AccessControl(#[from] AccessError),
    /// Exporters of spans cannot be set up.
    #[error("failed to setup tracing: {0}")]
    Tracing(String),
    /// Exporters of metrics or log records cannot be set up.
    #[error("failed to set up OTLP export: {0}")]
    Export(SetupError),
    /// Name resolution cannot be started.
    #[error(transparent)]
    NameResolution(#[from] resolver::InitError),
    /// Resources cannot be read, or contradict each other.
    #[error("failed to load components: {0}")]
    Components(String),
    /// Resources that were read again cannot be used.
    #[error("{0}")]
    Resources(String),
    /// A server has no socket.
    #[error("{0}")]
    Listen(String),
    /// The app's address is none.
    #[error("failed to open the app channel: {0}")]
    AppChannel(String),
    /// The end was not graceful; what there was to say has been logged.
    #[error("the run was cut off")]
    Forced,
}

const RUNTIME: &str = "dapr.runtime";

/// Runs a sidecar until somebody asks it to stop, and tells who did. `catalogue` has the types of components.
///
/// # Errors
/// If it cannot start, or does not end within its grace period.
pub async fn run(
    settings: &Settings,
    host: &Host,
    workers: &Arc<Workers>,
    stop: &Stop,
    catalogue: &Catalogue,
) -> Result<StopCause, RunError> {
    // Cancelled when all is over, not when the end begins: while the end is blocked and while calls finish, the
    // identity is renewed and the app is probed.
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let health = Health::new();
    let security = health.target("security-provider");
    let Some(identity) = security::obtain(settings, stop, &over).await? else {
        return Ok(stop.requested().await);
    };
    security.ready();

    let started = Instant::now();
    let configuration = Configuration::from_files(&settings.configurations, &Disk, &ProcessEnv)?;
    if settings.configurations.is_empty() {
        tracing::info!(target: RUNTIME, "loading default configuration");
    }
    let features: Vec<&str> = configuration.features.names().collect();
    tracing::info!(target: RUNTIME, "Enabled features: {}", features.join(" "));
    let metadata = metadata(settings, &features);
    let reload = HotReload::begin(settings, &configuration, &health);
    let mut observers = Observers::start(settings, &configuration, &health).await?;
    identity.count(&observers.metrics);
    introduce(settings);
    observers.trace(settings, &configuration)?;

    let init = servers::start(
        settings,
        &configuration,
        host,
        workers,
        stop,
        &health,
        metadata,
        &observers,
        &identity,
        catalogue,
    );
    let servers = tokio::select! {
        servers = init => servers?,
        cause = stop.requested() => {
            observers.shut_down().await;
            return Ok(cause);
        }
    };
    let outcome = live(settings, &health, stop, &over, &servers, reload, started).await;
    // A run that fails ends as gracefully as one that is told to, but at once.
    let cause = *outcome.as_ref().unwrap_or(&StopCause::Failure);
    shutdown::finish(settings, cause, servers, observers).await?;
    outcome
}

fn introduce(settings: &Settings) {
    let actors =
        "Actor runtime disabled: api error: code = Unavailable desc = placement service is not configured";
    tracing::warn!(target: "dapr.runtime.actor", "{actors}. Actors and Workflow APIs will be unavailable");
    tracing::info!(target: RUNTIME, "{} mode configured", settings.mode.as_str());
    tracing::info!(target: RUNTIME, "app id: {}", settings.app_id);
}

/// From ready servers to the wish to stop: the app is waited for, then watched until all is over, and resources are
/// followed.
async fn live(
    settings: &Settings,
    health: &Health,
    stop: &Stop,
    over: &CancellationToken,
    servers: &Servers,
    reload: Option<HotReload>,
    started: Instant,
) -> Result<StopCause, RunError> {
    let running = health.target("runtime");
    let app = async {
        app::wait(settings, servers, over).await;
        tracing::info!(
            target: RUNTIME,
            "dapr initialized. Status: Running. Init Elapsed {}ms",
            started.elapsed().as_millis()
        );
        running.ready();
        std::future::pending::<Infallible>().await
    };
    let reload = async {
        match reload {
            Some(reload) => {
                let installed = servers.installed.clone();
                reload.run(settings, installed, &servers.components, stop).await
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // The log tells of the start first.
        biased;
        never = app => match never {},
        error = reload => Err(error),
        error = servers.components.failed() => Err(RunError::Resources(error.to_string())),
        cause = stop.requested() => Ok(cause),
    }
}

fn metadata(settings: &Settings, features: &[&str]) -> MetadataStore {
    MetadataStore::new(SidecarMetadata {
        id: settings.app_id.to_string(),
        runtime_version: version::RUNTIME.to_owned(),
        enabled_features: features.iter().map(|&name| name.to_owned()).collect(),
        app_connection_properties: Some(app::connection(settings)),
        actor_runtime: Some(ActorRuntime::disabled()),
        ..SidecarMetadata::default()
    })
}
