//! The settings of a store.

use std::time::Duration;

use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use outrigger_component::{Fields, PropertyError};
use outrigger_kit::duration::GoDuration;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Where the documents are, and how sure reads and writes are.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The address, which may hold a password.
    pub(crate) uri: String,
    /// Name of the database.
    pub(crate) database: String,
    /// Name of the collection.
    pub(crate) collection: String,
    /// When a write is done.
    pub(crate) write_concern: WriteConcern,
    /// How fresh a read is.
    pub(crate) read_concern: ReadConcern,
    /// Longest time of an operation.
    pub(crate) timeout: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Neither host nor server.
    #[error("must set 'host' or 'server' fields in metadata")]
    NoServer,
    /// Both.
    #[error("'host' or 'server' fields are mutually exclusive")]
    TwoServers,
    /// A word that is no concern.
    #[error("error in getting write concern object: invalid writeconcern {0}")]
    WriteConcern(String),
    /// A word that is no concern.
    #[error("error in getting read concern object: readConcern {0} not found")]
    ReadConcern(String),
    /// A text of the wrong kind.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

const DEFAULT_DATABASE: &str = "daprStore";
const DEFAULT_COLLECTION: &str = "daprCollection";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a write may wait for others to have it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Settings ===

impl Settings {
    /// Reads the settings.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, SettingsError> {
        let text = |name| fields.text(name).filter(|text| !text.is_empty());
        let database = text("databaseName").unwrap_or(DEFAULT_DATABASE);
        let uri = match (text("connectionString"), text("host"), text("server")) {
            (Some(uri), ..) => uri.to_owned(),
            (None, None, None) => return Err(SettingsError::NoServer),
            (None, Some(_), Some(_)) => return Err(SettingsError::TwoServers),
            (None, host, server) => address(
                host,
                server.unwrap_or_default(),
                [text("username"), text("password")].map(Option::unwrap_or_default),
                database,
                text("params").unwrap_or_default(),
            ),
        };
        let timeout = fields
            .duration("operationTimeout")?
            .and_then(GoDuration::positive);
        Ok(Self {
            uri,
            database: database.to_owned(),
            collection: text("collectionName").unwrap_or(DEFAULT_COLLECTION).to_owned(),
            write_concern: write_concern(text("writeconcern").unwrap_or("1"))?,
            read_concern: read_concern(text("readconcern").unwrap_or("local"))?,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        })
    }

    /// Whether the server is one of several, and has transactions.
    pub(crate) fn has_replicas(&self) -> bool {
        self.uri.to_ascii_lowercase().contains("replicaset=")
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("database", &self.database)
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

fn address(
    host: Option<&str>,
    server: &str,
    [user, password]: [&str; 2],
    database: &str,
    params: &str,
) -> String {
    let params = match params {
        "" => String::new(),
        params if params.starts_with('?') => params.to_owned(),
        params => format!("?{params}"),
    };
    let Some(host) = host else {
        return format!("mongodb+srv://{server}/{params}");
    };
    if user.is_empty() || password.is_empty() {
        return format!("mongodb://{host}/{database}{params}");
    }
    let [user, password] = [user, password].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    format!("mongodb://{user}:{password}@{host}/{database}{params}")
}

fn write_concern(text: &str) -> Result<WriteConcern, SettingsError> {
    let acknowledgment = match text {
        "majority" => Acknowledgment::Majority,
        text => match text.parse() {
            Ok(nodes) => Acknowledgment::Nodes(nodes),
            Err(_) => return Err(SettingsError::WriteConcern(text.to_owned())),
        },
    };
    Ok(WriteConcern::builder()
        .w(acknowledgment)
        .journal(true)
        .w_timeout(WRITE_TIMEOUT)
        .build())
}

fn read_concern(text: &str) -> Result<ReadConcern, SettingsError> {
    match text {
        "local" => Ok(ReadConcern::local()),
        "majority" => Ok(ReadConcern::majority()),
        "available" => Ok(ReadConcern::available()),
        "linearizable" => Ok(ReadConcern::linearizable()),
        "snapshot" => Ok(ReadConcern::snapshot()),
        other => Err(SettingsError::ReadConcern(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::Properties;

    use super::*;

    fn read<const N: usize>(pairs: [(&str, &str); N]) -> Result<Settings, String> {
        let properties = Properties::from(pairs);
        Settings::read(&properties.fields().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_put_together() {
        let table = [
            (read([("host", "a:1")]), "mongodb://a:1/daprStore"),
            (
                read([
                    ("host", "a,b"),
                    ("username", "u"),
                    ("password", "p@:/"),
                    ("databaseName", "d"),
                    ("params", "replicaSet=r"),
                ]),
                "mongodb://u:p%40%3A%2F@a,b/d?replicaSet=r",
            ),
            (
                read([("server", "s"), ("params", "?x=y")]),
                "mongodb+srv://s/?x=y",
            ),
            (
                read([("host", "a"), ("connectionString", "mongodb://x")]),
                "mongodb://x",
            ),
        ];
        for (settings, uri) in table {
            let settings = settings.unwrap();
            assert_eq!(settings.uri, uri);
            assert_eq!(settings.has_replicas(), uri.contains("replicaSet"));
            assert_eq!(settings.timeout, Duration::from_secs(5));
            assert!(!format!("{settings:?}").contains("mongodb"));
        }
    }

    #[test]
    fn concerns_are_words_or_numbers() {
        let settings = read([
            ("host", "a"),
            ("writeconcern", "majority"),
            ("readconcern", "snapshot"),
        ])
        .unwrap();
        assert_eq!(settings.write_concern.w, Some(Acknowledgment::Majority));
        assert_eq!(settings.write_concern.journal, Some(true));
        assert_eq!(settings.read_concern, ReadConcern::snapshot());
        let settings = read([("host", "a")]).unwrap();
        assert_eq!(settings.write_concern.w, Some(Acknowledgment::Nodes(1)));
        assert_eq!(settings.write_concern.w_timeout, Some(WRITE_TIMEOUT));
        let error = read([]).unwrap_err();
        assert_eq!(error, "must set 'host' or 'server' fields in metadata");
        let error = read([("host", "a"), ("server", "b")]).unwrap_err();
        assert_eq!(error, "'host' or 'server' fields are mutually exclusive");
        assert!(read([("host", "a"), ("writeconcern", "x")]).is_err());
        assert!(read([("host", "a"), ("readconcern", "x")]).is_err());
    }
}
