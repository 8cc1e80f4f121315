//! Secrets in Secrets Manager.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{Feature, Init};
use outrigger_kit::json;
use outrigger_svc::{BoxError, BoxFuture};
use serde_json::Value;
use tokio::time::timeout_at;

use super::{MAX_PAGES, VERSION};
use crate::access::Access;
use crate::failure;

/// Reads the secrets of Secrets Manager.
#[derive(Debug)]
pub struct SecretManager {
    client: Client,
    /// Whether the members of a JSON object are values by themselves.
    has_members: bool,
}

static FEATURES: [Feature; 1] = [Feature::MULTIPLE_KEY_VALUES_PER_SECRET];

const SERVICE: &str = "Secrets Manager";

/// Reads the settings; the service is asked with the first secret.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
    let connect = SecretManager::connect(&init);
    let store = timeout_at(init.deadline, connect).await;
    Ok(Arc::new(store.map_err(|_| "context deadline exceeded")??))
}

// === impl SecretManager ===

impl SecretManager {
    pub(super) async fn connect(init: &Init) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let config = Access::read(&fields)?.config(init.http.clone()).await;
        Ok(Self {
            client: Client::new(&config),
            has_members: fields.boolean("multipleKeyValuesPerSecret") == Some(true),
        })
    }

    async fn secret(&self, name: &str, metadata: &Metadata) -> Result<Secret, BoxError> {
        let version = |name: &str| metadata.get(name).filter(|text| !text.is_empty()).cloned();
        let answer = self
            .client
            .get_secret_value()
            .secret_id(name)
            .set_version_id(version(VERSION))
            .set_version_stage(version("version_stage"))
            .send()
            .await;
        let answer = answer.map_err(|error| {
            let text = failure::text(SERVICE, "GetSecretValue", &error);
            format!("couldn't get secret: {text}")
        })?;
        Ok(match (answer.name(), answer.secret_string()) {
            (Some(name), Some(text)) => self.values(name, text),
            // It is binary.
            _ => Secret::default(),
        })
    }

    fn values(&self, name: &str, text: &str) -> Secret {
        let members = match self.has_members {
            true => serde_json::from_str(text).ok(),
            false => None,
        };
        match members {
            Some(Value::Object(members)) => members
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(text) => (name, text),
                    other => (name, json::to_go_string(&other)),
                })
                .collect(),
            _ => Secret::single(name, text),
        }
    }

    async fn secrets(&self) -> Result<BTreeMap<String, Secret>, BoxError> {
        let mut secrets = BTreeMap::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let answer = self.client.list_secrets().set_next_token(token).send().await;
            let page = answer.map_err(|error| {
                let text = failure::text(SERVICE, "ListSecrets", &error);
                format!("couldn't list secrets: {text}")
            })?;
            for entry in page.secret_list() {
                if let Some(name) = entry.name() {
                    let secret = self.secret(name, &Metadata::new()).await?;
                    secrets.insert(name.to_owned(), secret);
                }
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(secrets)
    }
}

impl SecretStore for SecretManager {
    fn features(&self) -> &[Feature] {
        match self.has_members {
            true => &FEATURES,
            false => &[],
        }
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        Box::pin(async move { self.secret(name, metadata).await.map(Some) })
    }

    fn bulk<'a>(&'a self, _: &'a Metadata) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(self.secrets())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::primitives::Blob;
    use outrigger_component::conformance::secrets::Traits;
    use outrigger_component::{Properties, conformance, testing};
    use outrigger_test_kit::servers::Moto;

    use super::*;

    async fn store(server: &Moto, members: &str) -> SecretManager {
        let settings = Properties::from([
            ("region", "eu-west-1"),
            ("endpoint", &*server.endpoint()),
            ("accessKey", "key"),
            ("secretKey", "secret"),
            ("multipleKeyValuesPerSecret", members),
        ]);
        SecretManager::connect(&testing::init(settings)).await.unwrap()
    }

    async fn put(store: &SecretManager, name: &str, text: &str) -> String {
        let create = store.client.create_secret().name(name).secret_string(text).send();
        create.await.unwrap().version_id.unwrap()
    }

    #[tokio::test]
    async fn secrets_are_read_by_name_and_version() {
        let Some(server) = Moto::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "false").await;
        let first = put(&store, "team/db", r#"{"user":"u"}"#).await;
        let update = store
            .client
            .put_secret_value()
            .secret_id("team/db")
            .secret_string("new");
        update.send().await.unwrap();
        let get = async |metadata: Metadata| store.get("team/db", &metadata).await.unwrap().unwrap();
        assert_eq!(get(Metadata::new()).await, Secret::single("team/db", "new"));
        let version = Metadata::from([(VERSION.to_owned(), first)]);
        assert_eq!(get(version).await.get("team/db"), Some(r#"{"user":"u"}"#));
        let stage = Metadata::from([("version_stage".to_owned(), "AWSPREVIOUS".to_owned())]);
        assert_eq!(get(stage).await.get("team/db"), Some(r#"{"user":"u"}"#));
        let error = store.get("none", &Metadata::new()).await.unwrap_err().to_string();
        let start = "couldn't get secret: operation error Secrets Manager: GetSecretValue, ResourceNotFoundException: ";
        assert!(error.starts_with(start), "{error}");
        assert!(store.features().is_empty());
    }

    #[tokio::test]
    async fn the_store_keeps_the_contract_of_secret_stores() {
        let Some(server) = Moto::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "false").await;
        for name in ["a", "b"] {
            put(&store, name, name).await;
        }
        let secrets = ["a", "b"].map(|name| (name.to_owned(), Secret::single(name, name)));
        let missing = store.get("missing", &Metadata::new()).await.unwrap_err();
        let traits = Traits {
            store: "secretstores.aws.secretmanager",
            features: &[],
            secrets: BTreeMap::from(secrets),
            has_others: false,
            missing: Some(missing.to_string()),
        };
        conformance::secrets::run(Arc::new(store), traits).await;
    }

    #[tokio::test]
    async fn members_of_an_object_are_values_where_it_is_said_so() {
        let Some(server) = Moto::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "true").await;
        put(&store, "many", r#"{"user":"u","port":5432,"flags":{"b":1}}"#).await;
        put(&store, "one", "plain").await;
        let binary = store
            .client
            .create_secret()
            .name("raw")
            .secret_binary(Blob::new([0]));
        binary.send().await.unwrap();
        let all = store.bulk(&Metadata::new()).await.unwrap();
        let expected = Secret::from_iter([("user", "u"), ("port", "5432"), ("flags", r#"{"b":1}"#)]);
        assert_eq!(all["many"], expected);
        assert_eq!(all["one"], Secret::single("one", "plain"));
        assert_eq!(all["raw"], Secret::default());
        assert_eq!(store.features().len(), 1);
    }
}
