//! `secretstores.local.file`: a JSON document.
//!
//! The document is read once. Objects and arrays in it are flattened: the path of a value is the names that lead to
//! it (of an item of an array its index), with a separator between them. Values other than texts are their JSON,
//! `null` is empty; the reference prints them as a mistake of its format, which nobody can want.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fs, io};

use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{Feature, Init};
use outrigger_kit::json::to_go_string;
use outrigger_kit::system;
use outrigger_svc::{BoxError, BoxFuture};
use serde_json::{Map, Value};

/// Secrets of a file: each value one of its own, or each object at the top one of several values.
#[derive(Debug)]
pub struct FileSecrets {
    secrets: BTreeMap<String, Secret>,
    features: &'static [Feature],
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("missing local secrets file in metadata")]
    NoFile,
    #[error("open {file}: {}", system::text(.error))]
    Unread { file: String, error: io::Error },
    #[error("secrets file {file} is not JSON: {error}")]
    NoJson { file: String, error: serde_json::Error },
    #[error("secrets file {0} is not a JSON object")]
    NoObject(String),
}

/// What of a path is in front, and what stands between its parts.
#[derive(Clone, Copy)]
struct Walk<'a> {
    path: Option<&'a str>,
    separator: &'a str,
}

static MULTI_VALUED: [Feature; 1] = [Feature::MULTIPLE_KEY_VALUES_PER_SECRET];
/// Between the names of a path unless the metadata say otherwise.
const SEPARATOR: &str = ":";

// === impl FileSecrets ===

impl FileSecrets {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
        let fields = init.properties.fields()?;
        let file = fields.text("secretsFile").filter(|file| !file.is_empty());
        let file = file.ok_or(FileError::NoFile)?.to_owned();
        let separator = fields.text("nestedSeparator").filter(|text| !text.is_empty());
        let separator = separator.unwrap_or(SEPARATOR);
        let is_multi_valued = fields.boolean("multiValued").unwrap_or(false);
        let members = tokio::task::spawn_blocking(move || read(file)).await??;
        Ok(Arc::new(Self::new(members, separator, is_multi_valued)))
    }

    fn new(members: Map<String, Value>, separator: &str, is_multi_valued: bool) -> Self {
        let walk = Walk {
            path: None,
            separator,
        };
        let mut secrets = BTreeMap::new();
        if !is_multi_valued {
            for (path, value) in walk.flat(&Value::Object(members)) {
                let secret = Secret::single(path.as_str(), value);
                secrets.insert(path, secret);
            }
            return Self {
                secrets,
                features: &[],
            };
        }
        for (name, value) in members {
            let secret = match &value {
                Value::String(text) => Secret::single(name.as_str(), text.as_str()),
                Value::Object(_) => walk.flat(&value).into_iter().collect(),
                _ => continue,
            };
            secrets.insert(name, secret);
        }
        Self {
            secrets,
            features: &MULTI_VALUED,
        }
    }
}

impl SecretStore for FileSecrets {
    fn features(&self) -> &[Feature] {
        self.features
    }

    fn get<'a>(&'a self, name: &'a str, _: &'a Metadata) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        let found = self.secrets.get(name).cloned();
        let found = found.ok_or_else(|| format!("secret {name} not found").into());
        Box::pin(std::future::ready(found.map(Some)))
    }

    fn bulk<'a>(&'a self, _: &'a Metadata) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(std::future::ready(Ok(self.secrets.clone())))
    }
}

// === impl Walk ===

impl Walk<'_> {
    /// All values of a document by their paths; of two at the same path the first one counts.
    fn flat(self, document: &Value) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        self.visit(document, &mut found);
        found
    }

    fn visit(self, value: &Value, found: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    self.step(name, member, found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.step(&index.to_string(), item, found);
                }
            }
            leaf => {
                let path = self.path.unwrap_or_default().to_owned();
                found.entry(path).or_insert_with(|| text(leaf));
            }
        }
    }

    fn step(self, name: &str, value: &Value, found: &mut BTreeMap<String, String>) {
        let path = match self.path {
            Some(path) => format!("{path}{}{name}", self.separator),
            None => name.to_owned(),
        };
        let inside = Walk {
            path: Some(&path),
            separator: self.separator,
        };
        inside.visit(value, found);
    }
}

/// The members of the object that a file holds. Errors tell where something is wrong, and nothing of what stands
/// there.
fn read(file: String) -> Result<Map<String, Value>, FileError> {
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) => return Err(FileError::Unread { file, error }),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(FileError::NoObject(file)),
        Err(error) => Err(FileError::NoJson { file, error }),
    }
}

