//! Secrets from a component in another process.

use outrigger_test_kit::{Directory, PluggableComponent, Refusal, isolated};
use serde_json::json;

use super::{resource, sidecar};

#[test]
fn secrets_are_read_and_refer_to_other_components() {
    isolated!(async {
        let folder = Directory::new()?;
        let component = PluggableComponent::start(folder.path(), "safe")?;
        component.set_secret("db", &[("dsn", "host=db"), ("user", "u")]);
        let store = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: store}\nspec:\n  type: state.safe\n  \
                     version: v1\n  metadata:\n  - {name: dsn, secretKeyRef: {name: db, key: dsn}}\nauth: {secretStore: \
                     vault}\n";
        let daprd = sidecar(&folder)?
            .resource("a.yaml", store)?
            .resource("b.yaml", &resource("vault", "secretstores.safe"))?
            .start()
            .await?;
        let secret = daprd.get("/v1.0/secrets/vault/db").await?;
        assert_eq!(
            (secret.status, secret.json()?),
            (200, json!({"dsn": "host=db", "user": "u"}))
        );
        let all = daprd.get("/v1.0/secrets/vault/bulk").await?;
        assert_eq!(all.json()?, json!({"db": {"dsn": "host=db", "user": "u"}}));
        let init = &component.calls("StateStore/Init")[0];
        let settings = init.message::<outrigger_api::components::InitRequest>()?;
        assert_eq!(settings.metadata.unwrap_or_default().properties["dsn"], "host=db");

        component.refuse("SecretStore/Get", Refusal::new(7, "not yours"));
        let refused = daprd.get("/v1.0/secrets/vault/db").await?;
        assert_eq!(
            (refused.status, refused.json()?),
            (
                500,
                json!({
                    "errorCode": "ERR_SECRET_GET",
                    "message": "failed getting secret with key db from secret store vault: rpc error: code = \
                                PermissionDenied desc = not yours",
                })
            )
        );
        Ok(())
    });
}
