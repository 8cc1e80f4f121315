//! The servers of a run, opened in the specified order.

use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_component::Catalogue;
use outrigger_component_pluggable as pluggable;
use outrigger_config::configuration::{self, Configuration};
use outrigger_config::daprd::{OwnEnv, Settings};
use outrigger_identity::tls;
use outrigger_link::{LinkSettings, PeerSettings, Peers, TcpConnect};
use outrigger_resolver::{DnsLookup, Resolver};
use outrigger_svc::Drain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::app::AppParts;
use super::observe::Observers;
use super::ports::{self, ServeInternal};
use super::reload::Installed;
use super::resolution::{self, Resolution};
use super::security::Security;
use super::{RUNTIME, RunError, resiliency, resources};
use crate::access::AccessControl;
use crate::app::{AppChannel, AppNetwork, AppStatus, Dialer, Gate, Proxies};
use crate::blocks::BuildingBlocks;
use crate::components::{Components, Handlers, Pipelines, References, Stores, outside};
use crate::grpc_api::{ApiLog, GrpcRule, GrpcRules, GrpcSettings};
use crate::health::{Health, Target};
use crate::host::Host;
use crate::http_api::{AllowedOrigins, ApiLogging, ApiRule, ApiRules, Port, Router};
use crate::invoke::{InvokerParts, Readiness};
use crate::metadata::MetadataStore;
use crate::runtime::{Routers, Runtime, WorkerParts};
use crate::stop::Stop;
use crate::worker::Workers;

/// What runs: the servers by their drains, and what must be closed behind them.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(super) runtime: Arc<Runtime>,
    pub(super) http: Drain,
    /// Addresses of the HTTP servers, for the log.
    pub(super) http_addresses: Vec<SocketAddr>,
    pub(super) grpc: Drain,
    pub(super) internal: Drain,
    pub(super) targets: Targets,
    pub(super) resolver: Option<Resolver>,
    pub(super) components: Components,
    pub(super) dialer: Dialer,
    pub(super) app_status: watch::Sender<AppStatus>,
    pub(super) installed: Installed,
    workers: Arc<Workers>,
    parts: Arc<[WorkerParts]>,
}

/// Health targets that go down when closing begins.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) grpc: Target,
    pub(super) internal: Target,
}

/// The types of this binary, and those of the processes whose sockets are there now.
async fn with_pluggable(built_in: &Catalogue, settings: &Settings) -> Catalogue {
    let mut catalogue = built_in.clone();
    if let Err(error) = pluggable::discover(&settings.component_sockets, &mut catalogue).await {
        tracing::error!(target: RUNTIME, "could not initialize pluggable components {error}");
    }
    catalogue
}

