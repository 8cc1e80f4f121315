//! What the component is told.

use std::path::Path;

use outrigger_component::{Fields, Trust};
use outrigger_svc::BoxError;

/// The settings. Its debug form has no token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Address of the server, without a slash at the end.
    pub(crate) address: String,
    /// Mount of the engine.
    pub(crate) engine: String,
    /// What stands before the names of secrets: `<prefix>/`, or nothing.
    pub(crate) prefix: String,
    pub(crate) token: String,
    pub(crate) values: Values,
    /// Whom the client believes; none is whom the system does.
    pub(crate) trust: Option<Trust>,
}

/// What becomes of the data of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Each member is a value.
    Map,
    /// The whole is one value, as JSON.
    Text,
}

const ADDRESS: &str = "https://127.0.0.1:8200";

/// The most folders below the one with certificates.
const MAX_DEPTH: usize = 16;

// === impl Settings ===

impl Settings {
    /// Reads the settings, and the files that they name.
    ///
    /// # Errors
    /// The text of the init error.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, BoxError> {
        let filled = |name: &str| fields.text(name).filter(|text| !text.is_empty());
        let values = match filled("vaultValueType") {
            None => Values::Map,
            Some(word) if word.eq_ignore_ascii_case("map") => Values::Map,
            Some(word) if word.eq_ignore_ascii_case("text") => Values::Text,
            Some(word) => {
                let text = "accepted values are map or text";
                return Err(format!("vault init error, invalid value type {word}, {text}").into());
            }
        };
        let token = match (filled("vaultToken"), filled("vaultTokenMountPath")) {
            (None, None) => return Err("token mount path and token not set".into()),
            (Some(_), Some(_)) => return Err("token mount path and token both set".into()),
            (Some(token), None) => token.to_owned(),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                let text = text
                    .map_err(|error| format!("couldn't read vault token from mount path {path}: {error}"))?;
                text.trim().to_owned()
            }
        };
        let prefix = match fields.boolean("vaultKVUsePrefix") {
            Some(false) => String::new(),
            _ => format!("{}/", filled("vaultKVPrefix").unwrap_or("dapr")),
        };
        Ok(Self {
            address: filled("vaultAddr")
                .unwrap_or(ADDRESS)
                .trim_end_matches('/')
                .to_owned(),
            engine: filled("enginePath")
                .unwrap_or("secret")
                .trim_matches('/')
                .to_owned(),
            prefix,
            token,
            values,
            trust: trust(fields)?,
        })
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("engine", &self.engine)
            .field("prefix", &self.prefix)
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

/// Whom the settings believe: a text, else the files of a folder, else a file.
fn trust(fields: &Fields<'_>) -> Result<Option<Trust>, BoxError> {
    let filled = |name: &str| fields.text(name).filter(|text| !text.is_empty());
    let roots = match (filled("caPem"), filled("caPath"), filled("caCert")) {
        (Some(text), ..) => Some(text.to_owned()),
        (None, Some(folder), _) => {
            let mut text = String::new();
            gather(Path::new(folder), 0, &mut text)
                .map_err(|error| format!("couldn't read certificates from {folder}: {error}"))?;
            Some(text)
        }
        (None, None, Some(file)) => {
            let text = std::fs::read_to_string(file);
            Some(text.map_err(|error| format!("couldn't read certificates from {file}: {error}"))?)
        }
        (None, None, None) => None,
    };
    let trust = Trust {
        roots,
        is_blind: fields.text("skipVerify") == Some("true"),
        server_name: filled("tlsServerName").map(str::to_owned),
    };
    Ok((trust != Trust::default()).then_some(trust))
}

/// The texts of all files in a folder and in those below it.
fn gather(folder: &Path, depth: usize, text: &mut String) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if depth < MAX_DEPTH {
                gather(&path, depth + 1, text)?;
            }
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path)?));
            text.push('\n');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use outrigger_component::Properties;
    use outrigger_test_kit::Directory;

    use super::*;

    fn read<const N: usize>(settings: [(&str, &str); N]) -> Result<Settings, String> {
        let properties = Properties::from(settings);
        let fields = properties.fields().unwrap();
        Settings::read(&fields).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let settings = read([("vaultToken", "t")]).unwrap();
        let expected = Settings {
            address: "https://127.0.0.1:8200".to_owned(),
            engine: "secret".to_owned(),
            prefix: "dapr/".to_owned(),
            token: "t".to_owned(),
            values: Values::Map,
            trust: None,
        };
        assert_eq!(settings, expected);
        assert!(!format!("{settings:?}").contains("\"t\""));
        let own = read([
            ("vaultToken", "t"),
            ("vaultKVUsePrefix", "false"),
            ("vaultKVPrefix", "x"),
        ])
        .unwrap();
        assert_eq!(own.prefix, "");
    }

    #[test]
    fn there_is_one_token() {
        assert_eq!(read([]).unwrap_err(), "token mount path and token not set");
        let both = [("vaultToken", "t"), ("vaultTokenMountPath", "/t")];
        assert_eq!(read(both).unwrap_err(), "token mount path and token both set");
        let directory = Directory::new().unwrap();
        let file = directory.write("token", " hvs.x\n").unwrap();
        let settings = read([("vaultTokenMountPath", file.to_str().unwrap())]).unwrap();
        assert_eq!(settings.token, "hvs.x");
        let missing = read([("vaultTokenMountPath", "/nowhere/token")]).unwrap_err();
        assert!(
            missing.starts_with("couldn't read vault token from mount path /nowhere/token: "),
            "{missing}"
        );
    }

    #[test]
    fn a_kind_of_values_is_map_or_text() {
        let error = read([("vaultToken", "t"), ("vaultValueType", "list")]).unwrap_err();
        assert_eq!(
            error,
            "vault init error, invalid value type list, accepted values are map or text"
        );
        let text = read([("vaultToken", "t"), ("vaultValueType", "text")]).unwrap();
        assert_eq!(text.values, Values::Text);
    }

    #[test]
    fn certificates_come_from_a_text_then_a_folder_then_a_file() {
        let directory = Directory::new().unwrap();
        directory.write("certs/a.pem", "A").unwrap();
        directory.write("certs/below/b.pem", "B").unwrap();
        let file = directory.write("c.pem", "C").unwrap();
        let (folder, file) = (directory.path().join("certs"), file.to_str().unwrap());
        let folder = folder.to_str().unwrap();
        let trust = |settings: &[(&str, &str)]| {
            let settings = settings.iter().chain(&[("vaultToken", "t")]);
            let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let properties = Properties::new(settings);
            Settings::read(&properties.fields().unwrap()).unwrap().trust
        };
        let roots = |settings: &[(&str, &str)]| trust(settings).unwrap().roots.unwrap();
        assert_eq!(
            roots(&[("caPem", "P"), ("caPath", folder), ("caCert", file)]),
            "P"
        );
        let mut gathered: Vec<_> = roots(&[("caPath", folder), ("caCert", file)])
            .lines()
            .map(str::to_owned)
            .collect();
        gathered.sort();
        assert_eq!(gathered, ["A", "B"]);
        assert_eq!(roots(&[("caCert", file)]), "C");
        assert!(trust(&[("skipVerify", "true")]).unwrap().is_blind);
        assert_eq!(trust(&[("skipVerify", "True")]), None, "exactly this word");
        let named = trust(&[("tlsServerName", "vault")]).unwrap();
        assert_eq!(named.server_name.as_deref(), Some("vault"));
    }
}
