//! The settings that all components of a PostgreSQL server have. Source: specification, state stores 3.1.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use outrigger_component::sql::statement_timeout;
use outrigger_component::{Fields, PropertyError};
use outrigger_kit::duration::GoDuration;
use outrigger_svc::BoxError;

use super::connect::{ConnectError, Connector};
use super::connection::ExecMode;
use super::keywords::{KeywordError, Keywords};

/// How a server is reached, and how much it is asked at a time.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    /// Opens connections.
    pub(crate) connector: Connector,
    /// Longest time of a statement.
    pub(crate) timeout: Duration,
    /// The most connections.
    pub(crate) connections: usize,
    /// How long a connection is kept that nobody uses.
    pub(crate) idle_time: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// No server is named.
    #[error("failed to build connection string")]
    NoServer,
    /// An unknown word.
    #[error("invalid queryExecMode metadata value: {0}")]
    ExecMode(String),
    /// A way to sign in that this build does not have.
    #[error("{0} is not supported: name a user and a password, or a client certificate")]
    SignIn(&'static str),
    /// A name that cannot be one of a table.
    #[error("invalid value for '{setting}': {name} is not the name of a table")]
    Table { setting: &'static str, name: String },
    /// A time between cleanups that is none.
    #[error(transparent)]
    Interval(BoxError),
    /// A time that is none, or too short.
    #[error(transparent)]
    Timeout(BoxError),
    /// A text of the wrong kind.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A connection string that is none.
    #[error(transparent)]
    Keywords(#[from] KeywordError),
    /// Keywords that cannot be followed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

const DEFAULT_IDLE_TIME: Duration = Duration::from_secs(30 * 60);
const FEWEST_CONNECTIONS: usize = 4;

// === impl ConnectionSettings ===

impl ConnectionSettings {
    /// Reads the settings; `idle_aliases` are older names of `connectionMaxIdleTime`.
    pub(crate) fn read(fields: &Fields<'_>, idle_aliases: &[&str]) -> Result<Self, SettingsError> {
        for (flag, what) in [("useAzureAD", "useAzureAD"), ("useAWSIAM", "useAWSIAM")] {
            if fields.boolean(flag) == Some(true) {
                return Err(SettingsError::SignIn(what));
            }
        }
        let mode = fields.text("queryExecMode").unwrap_or_default();
        let mode = ExecMode::parse(mode).ok_or_else(|| SettingsError::ExecMode(mode.to_owned()))?;
        let timeout = statement_timeout(fields).map_err(SettingsError::Timeout)?;
        let idle_names: Vec<_> = [&["connectionMaxIdleTime"], idle_aliases].concat();
        let idle_time = duration(fields, &idle_names)?.and_then(GoDuration::positive);
        let wanted = fields.integer("maxConns")?.filter(|&wanted| wanted > 1);
        let connections = wanted.and_then(|wanted| usize::try_from(wanted).ok());
        Ok(Self {
            connector: Connector::new(keywords(fields)?, mode, timeout)?,
            timeout,
            connections: connections.unwrap_or_else(|| FEWEST_CONNECTIONS.max(processors())),
            idle_time: idle_time.unwrap_or(DEFAULT_IDLE_TIME),
        })
    }
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// A duration under one of several names; an empty text is none.
fn duration(fields: &Fields<'_>, names: &[&str]) -> Result<Option<GoDuration>, PropertyError> {
    let given = names.iter().find(|name| fields.text(name).is_some());
    match given {
        Some(name) if fields.text(name) != Some("") => fields.duration(name),
        _ => Ok(None),
    }
}

/// The connection string, completed and overridden by the settings that say the same.
fn keywords(fields: &Fields<'_>) -> Result<Keywords, SettingsError> {
    let text = fields.text_of(&["connectionString", "url"]).unwrap_or_default();
    let mut keywords = Keywords::parse(text)?;
    let address = if keywords.is_url() { "host" } else { "hostaddr" };
    for (setting, keyword) in [
        ("host", "host"),
        ("hostaddr", address),
        ("port", "port"),
        ("database", "dbname"),
        ("user", "user"),
        ("password", "password"),
        ("sslRootCert", "sslrootcert"),
    ] {
        if let Some(value) = fields.text(setting).filter(|value| !value.is_empty()) {
            keywords.set(keyword, value);
        }
    }
    if keywords.is_empty() && !keywords.is_url() {
        return Err(SettingsError::NoServer);
    }
    Ok(keywords)
}

#[cfg(test)]
mod tests {
    use outrigger_component::Properties;
    use tokio_postgres::config::Host;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ConnectionSettings, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let properties = Properties::new(pairs.iter().map(owned));
        let fields = properties.fields().unwrap();
        ConnectionSettings::read(&fields, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_override_the_connection_string() {
        for text in [
            "host=old port=1 dbname=old user=u password=p",
            "postgres://u:p@old:1/old",
        ] {
            let settings = read(&[
                ("connectionString", text),
                ("host", "new"),
                ("port", "5433"),
                ("database", "orders"),
                ("password", "it's \\ secret"),
            ]);
            let settings = settings.unwrap();
            let config = settings.connector.config();
            assert_eq!(config.get_hosts(), [Host::Tcp("new".to_owned())]);
            assert_eq!(config.get_ports(), [5433]);
            assert_eq!(config.get_dbname(), Some("orders"));
            assert_eq!(config.get_user(), Some("u"));
            assert_eq!(config.get_password(), Some(&b"it's \\ secret"[..]));
            assert!(!format!("{settings:?}").contains("secret"));
        }
        let settings = read(&[("host", "db"), ("hostaddr", "127.0.0.1"), ("user", "u")]).unwrap();
        let config = settings.connector.config();
        assert_eq!(config.get_hostaddrs().len(), 1);
        assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())]);
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let settings = read(&[("url", "host=x"), ("timeoutInSeconds", "5"), ("maxConns", "1")]).unwrap();
        assert_eq!(settings.timeout, Duration::from_secs(5));
        assert_eq!(settings.idle_time, Duration::from_secs(1800));
        assert_eq!(settings.connections, 4.max(processors()));
        let settings = read(&[("url", "host=x"), ("maxConns", "2")]).unwrap();
        assert_eq!(settings.timeout, Duration::from_secs(20));
        assert_eq!(settings.connections, 2);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let table = [
            (&[][..], "failed to build connection string"),
            (
                &[("url", "host=x"), ("timeout", "900ms")],
                "invalid value for 'timeout': must be greater than 1s",
            ),
            (
                &[("url", "host=x"), ("queryExecMode", "fast")],
                "invalid queryExecMode metadata value: fast",
            ),
            (
                &[("url", "host=x"), ("useAzureAD", "true")],
                "useAzureAD is not supported: name a user and a password, or a client certificate",
            ),
            (
                &[("url", "host=x port=many")],
                "invalid connection string: invalid value for option `port`",
            ),
            (&[("url", "host=x sslmode=x")], "sslmode is invalid: x"),
        ];
        for (pairs, expected) in table {
            assert_eq!(read(pairs).unwrap_err(), expected);
        }
    }
}
