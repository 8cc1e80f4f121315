//! What the options and the environment of a sidecar mean, checked in the specified order.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_kit::boolean;
use outrigger_kit::duration::{self, GoDuration};
use outrigger_kit::number::{self, ParseNumberError};

use super::Flags;
use crate::env::{self, Env};
use crate::{AppId, Mode, Namespace};

/// Everything a sidecar knows before it reads a file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Id of the app.
    pub app_id: AppId,
    /// Standalone or in a cluster.
    pub mode: Mode,
    /// Namespace of the workload.
    pub namespace: Namespace,
    /// The app next to the sidecar.
    pub app: AppSettings,
    /// Port of the HTTP API; 0 takes a free one.
    pub http_port: u16,
    /// Port of the gRPC API; 0 takes a free one.
    pub grpc_port: u16,
    /// Port of the profiling server.
    pub profile_port: u16,
    /// Whether the profiling server runs.
    pub enable_profiling: bool,
    /// Port for other sidecars; `None` takes the stable one ([`stable_port`](super::stable_port)).
    pub internal_grpc_port: Option<u16>,
    /// Address for other sidecars; empty is all.
    pub internal_grpc_listen_address: String,
    /// Port of the health and metadata server; `None` for no such server.
    pub public_port: Option<u16>,
    /// Address of the health and metadata server; empty is all.
    pub public_listen_address: String,
    /// Addresses of the HTTP and gRPC API and of profiling; an empty one is all. Never an empty list.
    pub api_listen_addresses: Vec<String>,
    /// Directory of the API's sockets, which replace its TCP ports.
    pub unix_domain_socket: Option<PathBuf>,
    /// Limit of bodies and messages in bytes as given; see [`Settings::http_body_limit`].
    pub max_body_size: i64,
    /// Limit of request headers in bytes.
    pub read_buffer_size: usize,
    /// CORS setting; empty for none.
    pub allowed_origins: String,
    /// Paths of Configuration files, or the name of one in kubernetes mode.
    pub configurations: Vec<String>,
    /// Directories of resource files, in order.
    pub resource_paths: Vec<PathBuf>,
    /// Identity and control plane.
    pub security: Security,
    /// Placement addresses.
    pub placement_addresses: Vec<String>,
    /// Scheduler addresses.
    pub scheduler_addresses: Vec<String>,
    /// Streams per scheduler host, at least 1.
    pub scheduler_job_streams: u64,
    /// Longest round of placement.
    pub actors_disseminate_timeout: Duration,
    /// How often resources are compared as a backup of the watch.
    pub reconcile_interval: Duration,
    /// Whether API calls are logged; `None` leaves it to the Configuration.
    pub api_logging: Option<bool>,
    /// Time for the last phase of shutdown; `None` is without limit.
    pub graceful_shutdown: Option<Duration>,
    /// Time to keep serving the app after a stop signal; zero still counts as asked for.
    pub block_shutdown: Option<Duration>,
    /// Whether kubernetes mode comes without its built-in secret store.
    pub disable_builtin_k8s_secret_store: bool,
    /// App endpoints that are not called at start.
    pub disabled_init: DisabledInit,
    /// The metrics server; `None` for no such server.
    pub metrics: Option<MetricsServer>,
    /// Port number in `--metrics-port`, whether the server runs or not.
    pub metrics_port: u16,
    /// Token that API calls must carry.
    pub api_token: Option<String>,
    /// Value of the placeholder `{podName}`.
    pub pod_name: Option<String>,
    /// Host address to advertise instead of the one that is found.
    pub host_address: Option<String>,
    /// Folder of the sockets of pluggable components.
    pub component_sockets: PathBuf,
    /// Whether the HTTP API speaks HTTP/1.1 only.
    pub disable_h2c: bool,
    /// Idle time after which a connection to another sidecar or to the app is closed.
    pub connection_idle: Duration,
    /// How often idle connections are looked for.
    pub connection_purge: Duration,
    /// Proxy rules for outgoing HTTP calls.
    pub http_proxy: HttpProxy,
}

