//! The options of `daprd` as a table: name, place, meaning.

use super::Flags;
use super::flags::Sizes;
use crate::flags::FlagSet;

// === impl Flags ===

impl Flags {
    /// Binds every option to its field.
    #[rustfmt::skip]
    pub(super) fn declare<'a>(&'a mut self, sizes: &'a mut Sizes, set: &mut FlagSet<'a>) {
        set.text("app-id", &mut self.app_id, "id of the app, by which others call it");
        set.text("mode", &mut self.mode, "where the sidecar runs: standalone or kubernetes");
        set.text("app-port", &mut self.app_port, "port the app listens on; empty or 0 for no app");
        set.text("app-protocol", &mut self.app_protocol, "protocol of the app: http, https, h2c, grpc or grpcs");
        set.text("app-channel-address", &mut self.app_channel_address, "host the app listens on");
        set.integer("app-max-concurrency", &mut self.app_max_concurrency, "calls in flight to the app at most; -1 and 0 for no limit");
        set.bool("app-ssl", &mut self.app_ssl, "call the app over TLS").deprecated("use '--app-protocol https|grpcs'");

        set.text("dapr-http-port", &mut self.dapr_http_port, "port of the HTTP API");
        set.text("dapr-grpc-port", &mut self.dapr_grpc_port, "port of the gRPC API");
        set.text("dapr-listen-addresses", &mut self.dapr_listen_addresses, "comma-separated addresses of both APIs and of profiling; empty for all");
        set.text("dapr-public-port", &mut self.dapr_public_port, "port of the health and metadata server; empty for none");
        set.text("dapr-public-listen-address", &mut self.dapr_public_listen_address, "address of the health and metadata server; empty for all");
        set.text("dapr-internal-grpc-port", &mut self.dapr_internal_grpc_port, "port for other sidecars; empty or 0 for a stable one");
        set.text("dapr-internal-grpc-listen-address", &mut self.dapr_internal_grpc_listen_address, "address for other sidecars; empty for all");
        set.text("unix-domain-socket", &mut self.unix_domain_socket, "directory for API sockets, which then replace the TCP ports");
        set.text("profile-port", &mut self.profile_port, "port of the profiling server");
        set.bool("enable-profiling", &mut self.enable_profiling, "start the profiling server");

        set.optional_text("max-body-size", &mut sizes.max_body_size, "largest body or message, such as 4Mi").shown_default("\"4Mi\"");
        set.optional_integer("dapr-http-max-request-size", &mut sizes.http_max_request_size, "largest body or message in MB").deprecated("use '--max-body-size 4Mi'");
        set.optional_text("read-buffer-size", &mut sizes.read_buffer_size, "largest request headers, such as 4Ki").shown_default("\"4Ki\"");
        set.optional_integer("dapr-http-read-buffer-size", &mut sizes.http_read_buffer_size, "largest request headers in KB").deprecated("use '--read-buffer-size 4Ki'");
        set.text("allowed-origins", &mut self.allowed_origins, "origins that browsers may call from, comma-separated; empty for no CORS");

        set.list("config", &mut self.config, "paths of Configuration files, or the name of one resource in kubernetes mode");
        set.list("resources-path", &mut self.resources_path, "directories with resource files");
        set.text("components-path", &mut self.components_path, "directory with resource files").deprecated("use '--resources-path'");

        set.text("control-plane-address", &mut self.control_plane_address, "address of the operator");
        set.optional_text("control-plane-namespace", &mut self.control_plane_namespace, "namespace of the control plane").shown_default("\"default\"");
        set.optional_text("control-plane-trust-domain", &mut self.control_plane_trust_domain, "trust domain of the control plane").shown_default("\"localhost\"");
        set.text("sentry-address", &mut self.sentry_address, "address of the certificate authority");
        set.list("sentry-request-jwt-audiences", &mut self.sentry_request_jwt_audiences, "audiences of the JWTs to ask for");
        set.bool("enable-mtls", &mut self.enable_mtls, "mutual TLS between sidecars and to the control plane");
        set.text("local-registry", &mut self.local_registry, "where the sidecars of this machine find each other: on for a folder of the user's session, off, or a folder");
        set.text("placement-host-address", &mut self.placement_host_address, "comma-separated addresses of the placement service");
        set.list("scheduler-host-address", &mut self.scheduler_host_address, "addresses of the scheduler service");
        set.unsigned("scheduler-job-streams", &mut self.scheduler_job_streams, "streams per scheduler host");
        set.duration("actors-disseminate-timeout", &mut self.actors_disseminate_timeout, "longest round of placement");
        set.text("actors-service", &mut self.actors_service, "type and address of the actors service").deprecated("use '--placement-host-address'");
        set.text("reminders-service", &mut self.reminders_service, "type and address of the reminders service").deprecated("it has no effect");

        set.duration("hot-reload-reconcile-interval", &mut self.hot_reload_reconcile_interval, "how often resources are compared as a backup; 0 for 60s");
        set.duration("app-binding-options-timeout", &mut self.app_binding_options_timeout, "longest wait for the app's word on an input binding");
        set.optional_bool("enable-api-logging", &mut self.enable_api_logging, "log every API call");
        set.integer("dapr-graceful-shutdown-seconds", &mut self.dapr_graceful_shutdown_seconds, "time for shutdown in seconds; 0 for no limit");
        set.optional_duration("dapr-block-shutdown-duration", &mut self.dapr_block_shutdown_duration, "time to keep serving the app after a stop signal");
        set.bool("disable-builtin-k8s-secret-store", &mut self.disable_builtin_k8s_secret_store, "no secret store 'kubernetes' unless it is declared");
        set.list("disable-init-endpoints", &mut self.disable_init_endpoints, "app endpoints not to call at start: config, subscribe");

        set.bool("enable-app-health-check", &mut self.enable_app_health_check, "probe the health of the app");
        set.text("app-health-check-path", &mut self.app_health_check_path, "path of the probe, for HTTP apps");
        set.integer("app-health-probe-interval", &mut self.app_health_probe_interval, "seconds between probes");
        set.integer("app-health-probe-timeout", &mut self.app_health_probe_timeout, "longest probe in milliseconds");
        set.integer("app-health-threshold", &mut self.app_health_threshold, "failures after which the app counts as unhealthy");

        self.log.declare(set);
        set.bool("enable-metrics", &mut self.enable_metrics, "start the metrics server");
        set.text("metrics-port", &mut self.metrics_port, "port of the metrics server");
        set.text("metrics-listen-address", &mut self.metrics_listen_address, "address of the metrics server");
        set.integer("metrics-max-series", &mut self.metrics_max_series, "most series of a metric; what is beyond is counted in one; 0 for no limit");
        set.bool("version", &mut self.version, "print the version and exit");
        set.bool("build-info", &mut self.build_info, "print version and source of the build and exit");
        set.bool("wait", &mut self.wait, "wait until a sidecar on this host is ready and exit");
    }
}
