//! The settings of a state store. Source: specification, state stores 3.1 and 4.

use std::time::Duration;

use outrigger_component::Fields;
use outrigger_component::sql::cleanup_interval;

use super::layout::{Layout, TableName};
use super::migrations::Tables;
use crate::database::{ConnectionSettings, SettingsError};

/// How a state store keeps its values.
#[derive(Clone, Debug)]
pub(crate) struct StateSettings {
    /// The server.
    pub(crate) connection: ConnectionSettings,
    /// The tables.
    pub(crate) tables: Tables,
    /// Time between two cleanups; none is no cleanup.
    pub(crate) cleanup_interval: Option<Duration>,
}

/// Which store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// PostgreSQL and what behaves like it.
    Postgres(Layout),
    /// CockroachDB.
    Cockroach(Layout),
}

const DEFAULT_CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);

// === impl StateSettings ===

impl StateSettings {
    /// Reads the settings.
    pub(crate) fn read(fields: &Fields<'_>, kind: Kind) -> Result<Self, SettingsError> {
        let (layout, is_cockroach) = match kind {
            Kind::Postgres(layout) => (layout, false),
            Kind::Cockroach(layout) => (layout, true),
        };
        let text = |name| fields.text(name).filter(|text| !text.is_empty());
        let (state, suffix) = match layout {
            Layout::Version1 | Layout::Cockroach1 => {
                let name = text("tableName").unwrap_or("state");
                (TableName::parse("tableName", name)?, String::new())
            }
            Layout::Version2 => {
                let prefix = text("tablePrefix").unwrap_or_default();
                let table = TableName::parse("tablePrefix", &format!("{prefix}state"))?;
                (table, format!("-state-v2-{prefix}"))
            }
        };
        let metadata = text("metadataTableName").unwrap_or("dapr_metadata");
        let interval = cleanup_interval(fields, Some(DEFAULT_CLEANUP_INTERVAL));
        Ok(Self {
            connection: ConnectionSettings::read(fields, &[])?,
            tables: Tables {
                layout,
                state,
                metadata: TableName::parse("metadataTableName", metadata)?,
                level_key: format!("migrations{suffix}"),
                cleanup_key: format!("last-cleanup{suffix}"),
                is_cockroach,
            },
            cleanup_interval: interval.map_err(SettingsError::Interval)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::Properties;

    use super::*;

    fn read<const N: usize>(layout: Layout, pairs: [(&str, &str); N]) -> StateSettings {
        let mut properties = Properties::from(pairs);
        properties.set("connectionString", "host=x");
        StateSettings::read(&properties.fields().unwrap(), Kind::Postgres(layout)).unwrap()
    }

    #[test]
    fn tables_and_keys_have_their_names() {
        let first = read(Layout::Version1, []);
        assert_eq!(first.tables.state.as_str(), "state");
        assert_eq!(first.tables.metadata.as_str(), "dapr_metadata");
        assert_eq!(first.tables.level_key, "migrations");
        assert_eq!(first.tables.cleanup_key, "last-cleanup");
        assert_eq!(first.cleanup_interval, Some(Duration::from_secs(3600)));
        let second = read(
            Layout::Version2,
            [
                ("tablePrefix", "s.a_"),
                ("metadataTableName", "m"),
                ("cleanupInterval", "0"),
            ],
        );
        assert_eq!(second.tables.state.as_str(), "s.a_state");
        assert_eq!(second.tables.metadata.as_str(), "m");
        assert_eq!(second.tables.level_key, "migrations-state-v2-s.a_");
        assert_eq!(second.tables.cleanup_key, "last-cleanup-state-v2-s.a_");
        assert_eq!(second.cleanup_interval, None);
        let empty = read(Layout::Version1, [("cleanupInterval", "")]);
        assert_eq!(empty.cleanup_interval, Some(Duration::from_secs(3600)));
    }
}
