//! The environment, read once and through a trait, so that tests can feed a map.

use std::collections::{BTreeMap, HashMap};

/// A source of environment variables.
pub trait Env {
    /// Value of a variable; `None` when it is not set. Set but empty is `Some("")`.
    fn get(&self, name: &str) -> Option<String>;

    /// Value of a variable that is set to something other than an empty text.
    fn get_filled(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

/// The environment of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

/// An environment without any variable.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyEnv;

/// Token required on the HTTP and gRPC API.
pub const DAPR_API_TOKEN: &str = "DAPR_API_TOKEN";
/// Token sent to the app.
pub const APP_API_TOKEN: &str = "APP_API_TOKEN";
/// Namespace of the workload.
pub const NAMESPACE: &str = "NAMESPACE";
/// Folder of the user's session for what ends with it.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Value of the placeholder `{podName}`.
pub const POD_NAME: &str = "POD_NAME";
/// Advertised host address.
pub const DAPR_HOST_IP: &str = "DAPR_HOST_IP";
/// PEM bundle of trust anchors.
pub const DAPR_TRUST_ANCHORS: &str = "DAPR_TRUST_ANCHORS";
/// Namespace of the control plane, when the option is absent.
pub const DAPR_CONTROLPLANE_NAMESPACE: &str = "DAPR_CONTROLPLANE_NAMESPACE";
/// Trust domain of the control plane, when the option is absent.
pub const DAPR_CONTROLPLANE_TRUST_DOMAIN: &str = "DAPR_CONTROLPLANE_TRUST_DOMAIN";
/// File with the token for certificate requests.
pub const DAPR_SENTRY_TOKEN_FILE: &str = "DAPR_SENTRY_TOKEN_FILE";
/// Id sent to the CA instead of the app id.
pub const SENTRY_LOCAL_IDENTITY: &str = "SENTRY_LOCAL_IDENTITY";
/// Scheduler addresses, when the option is absent.
pub const DAPR_SCHEDULER_HOST_ADDRESS_DNS_A: &str = "DAPR_SCHEDULER_HOST_ADDRESS_DNS_A";
/// Folder of the sockets of pluggable components.
pub const DAPR_COMPONENTS_SOCKETS_FOLDER: &str = "DAPR_COMPONENTS_SOCKETS_FOLDER";
/// Names that `envRef` may use, separated by spaces.
pub const DAPR_ENV_KEYS: &str = "DAPR_ENV_KEYS";
/// Truthy: the HTTP API speaks HTTP/1.1 only.
pub const DAPR_HTTP_DISABLE_H2C: &str = "DAPR_HTTP_DISABLE_H2C";
/// Idle time after which a connection to a sidecar is closed.
pub const DAPR_GRPC_MAX_CONN_IDLE: &str = "DAPR_GRPC_MAX_CONN_IDLE";
/// How often idle connections are looked for.
pub const DAPR_GRPC_CONN_COLLECTOR_INTERVAL: &str = "DAPR_GRPC_CONN_COLLECTOR_INTERVAL";
/// `true` allows uid 0 in kubernetes mode.
pub const DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK: &str = "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK";
/// Endpoint of the trace exporter; wins over the general one.
pub const OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Endpoint of all OTLP exporters.
pub const OTEL_EXPORTER_OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Protocol of the trace exporter; wins over the general one.
pub const OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
/// Protocol of all OTLP exporters.
pub const OTEL_EXPORTER_OTLP_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// Exactly `true` turns TLS to the trace collector off; wins over the general one.
pub const OTEL_EXPORTER_OTLP_TRACES_INSECURE: &str = "OTEL_EXPORTER_OTLP_TRACES_INSECURE";
/// Exactly `true` turns TLS to collectors off.
pub const OTEL_EXPORTER_OTLP_INSECURE: &str = "OTEL_EXPORTER_OTLP_INSECURE";
/// Headers of the trace exporter; wins over the general one.
pub const OTEL_EXPORTER_OTLP_TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
/// Headers of all OTLP exporters.
pub const OTEL_EXPORTER_OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// Timeout of the trace exporter in ms; wins over the general one.
pub const OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
/// Timeout of all OTLP exporters in ms.
pub const OTEL_EXPORTER_OTLP_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
/// Service name of the trace resource, instead of the app id.
pub const OTEL_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Further attributes of the trace resource.
pub const OTEL_RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// Period of the check for stuck workflows.
pub const DAPR_WORKFLOW_JANITOR_PERIOD: &str = "DAPR_WORKFLOW_JANITOR_PERIOD";
/// How often idle workflow actors are looked for.
pub const DAPR_WORKFLOW_REAPER_SCAN_INTERVAL: &str = "DAPR_WORKFLOW_REAPER_SCAN_INTERVAL";
/// Idle time after which a workflow actor is let go.
pub const DAPR_WORKFLOW_REAPER_IDLE_TTL: &str = "DAPR_WORKFLOW_REAPER_IDLE_TTL";
/// Longest wait for the completions of one workflow turn to be gathered.
pub const DAPR_WORKFLOW_FOLD_WAIT_TIMEOUT: &str = "DAPR_WORKFLOW_FOLD_WAIT_TIMEOUT";
/// Proxy of outgoing `http` calls.
pub const HTTP_PROXY: &str = "HTTP_PROXY";
/// Proxy of outgoing `https` calls.
pub const HTTPS_PROXY: &str = "HTTPS_PROXY";
/// Hosts that are called without proxy, separated by commas.
pub const NO_PROXY: &str = "NO_PROXY";
/// Home directory, where a kubeconfig file may lie.
pub const HOME: &str = "HOME";

// === impl ProcessEnv ===

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

// === impl EmptyEnv ===

impl Env for EmptyEnv {
    fn get(&self, _name: &str) -> Option<String> {
        None
    }
}

impl<E: Env + ?Sized> Env for &E {
    fn get(&self, name: &str) -> Option<String> {
        (**self).get(name)
    }
}

impl Env for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

impl Env for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

impl<const N: usize> Env for [(&str, &str); N] {
    fn get(&self, name: &str) -> Option<String> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_not_the_same_as_unset() {
        let env = [("A", ""), ("B", "x")];
        assert_eq!(env.get("A").as_deref(), Some(""));
        assert_eq!(env.get_filled("A"), None);
        assert_eq!(env.get_filled("B").as_deref(), Some("x"));
        assert_eq!(env.get("C"), None);
        assert_eq!(EmptyEnv.get("PATH"), None);
    }
}
