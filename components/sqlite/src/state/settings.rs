//! The settings of a store.

use std::time::Duration;

use outrigger_component::Properties;
use outrigger_component::sql::{cleanup_interval, is_identifier, statement_timeout};
use outrigger_svc::BoxError;

use crate::connection::ConnectionSettings;

/// Where the values are, and how long what may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) connection: ConnectionSettings,
    pub(super) table: String,
    pub(super) metadata_table: String,
    pub(super) timeout: Duration,
    /// None for no sweep.
    pub(super) cleanup_interval: Option<Duration>,
}

/// How long a statement waits for another process unless settings say otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

// === impl Settings ===

impl Settings {
    pub(super) fn parse(properties: &Properties) -> Result<Self, BoxError> {
        let fields = properties.fields()?;
        let address = fields.text_of(&["connectionString", "url"]).unwrap_or_default();
        if address.is_empty() {
            return Err("missing connection string".into());
        }
        let name = |field: &str, default: &str| {
            let name = fields.text(field).unwrap_or(default);
            match is_identifier(name) {
                true => Ok(name.to_owned()),
                false => Err(format!("invalid identifier: {name}")),
            }
        };
        let (table, metadata_table) = (
            name("tableName", "state")?,
            name("metadataTableName", "metadata")?,
        );
        let busy_timeout = fields.duration("busyTimeout")?;
        let busy_timeout = busy_timeout.map_or(BUSY_TIMEOUT, |span| span.to_std());
        let disable_wal = fields.boolean("disableWAL").unwrap_or_default();
        Ok(Self {
            timeout: statement_timeout(&fields)?,
            cleanup_interval: cleanup_interval(&fields, None)?,
            connection: ConnectionSettings::parse(address, busy_timeout, disable_wal)?,
            table,
            metadata_table,
        })
    }
}