/// The app next to the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// Port it listens on; 0 when there is no app.
    pub port: u16,
    /// Protocol it speaks.
    pub protocol: AppProtocol,
    /// Host it listens on.
    pub channel_address: String,
    /// Calls in flight to it at most; `None` is without limit.
    pub max_concurrency: Option<NonZeroUsize>,
    /// Token it is sent with each call.
    pub api_token: Option<String>,
    /// Its health probes; `None` when it always counts as healthy.
    pub health: Option<AppHealth>,
    /// Longest wait for its word on an input binding.
    pub binding_options_timeout: Duration,
}

/// What an app speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS that is not verified.
    Https,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS that is not verified.
    Grpcs,
}

/// How the health of an app is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppHealth {
    /// Path of the probe, for HTTP apps; starts with `/`.
    pub path: String,
    /// Time between probes.
    pub interval: Duration,
    /// Longest probe, at most the interval.
    pub timeout: Duration,
    /// Failures after which the app counts as unhealthy, at least 1.
    pub threshold: u32,
}

/// Identity of the sidecar and the control plane it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Whether links are mutual TLS.
    pub mtls: bool,
    /// PEM bundle of trust anchors, from the environment.
    pub trust_anchors: Option<String>,
    /// Address of the certificate authority; may be empty.
    pub sentry_address: String,
    /// Audiences of the JWTs to ask for.
    pub jwt_audiences: Vec<String>,
    /// Address of the operator; may be empty.
    pub control_plane_address: String,
    /// Namespace of the control plane.
    pub control_plane_namespace: String,
    /// Trust domain of the control plane.
    pub control_plane_trust_domain: String,
    /// Token file for certificate requests as given; set but empty is the identity's error to tell.
    pub token_file: Option<String>,
    /// Id to ask a certificate for instead of the app id.
    pub local_identity: Option<String>,
    /// Whether uid 0 is allowed in kubernetes mode.
    pub allow_root: bool,
}

/// App endpoints that are not called at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisabledInit {
    /// `/dapr/config` is not called.
    pub config: bool,
    /// `/dapr/subscribe` is not called.
    pub subscribe: bool,
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsServer {
    /// Address to bind.
    pub address: String,
    /// Port to bind.
    pub port: u16,
}

/// Proxies of outgoing HTTP calls, from the environment; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpProxy {
    /// Proxy of `http` calls.
    pub http: String,
    /// Proxy of `https` calls.
    pub https: String,
    /// Hosts that are called directly.
    pub exceptions: String,
}

/// Why options make no sense together. Log as `Fatal error from runtime: <text>` and exit with 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither standalone nor kubernetes.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// No app id.
    #[error("parameter app-id cannot be empty")]
    AppIdEmpty,
    /// An app id with a dot, which separates id and namespace.
    #[error("parameter app-id cannot contain dots")]
    AppIdDots,
    /// A port that is no number.
    #[error("error parsing {option}: {source}")]
    PortNumber {
        /// The option as the text names it.
        option: &'static str,
        /// What is wrong with the number.
        source: ParseNumberError,
    },
    /// A number that is no port.
    #[error("error parsing {option}: {number} is not a port, which is 0 to 65535")]
    PortRange {
        /// The option as the text names it.
        option: &'static str,
        /// The number.
        number: i64,
    },
    /// An API and the app on one port.
    #[error("the '{option}' argument value {port} conflicts with 'app-port'")]
    PortConflict {
        /// Option of the API.
        option: &'static str,
        /// The port of both.
        port: u16,
    },
    /// An unknown app protocol.
    #[error("invalid value for 'app-protocol': {0}")]
    AppProtocol(String),
    /// An unknown name in `--disable-init-endpoints`.
    #[error("invalid value for 'disable-init-endpoints': {0}")]
    DisabledInit(String),
    /// A probe that would outlast the interval between probes.
    #[error("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'")]
    HealthTimeout,
}

// === impl Settings ===

