//! Every option of `daprd`, with its default.

use outrigger_kit::duration::GoDuration;
use outrigger_kit::quantity;

use crate::LogFlags;
use crate::flags::{FlagError, FlagSet, Parsed};
use crate::metrics::{DEFAULT_MAX_SERIES, check_max_series};

/// The command line of a sidecar, as given. [`Settings`](super::Settings) has what it means.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is the option of the same name, described in `declare`"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "options are independent of each other"
)]
pub struct Flags {
    pub app_id: String,
    pub mode: String,
    pub app_port: String,
    pub app_protocol: String,
    pub app_channel_address: String,
    pub app_max_concurrency: i64,
    pub app_ssl: bool,
    pub dapr_http_port: String,
    pub dapr_grpc_port: String,
    pub dapr_listen_addresses: String,
    pub dapr_public_port: String,
    pub dapr_public_listen_address: String,
    pub dapr_internal_grpc_port: String,
    pub dapr_internal_grpc_listen_address: String,
    pub unix_domain_socket: String,
    pub profile_port: String,
    pub enable_profiling: bool,
    /// Bytes, from `--max-body-size` or `--dapr-http-max-request-size`.
    pub max_body_size: i64,
    /// Bytes, from `--read-buffer-size` or `--dapr-http-read-buffer-size`.
    pub read_buffer_size: i64,
    pub allowed_origins: String,
    pub config: Vec<String>,
    pub resources_path: Vec<String>,
    pub components_path: String,
    pub control_plane_address: String,
    pub control_plane_namespace: Option<String>,
    pub control_plane_trust_domain: Option<String>,
    pub sentry_address: String,
    pub sentry_request_jwt_audiences: Vec<String>,
    pub enable_mtls: bool,
    pub local_registry: String,
    pub placement_host_address: String,
    pub scheduler_host_address: Vec<String>,
    pub scheduler_job_streams: u64,
    pub actors_disseminate_timeout: GoDuration,
    pub hot_reload_reconcile_interval: GoDuration,
    pub app_binding_options_timeout: GoDuration,
    pub enable_api_logging: Option<bool>,
    pub dapr_graceful_shutdown_seconds: i64,
    pub dapr_block_shutdown_duration: Option<GoDuration>,
    pub disable_builtin_k8s_secret_store: bool,
    pub disable_init_endpoints: Vec<String>,
    pub enable_app_health_check: bool,
    pub app_health_check_path: String,
    pub app_health_probe_interval: i64,
    pub app_health_probe_timeout: i64,
    pub app_health_threshold: i64,
    pub log: LogFlags,
    pub enable_metrics: bool,
    pub metrics_port: String,
    pub metrics_listen_address: String,
    pub metrics_max_series: i64,
    pub version: bool,
    pub build_info: bool,
    pub wait: bool,
    pub actors_service: String,
    pub reminders_service: String,
}

/// Options that end up in one value, in the order of their precedence.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) max_body_size: Option<String>,
    pub(super) http_max_request_size: Option<i64>,
    pub(super) read_buffer_size: Option<String>,
    pub(super) http_read_buffer_size: Option<i64>,
}

// === impl Flags ===

impl Default for Flags {
    fn default() -> Self {
        Self {
            app_id: String::new(),
            mode: "standalone".to_owned(),
            app_port: String::new(),
            app_protocol: "http".to_owned(),
            app_channel_address: "127.0.0.1".to_owned(),
            app_max_concurrency: -1,
            app_ssl: false,
            dapr_http_port: "3500".to_owned(),
            dapr_grpc_port: "50001".to_owned(),
            dapr_listen_addresses: String::new(),
            dapr_public_port: String::new(),
            dapr_public_listen_address: String::new(),
            dapr_internal_grpc_port: String::new(),
            dapr_internal_grpc_listen_address: String::new(),
            unix_domain_socket: String::new(),
            profile_port: "7777".to_owned(),
            enable_profiling: false,
            max_body_size: Self::DEFAULT_MAX_BODY_SIZE,
            read_buffer_size: Self::DEFAULT_READ_BUFFER_SIZE,
            allowed_origins: String::new(),
            config: Vec::new(),
            resources_path: Vec::new(),
            components_path: String::new(),
            control_plane_address: String::new(),
            control_plane_namespace: None,
            control_plane_trust_domain: None,
            sentry_address: String::new(),
            sentry_request_jwt_audiences: Vec::new(),
            enable_mtls: false,
            local_registry: "on".to_owned(),
            placement_host_address: String::new(),
            scheduler_host_address: Vec::new(),
            scheduler_job_streams: 3,
            actors_disseminate_timeout: GoDuration::from_secs(30),
            hot_reload_reconcile_interval: GoDuration::ZERO,
            app_binding_options_timeout: GoDuration::from_secs(3),
            enable_api_logging: None,
            dapr_graceful_shutdown_seconds: 5,
            dapr_block_shutdown_duration: None,
            disable_builtin_k8s_secret_store: false,
            disable_init_endpoints: Vec::new(),
            enable_app_health_check: false,
            app_health_check_path: "/healthz".to_owned(),
            app_health_probe_interval: 5,
            app_health_probe_timeout: 500,
            app_health_threshold: 3,
            log: LogFlags::default(),
            enable_metrics: true,
            metrics_port: "9090".to_owned(),
            metrics_listen_address: "0.0.0.0".to_owned(),
            metrics_max_series: DEFAULT_MAX_SERIES,
            version: false,
            build_info: false,
            wait: false,
            actors_service: String::new(),
            reminders_service: String::new(),
        }
    }
}

