//! Settings of the store.

use std::time::Duration;

use outrigger_component::{Fields, Properties, PropertyError};
use outrigger_kit::duration::parse_go;

/// Where the servers are, and where values are on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `host:port` of each server, with commas between.
    pub(crate) servers: String,
    /// How long a server keeps a session without a word of it.
    pub(crate) session_timeout: Duration,
    /// The node below which all values are; without the slash at its end, empty for the root.
    pub(crate) prefix: String,
}

/// Settings that make no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("servers are required")]
    Servers,
    #[error("sessionTimeout is required")]
    Timeout,
    #[error("sessionTimeout is invalid: {0}")]
    TimeoutInvalid(String),
    #[error(transparent)]
    Property(#[from] PropertyError),
}

// === impl Settings ===

impl Settings {
    pub(crate) fn parse(properties: &Properties) -> Result<Self, SettingsError> {
        let fields = properties.fields()?;
        let servers = fields.text("servers").filter(|servers| !servers.is_empty());
        Ok(Self {
            servers: servers.ok_or(SettingsError::Servers)?.replace(' ', ""),
            session_timeout: session_timeout(&fields)?,
            prefix: prefix(fields.text("keyPrefixPath").unwrap_or_default()),
        })
    }
}

fn session_timeout(fields: &Fields<'_>) -> Result<Duration, SettingsError> {
    let text = fields.text("sessionTimeout").filter(|text| !text.is_empty());
    let text = text.ok_or(SettingsError::Timeout)?;
    let span = parse_go(text).map_err(|error| SettingsError::TimeoutInvalid(error.to_string()))?;
    let positive = span.positive();
    positive.ok_or_else(|| SettingsError::TimeoutInvalid(format!("{text} is not longer than nothing")))
}

fn prefix(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_what_is_missing_is_named() {
        let parse = |servers, timeout, path| {
            let pairs = [
                ("servers", servers),
                ("sessionTimeout", timeout),
                ("keyPrefixPath", path),
            ];
            Settings::parse(&Properties::from(pairs))
        };
        let settings = parse("a:1, b:2", "5s", "/dapr/states/").unwrap();
        assert_eq!(settings.servers, "a:1,b:2");
        assert_eq!(settings.session_timeout, Duration::from_secs(5));
        assert_eq!(settings.prefix, "/dapr/states");
        assert_eq!(parse("a:1", "5s", "").unwrap().prefix, "");
        assert_eq!(parse("", "5s", ""), Err(SettingsError::Servers));
        assert_eq!(parse("a:1", "", ""), Err(SettingsError::Timeout));
        for timeout in ["soon", "0s", "-1s"] {
            let error = parse("a:1", timeout, "").unwrap_err();
            assert!(matches!(error, SettingsError::TimeoutInvalid(_)), "{timeout}");
        }
    }
}