impl Settings {
    /// Reads the environment once and checks the options.
    ///
    /// # Errors
    /// The first option that makes no sense, in the order of the specification (the daprd process 1.1).
    pub fn new(flags: Flags, environment: &impl Env) -> Result<Self, SettingsError> {
        let mode = Mode::from_name(&flags.mode).ok_or_else(|| SettingsError::Mode(flags.mode.clone()))?;
        let app_id = app_id(&flags.app_id)?;
        let ports = Ports::new(&flags)?;
        let protocol = app_protocol(&flags)?;
        let disabled_init = DisabledInit::new(&flags.disable_init_endpoints)?;
        let health = app_health(&flags)?;
        let metrics_port = port("metrics-port flag", &flags.metrics_port)?;

        let security = Security::new(&flags, environment);
        let placement_addresses = placement_addresses(&flags);
        let scheduler_addresses = scheduler_addresses(&flags, environment);
        let resource_paths = resource_paths(&flags);
        let metrics = flags.enable_metrics.then(|| MetricsServer {
            address: flags.metrics_listen_address.clone(),
            port: metrics_port,
        });
        Ok(Self {
            app_id,
            mode,
            namespace: Namespace::new(environment.get(env::NAMESPACE).as_deref()),
            app: AppSettings {
                port: ports.app,
                protocol,
                channel_address: flags.app_channel_address,
                max_concurrency: usize::try_from(flags.app_max_concurrency)
                    .ok()
                    .and_then(NonZeroUsize::new),
                api_token: environment.get_filled(env::APP_API_TOKEN),
                health,
                binding_options_timeout: flags
                    .app_binding_options_timeout
                    .positive()
                    .unwrap_or(Duration::from_secs(3)),
            },
            http_port: ports.http,
            grpc_port: ports.grpc,
            profile_port: ports.profile,
            enable_profiling: flags.enable_profiling,
            internal_grpc_port: ports.internal,
            internal_grpc_listen_address: flags.dapr_internal_grpc_listen_address,
            public_port: ports.public,
            public_listen_address: flags.dapr_public_listen_address,
            api_listen_addresses: flags
                .dapr_listen_addresses
                .split(',')
                .map(|a| a.trim().to_owned())
                .collect(),
            unix_domain_socket: filled(flags.unix_domain_socket).map(PathBuf::from),
            max_body_size: flags.max_body_size,
            read_buffer_size: usize::try_from(flags.read_buffer_size).unwrap_or(usize::MAX),
            allowed_origins: flags.allowed_origins,
            configurations: flags.config,
            resource_paths,
            security,
            placement_addresses,
            scheduler_addresses,
            scheduler_job_streams: flags.scheduler_job_streams,
            actors_disseminate_timeout: flags.actors_disseminate_timeout.to_std(),
            reconcile_interval: flags
                .hot_reload_reconcile_interval
                .positive()
                .unwrap_or(Duration::from_secs(60)),
            api_logging: flags.enable_api_logging,
            graceful_shutdown: match u64::try_from(flags.dapr_graceful_shutdown_seconds) {
                Ok(0) => None,
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => Some(Duration::from_secs(5)),
            },
            block_shutdown: flags.dapr_block_shutdown_duration.map(GoDuration::to_std),
            disable_builtin_k8s_secret_store: flags.disable_builtin_k8s_secret_store,
            disabled_init,
            metrics,
            metrics_port,
            api_token: environment.get_filled(env::DAPR_API_TOKEN),
            pod_name: environment.get_filled(env::POD_NAME),
            host_address: environment.get_filled(env::DAPR_HOST_IP),
            component_sockets: environment
                .get_filled(env::DAPR_COMPONENTS_SOCKETS_FOLDER)
                .map_or_else(|| PathBuf::from("/tmp/dapr-components-sockets"), PathBuf::from),
            disable_h2c: environment
                .get(env::DAPR_HTTP_DISABLE_H2C)
                .is_some_and(|word| boolean::is_truthy(&word)),
            connection_idle: span(
                environment,
                env::DAPR_GRPC_MAX_CONN_IDLE,
                Duration::from_secs(180),
            ),
            connection_purge: span(
                environment,
                env::DAPR_GRPC_CONN_COLLECTOR_INTERVAL,
                Duration::from_secs(45),
            ),
            http_proxy: HttpProxy::new(environment),
        })
    }

    /// Limit of HTTP bodies in bytes; `None` is without limit.
    #[must_use]
    pub fn http_body_limit(&self) -> Option<usize> {
        usize::try_from(self.max_body_size)
            .ok()
            .filter(|limit| *limit > 0)
    }

    /// Limit of gRPC messages in bytes, in both directions; 0 allows empty messages only.
    #[must_use]
    pub fn grpc_message_limit(&self) -> usize {
        usize::try_from(self.max_body_size).unwrap_or(0)
    }