impl Flags {
    /// Limit of a body or message when none is given: 4 MiB.
    pub const DEFAULT_MAX_BODY_SIZE: i64 = 4 << 20;
    /// Limit of request headers when none is given: 4 KiB.
    pub const DEFAULT_READ_BUFFER_SIZE: i64 = 4 << 10;

    /// Reads the arguments of the program, without its name.
    ///
    /// # Errors
    /// See [`FlagError`]: the usage, an unknown option or bad value, or a value that makes no sense.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Parsed<Self>, FlagError> {
        let mut flags = Self::default();
        let mut sizes = Sizes::default();
        let mut set = FlagSet::new("daprd");
        flags.declare(&mut sizes, &mut set);
        let notices = set.parse(args)?;

        flags.max_body_size = sizes.max_body_size()?;
        flags.read_buffer_size = sizes.read_buffer_size()?;
        if flags.scheduler_job_streams == 0 {
            return Err(FlagError::Value(
                "must define at least 1 scheduler stream, got 0".to_owned(),
            ));
        }
        if !flags.actors_disseminate_timeout.is_positive() {
            return Err(FlagError::Value(format!(
                "invalid value for 'actors-disseminate-timeout' option: must be positive, got {}",
                flags.actors_disseminate_timeout
            )));
        }
        check_max_series(flags.metrics_max_series)?;
        Ok(Parsed { flags, notices })
    }

    /// Every option with its type and default, for the golden file.
    #[must_use]
    pub fn table() -> String {
        let (mut flags, mut sizes) = (Self::default(), Sizes::default());
        let mut set = FlagSet::new("daprd");
        flags.declare(&mut sizes, &mut set);
        set.table()
    }
}

// === impl Sizes ===

impl Sizes {
    fn max_body_size(&self) -> Result<i64, FlagError> {
        let size = resolve(
            "max-body-size",
            self.max_body_size.as_deref(),
            self.http_max_request_size,
            1 << 20,
        )?;
        Ok(match size {
            None | Some(-1) => Flags::DEFAULT_MAX_BODY_SIZE,
            Some(size) => size,
        })
    }

    fn read_buffer_size(&self) -> Result<i64, FlagError> {
        let size = resolve(
            "read-buffer-size",
            self.read_buffer_size.as_deref(),
            self.http_read_buffer_size,
            1 << 10,
        )?;
        Ok(match size {
            Some(size) if size > 0 => size,
            _ => Flags::DEFAULT_READ_BUFFER_SIZE,
        })
    }
}

