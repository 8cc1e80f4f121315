//! What the component is told.

use outrigger_component::Fields;

use crate::credential::{Account, CredentialError, Source};

/// Why a component cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A setting that must be there.
    #[error("missing property `{0}` in metadata")]
    Missing(&'static str),
    /// Credentials that are none.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

/// Settings, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) project: String,
    pub(crate) source: Source,
}

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

// === impl Settings ===

impl Settings {
    /// Reads the settings, then what the environment says of credentials.
    ///
    /// # Errors
    /// A setting that is missing, or credentials that cannot be used.
    pub(crate) fn read(
        fields: &Fields<'_>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let filled = |names: &[&str]| fields.text_of(names).filter(|text| !text.is_empty());
        let required = |name: &'static str, names: &[&str]| filled(names).ok_or(SettingsError::Missing(name));
        let project = required("project_id", &["projectID", "project_id"])?.to_owned();
        let source = match filled(&["privateKeyID", "private_key_id"]) {
            None => Source::surrounding(environment)?,
            Some(key_id) => {
                required("type", &["type"])?;
                let key = required("private_key", &["privateKey", "private_key"])?;
                let email = required("client_email", &["clientEmail", "client_email"])?;
                let token_uri = filled(&["tokenURI", "token_uri"]).unwrap_or(TOKEN_URI);
                Source::Account(Account::new(email, Some(key_id), key, token_uri)?)
            }
        };
        Ok(Self { project, source })
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::Properties;

    use super::*;

    fn read<const N: usize>(settings: [(&str, &str); N]) -> Result<Settings, String> {
        let properties = Properties::from(settings);
        let fields = properties.fields().unwrap();
        Settings::read(&fields, |_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_needs_what_belongs_to_it() {
        let key = ("privateKeyID", "id");
        assert_eq!(read([]).unwrap_err(), "missing property `project_id` in metadata");
        assert_eq!(
            read([("project_id", "p"), key]).unwrap_err(),
            "missing property `type` in metadata"
        );
        let kind = ("type", "service_account");
        let error = read([("projectID", "p"), key, kind]).unwrap_err();
        assert_eq!(error, "missing property `private_key` in metadata");
        let error = read([("projectID", "p"), key, kind, ("private_key", "k")]).unwrap_err();
        assert_eq!(error, "missing property `client_email` in metadata");
        let whole = [
            ("projectID", "p"),
            key,
            kind,
            ("private_key", "k"),
            ("clientEmail", "e"),
        ];
        assert_eq!(
            read(whole).unwrap_err(),
            "the private key is no PKCS #8 key of RSA in PEM"
        );
    }

    #[test]
    fn without_a_key_the_machine_is_asked() {
        let settings = read([("projectID", "p")]).unwrap();
        assert!(matches!(settings.source, Source::Machine(_)));
    }
}
