//! Options and settings of the sidecar (`daprd`).

mod app;
mod error;
mod flags;
mod options;
mod own_env;
mod port;
mod ports;
mod security;
mod settings;
mod workflow;

pub use app::{AppHealth, AppProtocol, AppSettings, DisabledInit};
pub use error::SettingsError;
pub use flags::Flags;
pub use own_env::OwnEnv;
pub use port::stable_port;
pub use security::{HttpProxy, Security};
pub use settings::{DEFAULT_COMPONENT_SOCKETS, LocalRegistry, MetricsServer, Settings};
pub use workflow::WorkflowTimes;