/// Opens everything, outbound health included. Only the app is still to be waited for.
#[expect(
    clippy::too_many_arguments,
    reason = "these are the parts of a run, and this is where they meet"
)]
pub(super) async fn start(
    settings: &Settings,
    configuration: &Configuration,
    host: &Host,
    workers: &Arc<Workers>,
    stop: &Stop,
    health: &Health,
    metadata: MetadataStore,
    observers: &Observers,
    security: &Security,
    catalogue: &Catalogue,
) -> Result<Servers, RunError> {
    let policies = resiliency::load(settings, &observers.metrics, &metadata);
    let access = AccessControl::compile(configuration.access_control.as_ref(), settings.app.protocol)?;
    let targets = Targets {
        grpc: health.target("grpc-api-server"),
        internal: health.target("grpc-internal-server"),
    };
    let internal = ports::hold_internal_port(settings, host).await?;
    let internal_port = internal.addresses().first().map_or(0, SocketAddr::port);
    let lookup = DnsLookup::from_system().map_err(RunError::AppChannel)?;
    let (pipelines, stores) = (Pipelines::default(), Stores::default());
    let network = AppNetwork {
        lookup: Arc::new(lookup),
        connect: Arc::new(TcpConnect),
        crypto: tls::provider(),
        workers: workers.len(),
        proxies: Arc::new(Proxies::new(&settings.http_proxy)),
        read_buffer_size: settings.read_buffer_size,
        metrics: observers.metrics.clone(),
        handlers: pipelines.app.clone(),
    };
    let resolution = Resolution {
        settings,
        host,
        catalogue,
        metrics: &observers.metrics,
        stop,
        http: outside(&network),
        internal: internal.addresses(),
    };
    let (resolver, host_address) = resolution::start(&resolution, configuration).await?;
    let environment = OwnEnv::new(settings, &host_address, internal_port);
    let references = References::new(settings.mode, environment, stores.secrets.clone());
    let catalogue = with_pluggable(catalogue, settings).await;
    let components = Components::new(
        settings,
        configuration,
        &catalogue,
        (pipelines.clone(), stores.clone()),
        &network,
        metadata.clone(),
        references.clone(),
    );
    let resources = resources::load(settings, &components, &network, &metadata, &references).await?;
    tracing::warn!(target: "dapr.runtime.scheduler.watchhosts", "No scheduler host addresses provided. Scheduler disabled");
    health.target("scheduler-watch-hosts").ready();
    let app = AppChannel::open(&settings.app, settings.grpc_message_limit(), &network)
        .map_err(RunError::AppChannel)?;
    if app.is_none() {
        tracing::warn!(
            target: "dapr.runtime.channels",
            "App channel is not initialized. Did you configure an app-port?"
        );
    }

    let link = Arc::new(LinkSettings {
        max_message_size: settings.grpc_message_limit(),
        max_header_list: u32::try_from(settings.read_buffer_size.saturating_mul(1024)).unwrap_or(u32::MAX),
        ..LinkSettings::default()
    });
    let peers = PeerSettings {
        link: LinkSettings::clone(&link),
        max_idle: settings.connection_idle,
        purge_every: settings.connection_purge,
        workers: workers.len(),
        ..PeerSettings::default()
    };
    let peers = Peers::new(peers, security.links(), Arc::new(TcpConnect));
    let invoker = InvokerParts {
        app_id: settings.app_id.as_arc().clone(),
        namespace: settings.namespace.name().into(),
        peers: resolution::forgetting(peers, resolver.clone(), internal_port),
        resolver: Some(resolver.clone()),
        internal_port,
        host_address,
        host_name: host.name.clone(),
        endpoints: resources.endpoints,
        app_protocol: settings.app.protocol,
        external_gate: Gate::new(settings.app.max_concurrency),
        policies,
        network: network.clone(),
        ready: Readiness::default(),
    };
    let runtime = Arc::new(runtime(
        settings,
        configuration,
        stop,
        health,
        metadata,
        observers,
        invoker,
        app,
        (pipelines.server, stores),
        access,
    ));
    let parts: Arc<[WorkerParts]> = (0..workers.len()).map(|_| runtime.worker()).collect();

    let (http, grpc, internal_drain) = (Drain::new(), Drain::new(), Drain::new());
    ports::open_grpc(settings, &runtime, &parts, workers, &grpc.signal()).await?;
    targets.grpc.ready();
    let http_addresses =
        ports::open_http(settings, configuration, &runtime, &parts, workers, &http.signal()).await?;
    ports::open_profiling(settings, workers, &http.signal()).await?;
    tracing::info!(
        target: RUNTIME,
        "The request body size parameter is: {} bytes",
        settings.max_body_size
    );
    ports::open_internal(
        internal,
        &runtime,
        &parts,
        workers,
        &internal_drain.signal(),
        ServeInternal {
            settings: link,
            identity: security.server().cloned(),
        },
    );
    targets.internal.ready();
    runtime.invoker.ready.set();
    health.open_outbound();
    Ok(Servers {
        dialer: network.app_dialer(settings.app.protocol),
        runtime,
        http,
        http_addresses,
        grpc,
        internal: internal_drain,
        targets,
        resolver: Some(resolver),
        components,
        app_status: watch::Sender::new(AppStatus::Unknown),
        installed: resources.installed,
        workers: Arc::clone(workers),
        parts,
    })
}

