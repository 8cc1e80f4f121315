//! The component.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{Feature, Init};
use outrigger_kit::json;
use outrigger_svc::{BoxError, BoxFuture};
use serde_json::{Map, Value};

use crate::client::{Client, ClientError};
use crate::settings::{Settings, Values};

/// Reads the secrets of a Vault.
#[derive(Debug)]
pub struct Vault {
    client: Client,
    values: Values,
}

static FEATURES: [Feature; 1] = [Feature::MULTIPLE_KEY_VALUES_PER_SECRET];

/// Name of the metadata that say the version.
const VERSION: &str = "version_id";

/// The most folders that all secrets are looked for in.
const MAX_FOLDERS: usize = 100_000;

/// Reads the settings; the server is asked with the first secret.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
    Ok(Arc::new(Vault::new(&init)?))
}

// === impl Vault ===

impl Vault {
    fn new(init: &Init) -> Result<Self, BoxError> {
        let settings = Settings::read(&init.properties.fields()?)?;
        let values = settings.values;
        Ok(Self {
            client: Client::new(&init.http, settings)?,
            values,
        })
    }

    async fn secret(&self, name: &str, version: &str) -> Result<Secret, BoxError> {
        let data = self.client.secret(name, version).await?;
        match self.values {
            Values::Map => texts(data),
            Values::Text => Ok(Secret::single(
                name,
                json::to_go_string(&json::sorted(Value::Object(data))),
            )),
        }
    }

    async fn secrets(&self, version: &str) -> Result<BTreeMap<String, Secret>, BoxError> {
        let mut secrets = BTreeMap::new();
        let mut folders = vec![String::new()];
        for _ in 0..MAX_FOLDERS {
            let Some(folder) = folders.pop() else { break };
            for name in self.client.list(&folder).await? {
                let path = format!("{folder}{name}");
                if name.ends_with('/') {
                    folders.push(path);
                    continue;
                }
                let data = match self.client.secret(&path, version).await {
                    Ok(data) => data,
                    // Deleted since, or the version is not there.
                    Err(ClientError::Missing(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                let secret = match self.values {
                    Values::Map => texts(data)?,
                    Values::Text => {
                        let text = json::to_go_string(&json::sorted(Value::Object(data)));
                        Secret::single(path.as_str(), text)
                    }
                };
                secrets.insert(path, secret);
            }
        }
        Ok(secrets)
    }
}

impl SecretStore for Vault {
    fn features(&self) -> &[Feature] {
        match self.values {
            Values::Map => &FEATURES,
            Values::Text => &[],
        }
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        let version = metadata.get(VERSION).map_or("0", String::as_str);
        Box::pin(async move { self.secret(name, version).await.map(Some) })
    }

    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        let version = metadata.get(VERSION).map_or("0", String::as_str);
        Box::pin(self.secrets(version))
    }
}

/// The members of a secret's data, all of which must be texts.
fn texts(data: Map<String, Value>) -> Result<Secret, BoxError> {
    let texts: Result<Secret, String> = data
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(format!(
                "couldn't decode response body: the value of {name} is no string"
            )),
        })
        .collect();
    Ok(texts?)
}

#[cfg(test)]
mod tests {
    use outrigger_component::conformance::secrets::Traits;
    use outrigger_component::{Properties, conformance, testing};
    use outrigger_test_kit::Vault as Fake;
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "hvs.root";

    async fn store(fake: &Fake, own: &[(&str, &str)]) -> Vault {
        let mut settings = Properties::from([("vaultAddr", &*fake.address()), ("vaultToken", TOKEN)]);
        for (name, value) in own {
            settings.set(*name, *value);
        }
        Vault::new(&testing::init(settings)).unwrap()
    }

    fn version(text: &str) -> Metadata {
        Metadata::from([(VERSION.to_owned(), text.to_owned())])
    }