    /// The loopback host that is advertised because the internal server listens there only.
    #[must_use]
    pub fn loopback_host(&self) -> Option<&str> {
        match self.internal_grpc_listen_address.as_str() {
            host @ ("127.0.0.1" | "localhost" | "[::1]") => Some(host),
            _ => None,
        }
    }
}

// === impl AppSettings ===

impl AppSettings {
    /// Whether there is an app to call.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.port != 0
    }
}

// === impl AppProtocol ===

impl AppProtocol {
    /// The protocol with this name, in any case; empty is `http`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "h2c" => Some(Self::H2c),
            "grpc" => Some(Self::Grpc),
            "grpcs" => Some(Self::Grpcs),
            _ => None,
        }
    }

    /// The name of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// Whether the app is called by HTTP requests, not by gRPC.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::H2c)
    }

    /// Whether the app is called over TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }
}

// === impl Security ===

impl Security {
    fn new(flags: &Flags, environment: &impl Env) -> Self {
        let fallback = |option: &Option<String>, variable: &str, default: &str| {
            let given = option.clone().or_else(|| environment.get_filled(variable));
            given.unwrap_or_else(|| default.to_owned())
        };
        Self {
            mtls: flags.enable_mtls,
            trust_anchors: environment.get_filled(env::DAPR_TRUST_ANCHORS),
            sentry_address: flags.sentry_address.clone(),
            jwt_audiences: flags.sentry_request_jwt_audiences.clone(),
            control_plane_address: flags.control_plane_address.clone(),
            control_plane_namespace: fallback(
                &flags.control_plane_namespace,
                env::DAPR_CONTROLPLANE_NAMESPACE,
                "default",
            ),
            control_plane_trust_domain: fallback(
                &flags.control_plane_trust_domain,
                env::DAPR_CONTROLPLANE_TRUST_DOMAIN,
                "localhost",
            ),
            token_file: environment.get(env::DAPR_SENTRY_TOKEN_FILE),
            local_identity: environment.get_filled(env::SENTRY_LOCAL_IDENTITY),
            allow_root: environment
                .get(env::DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK)
                .as_deref()
                == Some("true"),
        }
    }
}

// === impl DisabledInit ===

impl DisabledInit {
    fn new(names: &[String]) -> Result<Self, SettingsError> {
        let mut disabled = Self::default();
        for name in names {
            match name.trim().to_ascii_lowercase().as_str() {
                "config" => disabled.config = true,
                "subscribe" => disabled.subscribe = true,
                _ => return Err(SettingsError::DisabledInit(name.clone())),
            }
        }
        Ok(disabled)
    }
}

// === impl HttpProxy ===

impl HttpProxy {
    fn new(environment: &impl Env) -> Self {
        let read = |name: &str| {
            let value = environment
                .get_filled(name)
                .or_else(|| environment.get_filled(&name.to_ascii_lowercase()));
            value.unwrap_or_default()
        };
        Self {
            http: read(env::HTTP_PROXY),
            https: read(env::HTTPS_PROXY),
            exceptions: read(env::NO_PROXY),
        }
    }
}

/// The ports of a sidecar, read and compared in the specified order.
struct Ports {
    http: u16,
    grpc: u16,
    profile: u16,
    internal: Option<u16>,
    public: Option<u16>,
    app: u16,
}

// === impl Ports ===

impl Ports {
    fn new(flags: &Flags) -> Result<Self, SettingsError> {
        let http = port("dapr-http-port flag", &flags.dapr_http_port)?;
        let grpc = port("dapr-grpc-port flag", &flags.dapr_grpc_port)?;
        let profile = port("profile-port flag", &flags.profile_port)?;
        let internal =
            optional_port("dapr-internal-grpc-port", &flags.dapr_internal_grpc_port)?.filter(|p| *p != 0);
        let public = optional_port("dapr-public-port", &flags.dapr_public_port)?;
        let app = optional_port("app-port", &flags.app_port)?.unwrap_or(0);
        // A port of 0 is compared like any other, so an API on a free port needs an app.
        for (option, api) in [("dapr-http-port", http), ("dapr-grpc-port", grpc)] {
            if api == app {
                return Err(SettingsError::PortConflict { option, port: app });
            }
        }
        Ok(Self {
            http,
            grpc,
            profile,
            internal,
            public,
            app,
        })
    }
}

