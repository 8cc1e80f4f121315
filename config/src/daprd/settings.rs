//! What the options and the environment of a sidecar mean, checked in the specified order.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_kit::boolean;
use outrigger_kit::duration::{self, GoDuration};

use super::app::{app_health, app_protocol};
use super::ports::{Ports, port};
use super::{AppSettings, DisabledInit, Flags, HttpProxy, Security, SettingsError, WorkflowTimes};
use crate::env::{self, Env};
use crate::{AppId, Mode, Namespace};

/// Folder of the sockets of pluggable components, unless the environment names another.
pub const DEFAULT_COMPONENT_SOCKETS: &str = "/tmp/dapr-components-sockets";

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
    /// Where the sidecars of this machine find each other, unless the Configuration chooses a name resolver.
    pub local_registry: LocalRegistry,
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
    /// Most series of a metric; 0 for no limit.
    pub metrics_max_series: usize,
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
    /// Times of the workflow engine.
    pub workflow: WorkflowTimes,
}

/// Where the sidecars of one machine meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalRegistry {
    /// Nowhere.
    Off,
    /// In a folder of the user's session: below `XDG_RUNTIME_DIR`, if that is given.
    Session(Option<PathBuf>),
    /// In this folder.
    Folder(PathBuf),
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsServer {
    /// Address to bind.
    pub address: String,
    /// Port to bind.
    pub port: u16,
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
            local_registry: LocalRegistry::new(&flags.local_registry, environment),
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
            metrics_max_series: usize::try_from(flags.metrics_max_series).unwrap_or_default(),
            api_token: environment.get_filled(env::DAPR_API_TOKEN),
            pod_name: environment.get_filled(env::POD_NAME),
            host_address: environment.get_filled(env::DAPR_HOST_IP),
            component_sockets: environment
                .get_filled(env::DAPR_COMPONENTS_SOCKETS_FOLDER)
                .map_or_else(|| PathBuf::from(DEFAULT_COMPONENT_SOCKETS), PathBuf::from),
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
            workflow: WorkflowTimes::new(environment),
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

// === impl LocalRegistry ===

impl LocalRegistry {
    fn new(option: &str, environment: &impl Env) -> Self {
        match option.trim() {
            "off" => Self::Off,
            "" | "on" => Self::Session(environment.get_filled(env::XDG_RUNTIME_DIR).map(PathBuf::from)),
            folder => Self::Folder(PathBuf::from(folder)),
        }
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
pub(super) fn span(environment: &impl Env, name: &str, default: Duration) -> Duration {
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
    fn the_sidecars_of_a_machine_meet_unless_they_are_told_not_to() {
        let session = [("XDG_RUNTIME_DIR".to_owned(), "/run/user/7".to_owned())];
        let session: std::collections::HashMap<_, _> = session.into_iter().collect();
        let cases: [(&[&str], _); 4] = [
            (&[], LocalRegistry::Session(Some("/run/user/7".into()))),
            (
                &["--local-registry=on"],
                LocalRegistry::Session(Some("/run/user/7".into())),
            ),
            (&["--local-registry=off"], LocalRegistry::Off),
            (
                &["--local-registry=/var/lib/x"],
                LocalRegistry::Folder("/var/lib/x".into()),
            ),
        ];
        for (args, expected) in cases {
            assert_eq!(
                settings_in(&session, args).unwrap().local_registry,
                expected,
                "{args:?}"
            );
        }
        assert_eq!(settings(&[]).local_registry, LocalRegistry::Session(None));
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
