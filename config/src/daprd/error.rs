//! Options that make no sense.

use outrigger_kit::number::ParseNumberError;

/// Why options make no sense together. Log as `Fatal error from runtime: <text>` and exit with 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither standalone nor kubernetes.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// No app id.
    #[error("parameter app-id cannot be empty")]
    AppIdEmpty,
    /// An app id with a dot, which separates id and namespace.
    #[error("parameter app-id cannot contain dots")]
    AppIdDots,
    /// A port that is no number.
    #[error("error parsing {option}: {source}")]
    PortNumber {
        /// The option as the text names it.
        option: &'static str,
        /// What is wrong with the number.
        source: ParseNumberError,
    },
    /// A number that is no port.
    #[error("error parsing {option}: {number} is not a port, which is 0 to 65535")]
    PortRange {
        /// The option as the text names it.
        option: &'static str,
        /// The number.
        number: i64,
    },
    /// An API and the app on one port.
    #[error("the '{option}' argument value {port} conflicts with 'app-port'")]
    PortConflict {
        /// Option of the API.
        option: &'static str,
        /// The port of both.
        port: u16,
    },
    /// An unknown app protocol.
    #[error("invalid value for 'app-protocol': {0}")]
    AppProtocol(String),
    /// An unknown name in `--disable-init-endpoints`.
    #[error("invalid value for 'disable-init-endpoints': {0}")]
    DisabledInit(String),
    /// A probe that would outlast the interval between probes.
    #[error("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'")]
    HealthTimeout,
}