fn port(option: &'static str, text: &str) -> Result<u16, SettingsError> {
    let number = number::atoi(text).map_err(|source| SettingsError::PortNumber { option, source })?;
    u16::try_from(number).map_err(|_| SettingsError::PortRange { option, number })
}

fn optional_port(option: &'static str, text: &str) -> Result<Option<u16>, SettingsError> {
    if text.is_empty() {
        Ok(None)
    } else {
        port(option, text).map(Some)
    }
}

fn app_id(text: &str) -> Result<AppId, SettingsError> {
    if text.is_empty() {
        return Err(SettingsError::AppIdEmpty);
    }
    if text.contains('.') {
        return Err(SettingsError::AppIdDots);
    }
    Ok(AppId::new(text))
}

fn app_protocol(flags: &Flags) -> Result<AppProtocol, SettingsError> {
    let named = AppProtocol::from_name(&flags.app_protocol);
    let protocol = named.ok_or_else(|| SettingsError::AppProtocol(flags.app_protocol.clone()))?;
    Ok(match (flags.app_ssl, protocol) {
        (true, AppProtocol::Http) => AppProtocol::Https,
        (true, AppProtocol::Grpc) => AppProtocol::Grpcs,
        (_, protocol) => protocol,
    })
}

fn app_health(flags: &Flags) -> Result<Option<AppHealth>, SettingsError> {
    if !flags.enable_app_health_check {
        return Ok(None);
    }
    let positive = |number: i64, default: u64| match u64::try_from(number) {
        Ok(number) if number > 0 => number,
        _ => default,
    };
    let interval = Duration::from_secs(positive(flags.app_health_probe_interval, 5));
    let timeout = Duration::from_millis(positive(flags.app_health_probe_timeout, 500));
    if timeout > interval {
        return Err(SettingsError::HealthTimeout);
    }
    let path = match flags.app_health_check_path.as_str() {
        rooted if rooted.starts_with('/') => rooted.to_owned(),
        relative => format!("/{relative}"),
    };
    let threshold = u32::try_from(positive(flags.app_health_threshold, 3)).unwrap_or(u32::MAX);
    Ok(Some(AppHealth {
        path,
        interval,
        timeout,
        threshold,
    }))
}

fn placement_addresses(flags: &Flags) -> Vec<String> {
    let given = match flags.placement_host_address.as_str() {
        "" => flags
            .actors_service
            .strip_prefix("placement:")
            .unwrap_or(&flags.actors_service),
        addresses => addresses,
    };
    addresses(given)
}

fn scheduler_addresses(flags: &Flags, environment: &impl Env) -> Vec<String> {
    let given: Vec<_> = flags
        .scheduler_host_address
        .iter()
        .flat_map(|text| addresses(text))
        .collect();
    if given.is_empty() {
        addresses(
            &environment
                .get(env::DAPR_SCHEDULER_HOST_ADDRESS_DNS_A)
                .unwrap_or_default(),
        )
    } else {
        given
    }
}

fn addresses(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect()
}

fn resource_paths(flags: &Flags) -> Vec<PathBuf> {
    let given = flags.resources_path.iter().filter(|path| !path.is_empty());
    let mut paths: Vec<_> = given.map(PathBuf::from).collect();
    if paths.is_empty() && !flags.components_path.is_empty() {
        paths.push(PathBuf::from(&flags.components_path));
    }
    paths
}

/// A positive duration from the environment; anything else is told and ignored.
fn span(environment: &impl Env, name: &str, default: Duration) -> Duration {
    let Some(text) = environment.get_filled(name) else {
        return default;
    };
    duration::parse_go(&text).ok().and_then(GoDuration::positive).unwrap_or_else(|| {
        let shown = duration::format_go(default);
        tracing::warn!(target: "dapr.runtime", "Ignoring invalid duration \"{text}\" in {name}; using default {shown}");
        default
    })
}

