//! The ports of a sidecar.

use outrigger_kit::number;

use super::{Flags, SettingsError};

/// The ports of a sidecar, read and compared in the specified order.
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) grpc: u16,
    pub(super) profile: u16,
    pub(super) internal: Option<u16>,
    pub(super) public: Option<u16>,
    pub(super) app: u16,
}

// === impl Ports ===

impl Ports {
    pub(super) fn new(flags: &Flags) -> Result<Self, SettingsError> {
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

pub(super) fn port(option: &'static str, text: &str) -> Result<u16, SettingsError> {
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
