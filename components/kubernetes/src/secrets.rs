//! `secretstores.kubernetes`: the Secrets of a namespace.
//!
//! Source: specification, secrets 3.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use kube::{Api, Client};
use outrigger_component::Init;
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_svc::{BoxError, BoxFuture};

use crate::client;

/// The Secrets of a cluster.
pub(crate) struct Secrets {
    client: Client,
    /// The namespace of requests that name none.
    namespace: Option<String>,
}

/// Longest silence of the server.
const SILENCE: Duration = Duration::from_secs(30);

// === impl Secrets ===

impl Secrets {
    /// Makes the store. It asks the server for nothing.
    pub(crate) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
        let fields = init.properties.fields()?;
        let default = fields.text("defaultNamespace").filter(|name| !name.is_empty());
        let client = client::connect(fields.text("kubeconfigPath"), SILENCE).await?;
        let namespace = client::own_namespace().or_else(|| default.map(str::to_owned));
        Ok(Arc::new(Self { client, namespace }))
    }

    fn namespace<'a>(&'a self, metadata: &'a Metadata) -> Result<&'a str, BoxError> {
        let named = metadata.get("namespace").filter(|name| !name.is_empty());
        let namespace = named.or(self.namespace.as_ref()).map(String::as_str);
        namespace.ok_or_else(|| {
            "namespace is missing on metadata and NAMESPACE env variable, and no default namespace is set"
                .into()
        })
    }
}

impl SecretStore for Secrets {
    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        Box::pin(async move {
            let namespace = self.namespace(metadata)?;
            let secret = client::secret(&self.client, namespace, name).await?;
            Ok(Some(values(secret)))
        })
    }

    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(async move {
            let secrets: Api<v1::Secret> = Api::namespaced(self.client.clone(), self.namespace(metadata)?);
            let secrets = secrets.list(&ListParams::default()).await;
            let secrets = secrets.map_err(|error| client::text(&error))?.into_iter();
            let named = secrets.filter_map(|secret| Some((secret.metadata.name.clone()?, values(secret))));
            Ok(named.collect())
        })
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The values of a Secret as texts.
fn values(secret: v1::Secret) -> Secret {
    let values = secret.data.unwrap_or_default().into_iter();
    values
        .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use outrigger_test_kit::{KubeApi, Manner};
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_secret_is_found_in_the_namespace_of_the_request_else_in_the_default_one() {
        for manner in [Manner::Faithful, Manner::Minimal] {
            let world = World::start(manner).await;
            let secret = |namespace: &str, value: &str| json!({"metadata": {"name": "db", "namespace": namespace}, "data": {"user": value, "bytes": "/w=="}});
            world.api.put("secrets", secret("default", "cm9vdA=="));
            world.api.put("secrets", secret("other", "bWU="));
            let plain = json!({"metadata": {"name": "empty", "namespace": "other"}, "data": null});
            world.api.put("secrets", plain);

            let store = Secrets::make(world.init(&[("defaultNamespace", "default")]))
                .await
                .unwrap();
            let found = store.get("db", &Metadata::new()).await.unwrap().unwrap();
            assert_eq!(found.get("user"), Some("root"));
            assert_eq!(found.get("bytes"), Some("\u{fffd}"));
            let other = Metadata::from([("namespace".to_owned(), "other".to_owned())]);
            let found = store.get("db", &other).await.unwrap().unwrap();
            assert_eq!(found.get("user"), Some("me"));
            let all = store.bulk(&other).await.unwrap();
            assert_eq!(all.keys().collect::<Vec<_>>(), ["db", "empty"]);
            assert_eq!(all["empty"], Secret::default());
            let error = store.get("absent", &other).await.unwrap_err();
            assert_eq!(error.to_string(), "secrets \"absent\" not found");
        }
    }

    #[tokio::test]
    async fn a_namespace_must_come_from_somewhere() {
        let world = World::start(Manner::Faithful).await;
        let store = Secrets::make(world.init(&[])).await.unwrap();
        let error = store.get("db", &Metadata::new()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "namespace is missing on metadata and NAMESPACE env variable, and no default namespace is set"
        );
    }

    #[tokio::test]
    async fn the_server_is_known_by_its_certificate_and_knows_the_client_by_one() {
        let world = World::start_tls().await;
        let secret = json!({"metadata": {"name": "db", "namespace": "a"}, "data": {"user": "cm9vdA=="}});
        world.api.put("secrets", secret);
        let store = Secrets::make(world.init(&[("defaultNamespace", "a")]))
            .await
            .unwrap();
        let found = store.get("db", &Metadata::new()).await.unwrap().unwrap();
        assert_eq!(found.get("user"), Some("root"));
    }

    #[tokio::test]
    async fn without_a_cluster_or_a_file_there_is_no_store() {
        let world = World::start(Manner::Faithful).await;
        let init = world.init(&[("kubeconfigPath", "/no/such/file")]);
        let error = Secrets::make(init).await.unwrap_err().to_string();
        assert!(error.starts_with("failed to read kubeconfig: "), "{error}");
        let api: &KubeApi = &world.api;
        assert!(api.requests().is_empty());
    }
}
