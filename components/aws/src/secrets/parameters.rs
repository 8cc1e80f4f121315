//! Secrets in Parameter Store.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterStringFilter;
use outrigger_component::Init;
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::time::timeout_at;

use super::{MAX_PAGES, VERSION};
use crate::access::Access;
use crate::failure;

/// Reads the parameters of Parameter Store, decrypted.
#[derive(Debug)]
pub struct ParameterStore {
    client: Client,
    /// What stands before all names.
    prefix: String,
}

const SERVICE: &str = "SSM";

/// Reads the settings; the service is asked with the first secret.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
    let connect = ParameterStore::connect(&init);
    let store = timeout_at(init.deadline, connect).await;
    Ok(Arc::new(store.map_err(|_| "context deadline exceeded")??))
}

// === impl ParameterStore ===

impl ParameterStore {
    pub(super) async fn connect(init: &Init) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let config = Access::read(&fields)?.config(init.http.clone()).await;
        Ok(Self {
            client: Client::new(&config),
            prefix: fields.text("prefix").unwrap_or_default().to_owned(),
        })
    }

    /// The value of a parameter, by its name without the prefix.
    async fn parameter(&self, name: &str, version: Option<&str>) -> Result<Secret, BoxError> {
        let mut full = format!("{}{name}", self.prefix);
        if let Some(version) = version {
            full.push(':');
            full.push_str(version);
        }
        let answer = self
            .client
            .get_parameter()
            .name(full)
            .with_decryption(true)
            .send()
            .await;
        let answer = answer.map_err(|error| {
            let text = failure::text(SERVICE, "GetParameter", &error);
            format!("couldn't get secret: {text}")
        })?;
        let parameter = answer
            .parameter()
            .ok_or("couldn't get secret: the answer has no parameter")?;
        let name = self.bare(parameter.name().unwrap_or_default());
        Ok(Secret::single(name, parameter.value().unwrap_or_default()))
    }

    async fn parameters(&self) -> Result<BTreeMap<String, Secret>, BoxError> {
        let filter = match self.prefix.as_str() {
            "" => None,
            prefix => {
                let filter = ParameterStringFilter::builder()
                    .key("Name")
                    .option("BeginsWith")
                    .values(prefix);
                Some(vec![filter.build()?])
            }
        };
        let mut secrets = BTreeMap::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let answer = self
                .client
                .describe_parameters()
                .set_parameter_filters(filter.clone())
                .set_next_token(token)
                .send()
                .await;
            let page = answer.map_err(|error| {
                let text = failure::text(SERVICE, "DescribeParameters", &error);
                format!("couldn't list secrets: {text}")
            })?;
            for entry in page.parameters() {
                let name = self.bare(entry.name().unwrap_or_default());
                secrets.insert(name.to_owned(), self.parameter(name, None).await?);
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(secrets)
    }

    /// A name without as many bytes as the prefix has.
    fn bare<'a>(&self, name: &'a str) -> &'a str {
        name.get(self.prefix.len()..).unwrap_or(name)
    }
}

impl SecretStore for ParameterStore {
    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        let version = metadata.get(VERSION).map(String::as_str);
        Box::pin(async move { self.parameter(name, version).await.map(Some) })
    }

    fn bulk<'a>(&'a self, _: &'a Metadata) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(self.parameters())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ssm::types::ParameterType;
    use outrigger_component::conformance::secrets::Traits;
    use outrigger_component::{Properties, conformance, testing};
    use outrigger_test_kit::servers::Moto;

    use super::*;

    async fn store(server: &Moto, prefix: &str) -> ParameterStore {
        let settings = Properties::from([
            ("awsRegion", "eu-west-1"),
            ("endpoint", &*server.endpoint()),
            ("accessKey", "key"),
            ("secretKey", "secret"),
            ("prefix", prefix),
        ]);
        ParameterStore::connect(&testing::init(settings)).await.unwrap()
    }

    async fn put(store: &ParameterStore, name: &str, text: &str) {
        let put = store
            .client
            .put_parameter()
            .name(name)
            .value(text)
            .overwrite(true);
        put.r#type(ParameterType::SecureString).send().await.unwrap();
    }

    #[tokio::test]
    async fn parameters_are_read_decrypted_by_name_and_version() {
        let Some(server) = Moto::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "/app/").await;
        put(&store, "/app/db", "first").await;
        put(&store, "/app/db", "second").await;
        put(&store, "/other/x", "no").await;
        let get = async |metadata: Metadata| store.get("db", &metadata).await.unwrap().unwrap();
        assert_eq!(get(Metadata::new()).await, Secret::single("db", "second"));
        let version = Metadata::from([(VERSION.to_owned(), "1".to_owned())]);
        assert_eq!(get(version).await.get("db"), Some("first"));
        let all = store.bulk(&Metadata::new()).await.unwrap();
        assert_eq!(
            all,
            BTreeMap::from([("db".to_owned(), Secret::single("db", "second"))])
        );
        let error = store.get("none", &Metadata::new()).await.unwrap_err().to_string();
        let start = "couldn't get secret: operation error SSM: GetParameter, ParameterNotFound";
        assert!(error.starts_with(start), "{error}");
    }

    #[tokio::test]
    async fn the_store_keeps_the_contract_of_secret_stores() {
        let Some(server) = Moto::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "/app/").await;
        for name in ["a", "b"] {
            put(&store, &format!("/app/{name}"), name).await;
        }
        let secrets = ["a", "b"].map(|name| (name.to_owned(), Secret::single(name, name)));
        let missing = store.get("missing", &Metadata::new()).await.unwrap_err();
        let traits = Traits {
            store: "secretstores.aws.parameterstore",
            features: &[],
            secrets: BTreeMap::from(secrets),
            has_others: false,
            missing: Some(missing.to_string()),
        };
        conformance::secrets::run(Arc::new(store), traits).await;
    }

    #[tokio::test]
    async fn without_a_prefix_all_parameters_are_secrets() {
        let Some(server) = Moto::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "").await;
        for number in 0..60 {
            put(&store, &format!("/p/{number}"), "v").await;
        }
        assert_eq!(store.bulk(&Metadata::new()).await.unwrap().len(), 60);
    }
}