// === impl Servers ===

impl Servers {
    /// Keeps one connection to a gRPC app open until `over`, so that the first call finds it.
    pub(super) fn keep_app_warm(&self, over: &CancellationToken) {
        let channel = self.parts.first().and_then(WorkerParts::app).cloned();
        if let Some(channel) = channel.filter(|channel| !channel.is_http()) {
            let over = over.clone();
            self.workers.start_on(0, move || async move {
                over.run_until_cancelled(channel.keep_warm()).await;
            });
        }
    }

    /// What waits for the app's first healthy moment.
    pub(super) fn clone_for_app(&self) -> AppParts {
        AppParts {
            channel: self.runtime.app.clone(),
            status: self.app_status.subscribe(),
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "these are the parts of a run, and this is where they meet"
)]
fn runtime(
    settings: &Settings,
    configuration: &Configuration,
    stop: &Stop,
    health: &Health,
    metadata: MetadataStore,
    observers: &Observers,
    invoker: InvokerParts,
    app: Option<AppChannel>,
    (http_handlers, stores): (Handlers, Stores),
    access: AccessControl,
) -> Runtime {
    let api_logging = api_logging(settings, configuration);
    let api_token: Option<Arc<str>> = settings.api_token.as_deref().map(Into::into);
    let rules = http_rules(configuration);
    let building_blocks = BuildingBlocks::new(
        settings.app_id.as_arc(),
        &stores,
        configuration,
        app.as_ref(),
        &invoker.policies,
        &observers.metrics,
    );
    building_blocks.secrets.tell_unmatched_scopes();
    Runtime {
        app_id: settings.app_id.as_arc().clone(),
        namespace: settings.namespace.name().into(),
        metrics: observers.metrics.clone(),
        tracer: observers.tracer.clone(),
        health: health.clone(),
        metadata,
        stop: stop.clone(),
        api_token: api_token.clone(),
        api_logging,
        allowed_origins: AllowedOrigins::parse(&settings.allowed_origins),
        max_body: settings.http_body_limit().map(|limit| limit as u64),
        http_handlers,
        building_blocks,
        routers: Routers {
            api: Arc::new(Router::new(&rules, Port::Api)),
            public: Arc::new(Router::new(&rules, Port::Public)),
        },
        grpc: GrpcSettings {
            app_id: settings.app_id.as_arc().clone(),
            max_message_size: settings.grpc_message_limit(),
            api_token,
            rules: Arc::new(grpc_rules(configuration)),
            log: if api_logging.is_some() {
                ApiLog::On
            } else {
                ApiLog::Off
            },
        },
        invoker,
        app,
        access,
    }
}

fn api_logging(settings: &Settings, configuration: &Configuration) -> Option<ApiLogging> {
    let spec = &configuration.api_logging;
    settings
        .api_logging
        .unwrap_or(spec.enabled)
        .then_some(ApiLogging {
            obfuscate_urls: spec.obfuscate_urls,
            omit_health_checks: spec.omit_health_checks,
        })
}

fn http_rules(configuration: &Configuration) -> ApiRules {
    let rules = &configuration.api;
    fn rule(rule: &configuration::ApiRule) -> ApiRule<'_> {
        ApiRule {
            name: &rule.name,
            version: &rule.version,
            protocol: &rule.protocol,
        }
    }
    ApiRules::new(rules.allowed.iter().map(rule), rules.denied.iter().map(rule))
}

fn grpc_rules(configuration: &Configuration) -> GrpcRules {
    let rules = &configuration.api;
    fn rule(rule: &configuration::ApiRule) -> GrpcRule<'_> {
        GrpcRule {
            name: &rule.name,
            version: &rule.version,
            protocol: &rule.protocol,
        }
    }
    GrpcRules::new(rules.allowed.iter().map(rule), rules.denied.iter().map(rule))
}