    #[tokio::test]
    async fn a_secret_is_its_members_or_one_text() {
        let fake = Fake::start(TOKEN).await.unwrap();
        fake.put(
            "secret",
            "dapr/team/db",
            &json!({ "user": "u", "password": "p<" }),
        );
        let map = store(&fake, &[]).await;
        assert_eq!(map.features(), [Feature::MULTIPLE_KEY_VALUES_PER_SECRET]);
        let secret = map.get("team/db", &Metadata::new()).await.unwrap().unwrap();
        assert_eq!(secret, Secret::from_iter([("user", "u"), ("password", "p<")]));
        let text = store(&fake, &[("vaultValueType", "text")]).await;
        assert!(text.features().is_empty());
        let secret = text.get("team/db", &Metadata::new()).await.unwrap().unwrap();
        assert_eq!(
            secret,
            Secret::single("team/db", r#"{"password":"p\u003c","user":"u"}"#)
        );
        let asked = fake.asked();
        assert_eq!(asked[0].target, "/v1/secret/data/dapr/team/db?version=0");
        assert_eq!(asked[0].headers.get("x-vault-request"), Some("true"));
    }

    #[tokio::test]
    async fn the_store_keeps_the_contract_of_secret_stores() {
        let fake = Fake::start(TOKEN).await.unwrap();
        let secrets = [("a", "1"), ("team/b", "2")].map(|(name, value)| {
            fake.put("secret", &format!("dapr/{name}"), &json!({ "k": value }));
            (name.to_owned(), Secret::single("k", value))
        });
        let traits = Traits {
            store: "secretstores.hashicorp.vault",
            features: &["MULTIPLE_KEY_VALUES_PER_SECRET"],
            secrets: BTreeMap::from(secrets),
            has_others: false,
            missing: Some("getSecret missing failed secret key or version not exist".to_owned()),
        };
        conformance::secrets::run(Arc::new(store(&fake, &[]).await), traits).await;
    }

    #[tokio::test]
    async fn versions_prefixes_and_engines_are_chosen() {
        let fake = Fake::start(TOKEN).await.unwrap();
        for value in ["first", "second"] {
            fake.put("kv/own", "k", &json!({ "v": value }));
        }
        let store = store(&fake, &[("enginePath", "kv/own"), ("vaultKVUsePrefix", "false")]).await;
        for (asked, expected) in [("1", "first"), ("2", "second"), ("0", "second")] {
            let secret = store.get("k", &version(asked)).await.unwrap().unwrap();
            assert_eq!(secret.get("v"), Some(expected));
        }
        let error = store.get("k", &version("3")).await.unwrap_err().to_string();
        assert_eq!(error, "getSecret k failed secret key or version not exist");
    }

    #[tokio::test]
    async fn all_secrets_are_those_of_all_folders() {
        let fake = Fake::start(TOKEN).await.unwrap();
        for name in ["a", "team/b", "team/deep/c"] {
            fake.put("secret", &format!("dapr/{name}"), &json!({ "k": name }));
        }
        fake.put("secret", "other/d", &json!({ "k": "d" }));
        let store = store(&fake, &[]).await;
        let all = store.bulk(&Metadata::new()).await.unwrap();
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "team/b", "team/deep/c"]);
        assert_eq!(all["team/b"].get("k"), Some("team/b"));
        assert!(
            store.bulk(&version("9")).await.unwrap().is_empty(),
            "no secret has that version"
        );
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_told_without_the_token() {
        let fake = Fake::start("other").await.unwrap();
        let store = store(&fake, &[]).await;
        let error = store.get("k", &Metadata::new()).await.unwrap_err().to_string();
        let expected =
            r#"couldn't get successful response, status code 403, body {"errors":["permission denied"]}"#;
        assert_eq!(error, expected);
        assert!(!format!("{store:?}").contains(TOKEN));
    }

    #[tokio::test]
    async fn values_of_a_map_are_texts() {
        let fake = Fake::start(TOKEN).await.unwrap();
        fake.put("secret", "dapr/k", &json!({ "n": 5 }));
        let store = store(&fake, &[]).await;
        let error = store.get("k", &Metadata::new()).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "couldn't decode response body: the value of n is no string"
        );
    }
}
