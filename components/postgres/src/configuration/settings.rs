//! The settings of a configuration store.

use outrigger_component::{Fields, PropertyError};

use crate::database::{ConnectionSettings, SettingsError};

/// Where configuration is kept and how its changes are heard.
#[derive(Clone, Debug)]
pub(crate) struct ConfigurationSettings {
    /// The server.
    pub(crate) connection: ConnectionSettings,
    /// The table, perhaps with its schema.
    pub(crate) table: String,
    /// The channel that a subscription listens to which names none.
    pub(crate) channel: Option<String>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationSettingsError {
    /// No table is named.
    #[error("missing postgreSQL configuration table name")]
    NoTable,
    /// A name that is too long.
    #[error("{what} name is too long: '{name}', at most {LONGEST} characters are allowed")]
    Long { what: &'static str, name: String },
    /// A name of other characters.
    #[error("invalid {what} name '{name}': only a-z, 0-9, '.', '/' and '_' are allowed")]
    Characters { what: &'static str, name: String },
    /// Something about the server.
    #[error(transparent)]
    Connection(#[from] SettingsError),
    /// A text of the wrong kind.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// The longest name of a table or a channel.
const LONGEST: usize = 64;

// === impl ConfigurationSettings ===

impl ConfigurationSettings {
    /// Reads the settings.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, ConfigurationSettingsError> {
        let table = fields.text("table").filter(|table| !table.is_empty());
        let table = table.ok_or(ConfigurationSettingsError::NoTable)?;
        let channel = fields.text_of(&["notifyChannel", "pgNotifyChannel"]);
        let channel = channel.filter(|channel| !channel.is_empty());
        Ok(Self {
            table: checked("table", table)?,
            channel: channel.map(|channel| checked("channel", channel)).transpose()?,
            connection: ConnectionSettings::read(fields, &["connMaxIdleTime"])?,
        })
    }
}

/// A name as it may be.
pub(crate) fn checked(what: &'static str, name: &str) -> Result<String, ConfigurationSettingsError> {
    let name = name.to_owned();
    if name.len() > LONGEST {
        return Err(ConfigurationSettingsError::Long { what, name });
    }
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./_".contains(&byte);
    if !name.bytes().all(is_allowed) {
        return Err(ConfigurationSettingsError::Characters { what, name });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use outrigger_component::Properties;

    use super::*;

    fn read<const N: usize>(pairs: [(&str, &str); N]) -> Result<ConfigurationSettings, String> {
        let mut properties = Properties::from(pairs);
        properties.set("connectionString", "host=x");
        let settings = ConfigurationSettings::read(&properties.fields().unwrap());
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_short_and_plain() {
        let settings = read([("table", "app.settings"), ("pgNotifyChannel", "news")]).unwrap();
        assert_eq!(settings.table, "app.settings");
        assert_eq!(settings.channel.as_deref(), Some("news"));
        assert_eq!(
            read([]).unwrap_err(),
            "missing postgreSQL configuration table name"
        );
        assert_eq!(
            read([("table", "Settings")]).unwrap_err(),
            "invalid table name 'Settings': only a-z, 0-9, '.', '/' and '_' are allowed"
        );
        assert!(
            read([("table", &"a".repeat(65))])
                .unwrap_err()
                .contains("too long")
        );
        assert!(read([("table", "a"), ("notifyChannel", "a b")]).is_err());
    }
}