fn filled(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::EmptyEnv;

    fn settings_in(environment: &impl Env, args: &[&str]) -> Result<Settings, SettingsError> {
        let given = ["--app-id", "a1"].into_iter().chain(args.iter().copied());
        let parsed = Flags::parse(given.map(str::to_owned)).unwrap();
        Settings::new(parsed.flags, environment)
    }

    fn settings(args: &[&str]) -> Settings {
        settings_in(&EmptyEnv, args).unwrap()
    }

    fn error(args: &[&str]) -> String {
        settings_in(&EmptyEnv, args).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let settings = settings(&[]);
        assert_eq!(&*settings.app_id, "a1");
        assert_eq!(
            (settings.http_port, settings.grpc_port, settings.profile_port),
            (3500, 50001, 7777)
        );
        assert_eq!((settings.internal_grpc_port, settings.public_port), (None, None));
        assert_eq!(
            settings.metrics,
            Some(MetricsServer {
                address: "0.0.0.0".to_owned(),
                port: 9090
            })
        );
        assert_eq!(settings.api_listen_addresses, [""]);
        assert_eq!(settings.graceful_shutdown, Some(Duration::from_secs(5)));
        assert_eq!(settings.block_shutdown, None);
        assert_eq!(settings.connection_idle, Duration::from_secs(180));
        assert_eq!(settings.reconcile_interval, Duration::from_secs(60));
        assert_eq!(settings.security.control_plane_namespace, "default");
        assert_eq!(settings.security.control_plane_trust_domain, "localhost");
        assert!(!settings.app.is_present());
        assert_eq!(settings.http_body_limit(), Some(4 << 20));
    }

    #[test]
    fn mistakes_have_the_specified_texts() {
        let table: [(&[&str], &str); 17] = [
            (&["--app-id="], "parameter app-id cannot be empty"),
            (&["--app-id", "a.b"], "parameter app-id cannot contain dots"),
            (&["--mode", "x"], "invalid mode: x"),
            (
                &["--dapr-http-port", "x"],
                r#"error parsing dapr-http-port flag: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
            (
                &["--dapr-grpc-port="],
                r#"error parsing dapr-grpc-port flag: strconv.Atoi: parsing "": invalid syntax"#,
            ),
            (
                &["--profile-port", "x"],
                r#"error parsing profile-port flag: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
            (
                &["--dapr-internal-grpc-port", "x"],
                r#"error parsing dapr-internal-grpc-port: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
            (
                &["--dapr-public-port", "x"],
                r#"error parsing dapr-public-port: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
            (
                &["--app-port", "x"],
                r#"error parsing app-port: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
            (
                &["--app-port", "70000"],
                "error parsing app-port: 70000 is not a port, which is 0 to 65535",
            ),
            (
                &["--app-port", "3500"],
                "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'",
            ),
            (
                &["--app-port", "50001"],
                "the 'dapr-grpc-port' argument value 50001 conflicts with 'app-port'",
            ),
            (
                &["--dapr-http-port", "0"],
                "the 'dapr-http-port' argument value 0 conflicts with 'app-port'",
            ),
            (
                &["--app-protocol", "Ftp"],
                "invalid value for 'app-protocol': Ftp",
            ),
            (
                &["--disable-init-endpoints", "config,nope"],
                "invalid value for 'disable-init-endpoints': nope",
            ),
            (
                &[
                    "--enable-app-health-check",
                    "--app-health-probe-interval=1",
                    "--app-health-probe-timeout=1001",
                ],
                "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
            ),
            (
                &["--metrics-port", "x"],
                r#"error parsing metrics-port flag: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
        ];
        for (args, expected) in table {
            assert_eq!(error(args), expected);
        }
    }

    #[test]
    fn mistakes_are_told_in_the_specified_order() {
        let all = [
            "--app-id=a.b",
            "--dapr-http-port=x",
            "--dapr-grpc-port=x",
            "--profile-port=x",
            "--dapr-internal-grpc-port=x",
            "--dapr-public-port=x",
            "--app-port=x",
            "--app-protocol=x",
            "--disable-init-endpoints=x",
        ];
        let told = [
            "dots",
            "dapr-http",
            "dapr-grpc",
            "profile",
            "internal",
            "public",
            "app-port",
            "app-protocol",
            "init",
        ];
        for (first, word) in told.iter().enumerate() {
            let text = error(&all[first..]);
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn the_app_protocol_has_names_in_any_case() {
        for (name, ssl, expected) in [
            ("", false, AppProtocol::Http),
            ("HTTPS", false, AppProtocol::Https),
            ("h2c", true, AppProtocol::H2c),
            ("http", true, AppProtocol::Https),
            ("gRPC", true, AppProtocol::Grpcs),
            ("grpcs", true, AppProtocol::Grpcs),
        ] {
            let settings = settings(&[&format!("--app-protocol={name}"), &format!("--app-ssl={ssl}")]);
            assert_eq!(settings.app.protocol, expected);
            assert_eq!(AppProtocol::from_name(expected.as_str()), Some(expected));
        }
    }

    #[test]
    fn shutdown_times_keep_their_special_values() {
        assert_eq!(
            settings(&["--dapr-graceful-shutdown-seconds=0"]).graceful_shutdown,
            None
        );
        let default = Some(Duration::from_secs(5));
        assert_eq!(
            settings(&["--dapr-graceful-shutdown-seconds", "-1"]).graceful_shutdown,
            default
        );
        assert_eq!(
            settings(&["--dapr-block-shutdown-duration=0"]).block_shutdown,
            Some(Duration::ZERO)
        );
        assert_eq!(
            settings(&["--dapr-block-shutdown-duration=3m"]).block_shutdown,
            Some(Duration::from_secs(180))
        );
    }

    #[test]
    fn health_probes_fall_back_to_their_defaults() {
        let health = settings(&[
            "--enable-app-health-check",
            "--app-health-check-path=ready",
            "--app-health-probe-interval=0",
            "--app-health-probe-timeout=-5",
            "--app-health-threshold=0",
        ]);
        let expected = AppHealth {
            path: "/ready".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            threshold: 3,
        };
        assert_eq!(health.app.health, Some(expected));
        assert_eq!(settings(&["--app-health-probe-timeout=100000"]).app.health, None);
    }

    #[test]
    fn the_environment_fills_what_options_leave_open() {
        let environment = [
            ("NAMESPACE", "prod"),
            ("DAPR_API_TOKEN", "t"),
            ("APP_API_TOKEN", ""),
            ("DAPR_CONTROLPLANE_TRUST_DOMAIN", "td"),
            ("DAPR_CONTROLPLANE_NAMESPACE", "dapr-system"),
            ("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A", "s0:1, s1:1"),
            ("DAPR_HTTP_DISABLE_H2C", "On"),
            ("DAPR_GRPC_MAX_CONN_IDLE", "-1s"),
            ("DAPR_GRPC_CONN_COLLECTOR_INTERVAL", "1s"),
            ("DAPR_SENTRY_TOKEN_FILE", ""),
        ];
        let settings = settings_in(&environment, &["--control-plane-namespace", "cp"]).unwrap();
        assert_eq!(settings.namespace.filter(), Some("prod"));
        assert_eq!(settings.api_token.as_deref(), Some("t"));
        assert_eq!(settings.app.api_token, None);
        assert_eq!(settings.security.control_plane_trust_domain, "td");
        assert_eq!(settings.security.control_plane_namespace, "cp");
        assert_eq!(settings.security.token_file.as_deref(), Some(""));
        assert_eq!(settings.scheduler_addresses, ["s0:1", "s1:1"]);
        assert!(settings.disable_h2c);
        assert_eq!(settings.connection_idle, Duration::from_secs(180));
        assert_eq!(settings.connection_purge, Duration::from_secs(1));
    }

    #[test]
    fn old_options_give_way_to_new_ones() {
        let new = settings(&[
            "--components-path=old",
            "--resources-path=a,b",
            "--actors-service=placement:old:1",
            "--placement-host-address=new:1,new:2",
        ]);
        assert_eq!(new.resource_paths, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(new.placement_addresses, ["new:1", "new:2"]);
        let old = settings(&["--components-path=old", "--actors-service=placement:old:1"]);
        assert_eq!(old.resource_paths, [PathBuf::from("old")]);
        assert_eq!(old.placement_addresses, ["old:1"]);
    }

    #[test]
    fn a_loopback_listener_is_advertised_as_such() {
        assert_eq!(
            settings(&["--dapr-internal-grpc-listen-address=[::1]"]).loopback_host(),
            Some("[::1]")
        );
        assert_eq!(
            settings(&["--dapr-internal-grpc-listen-address=10.0.0.1"]).loopback_host(),
            None
        );
    }
}
