//! Options and settings of the sidecar (`daprd`).

mod flags;
mod port;
mod settings;

pub use flags::{Flags, LogFlags};
pub use port::stable_port;
pub use settings::{
    AppHealth, AppProtocol, AppSettings, DisabledInit, HttpProxy, MetricsServer, Security, Settings,
    SettingsError,
};
