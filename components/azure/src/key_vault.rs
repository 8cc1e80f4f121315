//! Secrets in a key vault.
//!
//! Source: specification, secrets A3; the REST interface of Key Vault, version 7.4.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{HttpClient, Init};
use outrigger_svc::{BoxError, BoxFuture};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cloud::Cloud;
use crate::credential::{Login, LoginSettings};
use crate::service::{Ask, Patience};

/// Reads the secrets of a key vault.
#[derive(Debug)]
pub struct KeyVault {
    http: HttpClient,
    login: Login,
    /// `https://<name>.vault.azure.net`
    vault: String,
    /// What tokens are for.
    scope: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Bundle {
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct List {
    value: Vec<Entry>,
    next_link: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `https://<vault>/secrets/<name>`
    id: String,
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attributes {
    enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    error: Reason,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: String,
    message: String,
}

const VERSION: &str = "api-version=7.4";

/// The most pages of a list, whatever the vault says of a next one.
const MAX_PAGES: usize = 10_000;

/// Reads the settings; the vault is asked with the first secret.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
    let store = KeyVault::new(&init, |name| std::env::var(name).ok())?;
    Ok(Arc::new(store))
}

// === impl KeyVault ===

impl KeyVault {
    fn new(init: &Init, environment: impl Fn(&str) -> Option<String>) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let settings = LoginSettings::read(&fields, environment)?;
        let name = fields.text("vaultName").unwrap_or_default();
        let (vault, cloud) = place(name, settings.cloud).ok_or("vaultName is missing or malformed")?;
        Ok(Self {
            http: init.http.clone(),
            login: Login::new(settings, init.http.clone()),
            vault,
            scope: format!("https://{}/.default", cloud.vault()),
        })
    }

    async fn secret(&self, name: &str, version: &str) -> Result<String, BoxError> {
        let [name, version] = [name, version].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
        let url = format!("{}/secrets/{name}/{version}?{VERSION}", self.vault);
        let bundle: Bundle = self.fetch(url).await?;
        Ok(bundle.value)
    }

    async fn secrets(&self, metadata: &Metadata) -> Result<BTreeMap<String, Secret>, BoxError> {
        let limit = metadata
            .get("maxresults")
            .map(|text| outrigger_kit::number::atoi(text));
        let limit = limit.transpose()?.and_then(|limit| usize::try_from(limit).ok());
        let mut secrets = BTreeMap::new();
        let mut next = Some(format!("{}/secrets?{VERSION}", self.vault));
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let list: List = self.fetch(url).await?;
            for entry in &list.value {
                let name = entry.id.rsplit('/').next().unwrap_or_default();
                if entry.attributes.enabled == Some(false) || name.is_empty() {
                    continue;
                }
                let value = self.secret(name, "").await?;
                secrets.insert(name.to_owned(), Secret::single(name, value));
            }
            if limit.is_some_and(|limit| secrets.len() >= limit) {
                break;
            }
            // Tokens go to the own vault only.
            let own = format!("{}/", self.vault);
            next = list.next_link.filter(|link| link.starts_with(&own));
        }
        Ok(secrets)
    }

    async fn fetch<T: DeserializeOwned>(&self, url: String) -> Result<T, BoxError> {
        let mut ask = Ask::new(Method::GET, url);
        let bearer = self.login.bearer(&self.scope).await?;
        ask.headers.insert(AUTHORIZATION, bearer);
        let answer = ask.send(&self.http, Patience::default(), |_| Ok(())).await?;
        if answer.status() == StatusCode::OK {
            return Ok(serde_json::from_slice(answer.body())?);
        }
        let Reason { code, message } = serde_json::from_slice::<Told>(answer.body())
            .unwrap_or_default()
            .error;
        Err(format!("{}: {code}: {message}", answer.status()).into())
    }
}

impl SecretStore for KeyVault {
    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        Box::pin(async move {
            let version = metadata.get("version_id").map_or("", String::as_str);
            let value = self.secret(name, version).await?;
            Ok(Some(Secret::single(name, value)))
        })
    }

    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(self.secrets(metadata))
    }
}

/// Address and cloud of a vault by its short name, or by its whole one, which says the cloud too.
fn place(name: &str, cloud: Cloud) -> Option<(String, Cloud)> {
    let name = name.trim_end_matches('/');
    let bare = name.strip_prefix("https://").unwrap_or(name);
    let clouds = [Cloud::Public, Cloud::China, Cloud::Government];
    let whole = clouds.into_iter().find_map(|cloud| {
        let short = bare.strip_suffix(cloud.vault())?.strip_suffix('.')?;
        Some((short, cloud))
    });
    let (short, cloud) = whole.unwrap_or((bare, cloud));
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '-';
    (!short.is_empty() && short.chars().all(is_name))
        .then(|| (format!("https://{short}.{}", cloud.vault()), cloud))
}