fn text(leaf: &Value) -> String {
    match leaf {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => to_go_string(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Server, init};

    fn members(document: Value) -> Map<String, Value> {
        match document {
            Value::Object(members) => members,
            other => panic!("{other} is no object"),
        }
    }

    fn shop() -> Map<String, Value> {
        members(json!({
            "plain": "p",
            "redis": {"password": "r", "ports": ["1", {"tls": "2"}], "": "unnamed"},
            "list": ["a", "b"],
            "number": 20260101, "half": 0.5, "large": 1e21, "yes": true, "nothing": null, "empty": {},
        }))
    }

    fn pairs(secrets: &BTreeMap<String, Secret>) -> Vec<String> {
        let shown = |(name, secret): (&String, &Secret)| {
            let values: Vec<_> = secret
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("{name}: {}", values.join(" "))
        };
        secrets.iter().map(shown).collect()
    }

    #[test]
    fn each_value_is_a_secret_by_its_path() {
        let store = FileSecrets::new(shop(), ":", false);
        assert_eq!(store.features(), []);
        let expected = [
            "half: half=0.5",
            "large: large=1e+21",
            "list:0: list:0=a",
            "list:1: list:1=b",
            "nothing: nothing=",
            "number: number=20260101",
            "plain: plain=p",
            "redis:: redis:=unnamed",
            "redis:password: redis:password=r",
            "redis:ports:0: redis:ports:0=1",
            "redis:ports:1:tls: redis:ports:1:tls=2",
            "yes: yes=true",
        ];
        assert_eq!(pairs(&store.secrets), expected);
    }

    #[test]
    fn each_object_at_the_top_is_a_secret_if_there_may_be_several_values() {
        let store = FileSecrets::new(shop(), ".", true);
        assert_eq!(store.features(), MULTI_VALUED);
        let expected = [
            "empty: ",
            "plain: plain=p",
            "redis: =unnamed password=r ports.0=1 ports.1.tls=2",
        ];
        assert_eq!(pairs(&store.secrets), expected);
    }

    #[test]
    fn of_two_values_at_one_path_one_stays() {
        let document = members(json!({"a": {"b": "nested"}, "a:b": "flat"}));
        let store = FileSecrets::new(document, ":", false);
        assert_eq!(pairs(&store.secrets), ["a:b: a:b=nested"]);
    }

    #[tokio::test]
    async fn a_secret_is_found_by_its_name_or_not_at_all() {
        let store = FileSecrets::new(shop(), ":", false);
        let none = Metadata::new();
        assert_eq!(
            store.get("plain", &none).await.unwrap(),
            Some(Secret::single("plain", "p"))
        );
        assert_eq!(
            store.get("redis", &none).await.unwrap_err().to_string(),
            "secret redis not found"
        );
        assert_eq!(store.bulk(&none).await.unwrap(), store.secrets);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_told_without_what_is_in_it() {
        let folder = std::env::temp_dir().join(format!("outrigger-secrets-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("secrets.json");
        let file = path.to_str().unwrap().to_owned();
        let made = async |settings: &[(&str, &str)]| FileSecrets::make(init(&Server::new(), settings)).await;
        let error = async |settings: &[(&str, &str)]| made(settings).await.unwrap_err().to_string();

        let missing = "missing local secrets file in metadata";
        assert_eq!(error(&[]).await, missing);
        assert_eq!(error(&[("secretsFile", "")]).await, missing);
        assert_eq!(
            error(&[("secretsfile", &file)]).await,
            format!("open {file}: no such file or directory")
        );
        fs::write(&path, r#"{"a": "hunter2" oops}"#).unwrap();
        let told = error(&[("secretsFile", &file)]).await;
        assert!(
            told.starts_with(&format!("secrets file {file} is not JSON: ")),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
        fs::write(&path, r#"["hunter2"]"#).unwrap();
        assert_eq!(
            error(&[("secretsFile", &file)]).await,
            format!("secrets file {file} is not a JSON object")
        );
        fs::write(&path, "{}").unwrap();
        let store = made(&[("secretsFile", &file)]).await.unwrap();
        assert!(store.bulk(&Metadata::new()).await.unwrap().is_empty());
        fs::write(&path, r#"{"a": {"b": "c"}}"#).unwrap();
        let settings = [
            ("secretsFile", &*file),
            ("nestedSeparator", "_"),
            ("multiValued", "yes"),
        ];
        assert_eq!(made(&settings).await.unwrap().features().len(), 1);
        let store = made(&settings[..2]).await.unwrap();
        let secret = store.get("a_b", &Metadata::new()).await.unwrap();
        assert_eq!(secret, Some(Secret::single("a_b", "c")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
