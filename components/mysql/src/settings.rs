//! The settings of a store. Source: specification, state stores 7.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_component::Properties;
use outrigger_component::sql::{cleanup_interval, is_identifier};
use outrigger_svc::BoxError;

use crate::data_source::DataSource;

/// Where the values are, and how long what may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) source: DataSource,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) metadata_table: String,
    pub(crate) timeout: Duration,
    /// None for no sweep.
    pub(crate) cleanup_interval: Option<Duration>,
    /// Own roots, for `tls=custom`.
    pub(crate) roots: Option<PathBuf>,
}

const TIMEOUT: Duration = Duration::from_secs(20);
const CLEANUP: Duration = Duration::from_secs(3600);

// === impl Settings ===

impl Settings {
    pub(crate) fn parse(properties: &Properties) -> Result<Self, BoxError> {
        let fields = properties.fields()?;
        let text = |name| fields.text(name).filter(|text| !text.is_empty());
        let source = text("connectionString").ok_or("missing connection string")?;
        let name = |field, what: &str, default: &str| {
            let name = text(field).unwrap_or(default);
            match is_identifier(name) {
                true => Ok(name.to_owned()),
                false => Err(format!("{what} name '{name}' is not valid")),
            }
        };
        let timeout = fields.integer("timeoutInSeconds")?;
        let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            source: source.parse()?,
            table: name("tableName", "table", "state")?,
            metadata_table: name("metadataTableName", "metadata table", "dapr_metadata")?,
            schema: name("schemaName", "schema", "dapr_state_store")?,
            timeout: timeout
                .filter(|seconds| *seconds > 0)
                .map_or(TIMEOUT, Duration::from_secs),
            cleanup_interval: cleanup_interval(&fields, Some(CLEANUP))?,
            roots: text("pemPath").map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_specified_defaults() {
        let settings = Settings::parse(&Properties::from([("connectionString", "u@/")])).unwrap();
        let names = (&*settings.schema, &*settings.table, &*settings.metadata_table);
        assert_eq!(names, ("dapr_state_store", "state", "dapr_metadata"));
        assert_eq!(
            (settings.timeout, settings.cleanup_interval),
            (TIMEOUT, Some(CLEANUP))
        );
        let never = [
            ("connectionString", "u@/"),
            ("cleanupInterval", "-1"),
            ("timeoutInSeconds", "5"),
        ];
        let settings = Settings::parse(&Properties::from(never)).unwrap();
        assert_eq!(
            (settings.timeout, settings.cleanup_interval),
            (Duration::from_secs(5), None)
        );
    }

    #[test]
    fn wrong_settings_are_refused_with_the_specified_texts() {
        for (name, value, text) in [
            ("connectionString", "", "missing connection string"),
            ("schemaName", "a-b", "schema name 'a-b' is not valid"),
            ("tableName", "a b", "table name 'a b' is not valid"),
            (
                "metadataTableName",
                "a;b",
                "metadata table name 'a;b' is not valid",
            ),
        ] {
            let mut properties = Properties::from([("connectionString", "u@/")]);
            properties.set(name, value);
            assert_eq!(Settings::parse(&properties).unwrap_err().to_string(), text);
        }
    }
}