#[cfg(test)]
mod tests {
    use outrigger_component::conformance::secrets::Traits;
    use outrigger_component::{Properties, conformance, testing};

    use super::*;
    use outrigger_component::testing::{Server, Told as Answered};

    const NEXT: &str = "https://v.vault.azure.net/secrets?page=2";

    /// A fake of the vault `v`: two pages of secrets, one of which is switched off.
    fn vault() -> Arc<Server> {
        Server::new(|asked, _| -> Answered {
            let path = asked
                .url
                .strip_prefix("https://v.vault.azure.net/")
                .unwrap_or(&asked.url);
            let entry = |name: &str, enabled| {
                serde_json::json!({ "id": format!("https://v.vault.azure.net/secrets/{name}"),
                    "attributes": { "enabled": enabled } })
            };
            let body = match path {
                "https://login.microsoftonline.com/t/oauth2/v2.0/token" => {
                    r#"{"access_token":"tok","expires_in":3600}"#.to_owned()
                }
                "secrets?api-version=7.4" => {
                    serde_json::json!({ "value": [entry("one", true), entry("off", false)], "nextLink": NEXT }).to_string()
                }
                "secrets?page=2" => serde_json::json!({ "value": [entry("two", true)] }).to_string(),
                "secrets/one/?api-version=7.4" => r#"{"value":"1"}"#.to_owned(),
                "secrets/one/v7?api-version=7.4" => r#"{"value":"old"}"#.to_owned(),
                "secrets/two/?api-version=7.4" => r#"{"value":"2"}"#.to_owned(),
                _ => {
                    let body = r#"{"error":{"code":"SecretNotFound","message":"not here"}}"#;
                    return (404, vec![], body.to_owned());
                }
            };
            (200, vec![], body)
        })
    }

    fn store(server: &Arc<Server>) -> KeyVault {
        let settings = Properties::from([
            ("vaultName", "v"),
            ("azureTenantId", "t"),
            ("azureClientId", "c"),
            ("azureClientSecret", "s"),
        ]);
        KeyVault::new(&testing::init_with(server.client(), settings), |_| None).unwrap()
    }

    fn metadata(name: &str, value: &str) -> Metadata {
        Metadata::from([(name.to_owned(), value.to_owned())])
    }

    #[tokio::test]
    async fn secrets_are_read_by_name_and_version() {
        let server = vault();
        let store = store(&server);
        let secret = store.get("one", &Metadata::new()).await.unwrap().unwrap();
        assert_eq!(secret, Secret::single("one", "1"));
        let old = store
            .get("one", &metadata("version_id", "v7"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(old.get("one"), Some("old"));
        let error = store.get("none", &Metadata::new()).await.unwrap_err().to_string();
        assert_eq!(error, "404 Not Found: SecretNotFound: not here");
        assert_eq!(server.asked()[1].headers[AUTHORIZATION], "Bearer tok");
        assert!(
            server.asked()[0]
                .body
                .contains("scope=https%3A%2F%2Fvault.azure.net%2F.default")
        );
    }

    #[tokio::test]
    async fn the_store_keeps_the_contract_of_secret_stores() {
        let secrets =
            [("one", "1"), ("two", "2")].map(|(name, value)| (name.to_owned(), Secret::single(name, value)));
        let traits = Traits {
            store: "secretstores.azure.keyvault",
            features: &[],
            secrets: BTreeMap::from(secrets),
            has_others: false,
            missing: Some("404 Not Found: SecretNotFound: not here".to_owned()),
        };
        conformance::secrets::run(Arc::new(store(&vault())), traits).await;
    }

    #[tokio::test]
    async fn all_secrets_are_those_that_are_switched_on() {
        let store = store(&vault());
        let all = store.bulk(&Metadata::new()).await.unwrap();
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["one", "two"]);
        let some = store.bulk(&metadata("maxresults", "1")).await.unwrap();
        assert_eq!(some.len(), 1, "the page that reached the limit is the last");
        assert!(store.bulk(&metadata("maxresults", "few")).await.is_err());
    }

    #[test]
    fn a_vault_is_found_by_its_short_or_whole_name() {
        for (name, expected) in [
            ("v", Some("https://v.vault.azure.cn")),
            ("https://v.vault.azure.net/", Some("https://v.vault.azure.net")),
            (
                "v.vault.usgovcloudapi.net",
                Some("https://v.vault.usgovcloudapi.net"),
            ),
            ("https://evil.example/v", None),
            ("", None),
        ] {
            let found = place(name, Cloud::China).map(|(url, _)| url);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
