//! Options and settings of the certificate authority (`sentry`).

mod configuration;
mod flags;
mod settings;

pub use configuration::{CaConfiguration, CaConfigurationError, TokenValidator, ValidatorKind};
pub use flags::Flags;
pub use settings::{CredentialPaths, Jwt, Listener, Oidc, Settings, SettingsError, TlsFiles};
