//! `crypto.dapr.kubernetes.secrets`: keys that stand in Secrets.
//!
//! A key is named `namespace/secret/key`, or `secret/key` in the default namespace. The type of the Secret tells how
//! the key is written, if it is the content type of a key.
//!
//! Source: specification, cryptography 3.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use outrigger_component::Init;
use outrigger_component::crypto::CryptoProvider;
use outrigger_component_keys::{Key, KeySource, Provider};
use outrigger_svc::{BoxError, BoxFuture};

use crate::client;

/// The keys of a cluster.
struct Secrets {
    client: Client,
    namespace: Option<String>,
}

/// Longest silence of the server.
const SILENCE: Duration = Duration::from_secs(30);

/// Makes the provider. It asks the server for nothing.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn CryptoProvider>, BoxError> {
    let fields = init.properties.fields()?;
    let default = fields.text("defaultNamespace").filter(|name| !name.is_empty());
    let client = client::connect(fields.text("kubeconfigPath"), SILENCE).await?;
    let namespace = default.map(str::to_owned).or_else(client::own_namespace);
    Ok(Arc::new(Provider::new(Secrets { client, namespace })))
}

// === impl Secrets ===

impl Secrets {
    async fn read(&self, name: &str) -> Result<Arc<Key>, BoxError> {
        let (namespace, secret, key) = self.place(name)?;
        let secret = client::secret(&self.client, namespace, secret).await?;
        let content = secret.data.as_ref().and_then(|data| data.get(key));
        let content = content.ok_or("key not found")?;
        Ok(Arc::new(Key::parse(
            &content.0,
            secret.type_.as_deref().unwrap_or_default(),
        )?))
    }

    /// Namespace, Secret and key of a name.
    fn place<'a>(&'a self, name: &'a str) -> Result<(&'a str, &'a str, &'a str), BoxError> {
        let parts: Vec<_> = name.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(INVALID.into());
        }
        match (parts.as_slice(), self.namespace.as_deref()) {
            (&[namespace, secret, key], _) | (&[secret, key], Some(namespace)) => {
                Ok((namespace, secret, key))
            }
            ([_, _], None) => Err("key name has no namespace, and no default namespace is set".into()),
            _ => Err(INVALID.into()),
        }
    }
}

const INVALID: &str = "key name must be 'namespace/secret/key' or 'secret/key'";

impl KeySource for Secrets {
    fn key<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Key>, BoxError>> {
        Box::pin(self.read(name))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use outrigger_component::crypto::KeyUse;
    use outrigger_test_kit::Manner;
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    fn with(name: &str) -> KeyUse<'_> {
        KeyUse {
            name,
            algorithm: "A128KW",
            nonce: &[],
            tag: &[],
            associated_data: &[],
        }
    }

    #[tokio::test]
    async fn a_key_is_an_entry_of_a_secret() {
        let world = World::start(Manner::Faithful).await;
        let key = STANDARD.encode(r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}"#);
        world.api.put(
            "secrets",
            json!({"metadata": {"name": "keys", "namespace": "a"}, "type": "application/json", "data": {"web": key}}),
        );
        let raw = STANDARD.encode([0; 16]);
        world.api.put(
            "secrets",
            json!({"metadata": {"name": "keys", "namespace": "b"}, "type": "Opaque", "data": {"raw": raw}}),
        );
        let provider = make(world.init(&[("defaultNamespace", "a")])).await.unwrap();
        let wrapped = provider.wrap_key(&[1; 16], with("keys/web")).await.unwrap();
        let unwrapped = provider.unwrap_key(&wrapped.bytes, with("b/keys/raw")).await;
        assert_eq!(unwrapped.unwrap(), [1; 16]);
        for (name, reason) in [
            ("keys/absent", "key not found"),
            ("absent/key", "secrets \"absent\" not found"),
            ("keys", INVALID),
            ("a//web", INVALID),
            ("a/b/c/d", INVALID),
        ] {
            let error = provider.wrap_key(&[1; 16], with(name)).await.unwrap_err();
            let expected = format!("failed to retrieve the key encryption key: {reason}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[tokio::test]
    async fn a_short_name_needs_a_default_namespace() {
        let world = World::start(Manner::Faithful).await;
        let provider = make(world.init(&[])).await.unwrap();
        let error = provider.wrap_key(&[1; 16], with("keys/web")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to retrieve the key encryption key: key name has no namespace, and no default namespace is set"
        );
    }
}
