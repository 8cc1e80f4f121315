//! What a sidecar says of itself to its components.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Settings;
use crate::env::{Env, ProcessEnv};

/// The environment that components see: that of the process, under the variables that a sidecar sets itself.
///
/// The process itself is not changed, so that runs of one process do not see each other's.
#[derive(Clone, Debug, Default)]
pub struct OwnEnv(Arc<BTreeMap<&'static str, String>>);

// === impl OwnEnv ===

impl OwnEnv {
    /// The variables of a sidecar that is reached at this address and by this internal port.
    ///
    /// Source: specification, the daprd process 2.2.
    #[must_use]
    pub fn new(settings: &Settings, host_address: &str, internal_port: u16) -> Self {
        let variables = [
            ("APP_ID", settings.app_id.to_string()),
            ("APP_PORT", settings.app.port.to_string()),
            ("HOST_ADDRESS", host_address.to_owned()),
            ("DAPR_PORT", internal_port.to_string()),
            ("DAPR_GRPC_PORT", settings.grpc_port.to_string()),
            ("DAPR_HTTP_PORT", settings.http_port.to_string()),
            ("DAPR_METRICS_PORT", settings.metrics_port.to_string()),
            ("DAPR_PROFILE_PORT", settings.profile_port.to_string()),
        ];
        Self(Arc::new(variables.into()))
    }
}

impl Env for OwnEnv {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned().or_else(|| ProcessEnv.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daprd::Flags;
    use crate::env::EmptyEnv;

    #[test]
    fn a_sidecar_tells_its_components_who_and_where_it_is() {
        let words = ["--app-id", "shop", "--app-port", "3000", "--metrics-port", "9191"];
        let flags = Flags::parse(words.map(str::to_owned)).unwrap().flags;
        let settings = Settings::new(flags, &EmptyEnv).unwrap();
        let own = OwnEnv::new(&settings, "10.0.0.1", 47_400);
        let table = [
            ("APP_ID", "shop"),
            ("APP_PORT", "3000"),
            ("HOST_ADDRESS", "10.0.0.1"),
            ("DAPR_PORT", "47400"),
            ("DAPR_GRPC_PORT", "50001"),
            ("DAPR_HTTP_PORT", "3500"),
            ("DAPR_METRICS_PORT", "9191"),
            ("DAPR_PROFILE_PORT", "7777"),
        ];
        for (name, value) in table {
            assert_eq!(own.get(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(own.get("CARGO_PKG_NAME"), ProcessEnv.get("CARGO_PKG_NAME"));
    }
}