/// The quantity if it is given, else the deprecated number of `unit` bytes, as it is when not positive.
fn resolve(name: &str, given: Option<&str>, old: Option<i64>, unit: i64) -> Result<Option<i64>, FlagError> {
    match (given, old) {
        (Some(text), _) => match quantity::parse(text) {
            Ok(size) => Ok(Some(size)),
            Err(error) => Err(FlagError::Value(format!(
                "invalid value for '{name}' option: {error}"
            ))),
        },
        (None, Some(old)) if old > 0 => Ok(Some(old.saturating_mul(unit))),
        (None, old) => Ok(old),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Parsed<Flags>, FlagError> {
        Flags::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn no_arguments_give_the_defaults() {
        let parsed = parse(&[]).unwrap();
        assert_eq!(parsed.flags, Flags::default());
        assert!(parsed.notices.is_empty());
    }

    #[test]
    fn sizes_follow_their_precedence() {
        let table: [(&[&str], i64, i64); 9] = [
            (&[], 4 << 20, 4096),
            (&["--max-body-size", "1k", "--read-buffer-size=8Ki"], 1000, 8192),
            (
                &[
                    "--dapr-http-max-request-size",
                    "2",
                    "--dapr-http-read-buffer-size",
                    "16",
                ],
                2 << 20,
                16 << 10,
            ),
            (
                &["--dapr-http-max-request-size", "2", "--max-body-size", "500k"],
                500_000,
                4096,
            ),
            (&["--dapr-http-max-request-size", "-1"], 4 << 20, 4096),
            (&["--dapr-http-max-request-size", "0"], 0, 4096),
            (&["--max-body-size", "-1"], 4 << 20, 4096),
            (&["--max-body-size", "0"], 0, 4096),
            (&["--read-buffer-size", "0"], 4 << 20, 4096),
        ];
        for (args, body, headers) in table {
            let flags = parse(args).unwrap().flags;
            assert_eq!(
                (flags.max_body_size, flags.read_buffer_size),
                (body, headers),
                "{args:?}"
            );
        }
    }

    #[test]
    fn values_that_make_no_sense_are_fatal() {
        let text = |args: &[&str]| {
            let error = parse(args).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            error.to_string()
        };
        assert!(
            text(&["--max-body-size", "x"])
                .starts_with("Failed to parse flags: invalid value for 'max-body-size' option: ")
        );
        assert!(text(&["--read-buffer-size="]).contains("'read-buffer-size'"));
        assert_eq!(
            text(&["--metrics-max-series=-1"]),
            "Failed to parse flags: invalid value for 'metrics-max-series' option: must not be negative, got -1"
        );
        assert_eq!(
            text(&["--scheduler-job-streams=0"]),
            "Failed to parse flags: must define at least 1 scheduler stream, got 0"
        );
        assert_eq!(
            text(&["--actors-disseminate-timeout", "-1m30s"]),
            "Failed to parse flags: invalid value for 'actors-disseminate-timeout' option: must be positive, got -1m30s"
        );
    }

    #[test]
    fn the_golden_file_shows_the_options() {
        assert_eq!(
            Flags::table(),
            include_str!("../../golden/daprd-flags.txt"),
            "run `cargo xtask golden` and look at the change"
        );
    }

    #[test]
    fn every_option_of_the_sheet_is_known() {
        let with_value = "app-id mode app-port app-protocol app-channel-address app-max-concurrency dapr-http-port \
            dapr-grpc-port dapr-listen-addresses dapr-public-port dapr-public-listen-address dapr-internal-grpc-port \
            dapr-internal-grpc-listen-address unix-domain-socket profile-port dapr-http-max-request-size \
            dapr-http-read-buffer-size allowed-origins config resources-path components-path control-plane-address \
            control-plane-namespace control-plane-trust-domain sentry-address sentry-request-jwt-audiences \
            placement-host-address scheduler-host-address scheduler-job-streams max-body-size read-buffer-size \
            dapr-graceful-shutdown-seconds disable-init-endpoints app-health-check-path app-health-probe-interval \
            app-health-probe-timeout app-health-threshold log-level log-file metrics-port metrics-listen-address \
            metrics-max-series actors-service reminders-service";
        for name in with_value.split_whitespace() {
            assert!(parse(&[&format!("--{name}"), "1"]).is_ok(), "{name}");
        }
        for name in [
            "actors-disseminate-timeout",
            "hot-reload-reconcile-interval",
            "app-binding-options-timeout",
            "dapr-block-shutdown-duration",
        ] {
            assert!(parse(&[&format!("-{name}=1s")]).is_ok(), "{name}");
        }
        let switches = "app-ssl enable-profiling enable-mtls enable-api-logging disable-builtin-k8s-secret-store \
            enable-app-health-check log-as-json enable-metrics version build-info wait";
        for name in switches.split_whitespace() {
            assert!(parse(&[&format!("-{name}")]).is_ok(), "{name}");
        }
    }

    #[test]
    fn deprecated_options_are_told() {
        let parsed = parse(&["-app-ssl", "--components-path", "x"]).unwrap();
        assert_eq!(parsed.notices.len(), 2);
        assert!(parsed.notices[0].starts_with("Flag --app-ssl has been deprecated, "));
        let FlagError::Help { usage } = parse(&["--help"]).unwrap_err() else {
            panic!("not help")
        };
        for hidden in [
            "app-ssl",
            "components-path",
            "actors-service",
            "reminders-service",
            "dapr-http-max-request-size",
        ] {
            assert!(!usage.contains(&format!("--{hidden} ")), "{hidden}");
        }
        assert!(usage.contains("--max-body-size string"));
    }
}
