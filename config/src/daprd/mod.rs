//! Options and settings of the sidecar (`daprd`).

mod app;
mod error;
mod flags;
mod options;
mod port;
mod ports;
mod security;
mod settings;

pub use app::{AppHealth, AppProtocol, AppSettings, DisabledInit};
pub use error::SettingsError;
pub use flags::Flags;
pub use port::stable_port;
pub use security::{HttpProxy, Security};
pub use settings::{LocalRegistry, MetricsServer, Settings};
