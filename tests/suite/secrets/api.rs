//! Who may read what, and how it is refused.

use http::HeaderMap;
use outrigger_api::runtime as api;
use outrigger_test_kit::{Daprd, isolated};

use super::store;
use crate::suite::process::messages;

const GET: &str = "/dapr.proto.runtime.v1.Dapr/GetSecret";
const BULK: &str = "/dapr.proto.runtime.v1.Dapr/GetBulkSecret";

#[test]
fn scopes_decide_what_the_app_may_read() {
    isolated!(async {
        let scopes = "spec:\n  secrets:\n    scopes:\n    - {storeName: shop, defaultAccess: DENY, allowedSecrets: [A]}\n    \
                      - {storeName: open, deniedSecrets: [B]}\n    - {storeName: gone, defaultAccess: deny}\n";
        let daprd = Daprd::builder("a")?
            .env("SHOP_A", "1")
            .env("SHOP_B", "2")
            .configuration(scopes)?
            .resource("1.yaml", &store("shop", "env", &[("prefix", "SHOP_")]))?
            .resource("2.yaml", &store("open", "env", &[("prefix", "SHOP_")]))?
            .start()
            .await?;
        let warning = "Secrets configuration added for 'gone', but no matching secret store was found";
        assert!(messages(&daprd.process).iter().any(|line| line == warning));
        let denied = |store: &str| {
            format!(
                r#"{{"errorCode":"ERR_PERMISSION_DENIED","message":"access denied by policy to get \"B\" from \"{store}\""}}"#
            )
        };
        let table = [
            ("shop/A", 200, "{\"A\":\"1\"}\n".to_owned()),
            ("shop/B", 403, denied("shop")),
            ("shop/bulk", 200, "{\"A\":{\"A\":\"1\"}}\n".to_owned()),
            ("open/A", 200, "{\"A\":\"1\"}\n".to_owned()),
            ("open/B", 403, denied("open")),
            ("open/bulk", 200, "{\"A\":{\"A\":\"1\"}}\n".to_owned()),
            (
                "gone/A",
                401,
                r#"{"errorCode":"ERR_SECRET_STORE_NOT_FOUND","message":"failed finding secret store with key gone"}"#
                    .to_owned(),
            ),
        ];
        for (path, status, body) in table {
            let reply = daprd.get(&format!("/v1.0/secrets/{path}")).await?;
            assert_eq!((reply.status, reply.text()), (status, body), "{path}");
        }

        let grpc = daprd.grpc().await?;
        let request = |store: &str, key: &str| api::GetSecretRequest {
            store_name: store.to_owned(),
            key: key.to_owned(),
            ..Default::default()
        };
        let secret: api::GetSecretResponse = grpc.unary(GET, HeaderMap::new(), &request("shop", "A")).await?;
        assert_eq!(secret.data["A"], "1");
        let table = [
            (
                "shop",
                "B",
                r#"status 7: access denied by policy to get "B" from "shop""#,
            ),
            ("gone", "A", "status 3: failed finding secret store with key gone"),
        ];
        for (store, key, expected) in table {
            let refused = grpc
                .unary::<api::GetSecretResponse>(GET, HeaderMap::new(), &request(store, key))
                .await;
            assert_eq!(refused.map_err(|error| error.to_string()).unwrap_err(), expected);
        }
        let request = api::GetBulkSecretRequest {
            store_name: "shop".to_owned(),
            ..Default::default()
        };
        let all: api::GetBulkSecretResponse = grpc.unary(BULK, HeaderMap::new(), &request).await?;
        assert_eq!(all.data.len(), 1);
        assert_eq!(all.data["A"].secrets["A"], "1");
        Ok(())
    });
}

#[test]
fn a_sidecar_without_stores_says_so_until_it_has_one() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.start().await?;
        let reply = daprd.get("/v1.0/secrets/s/k").await?;
        let expected =
            r#"{"errorCode":"ERR_SECRET_STORES_NOT_CONFIGURED","message":"secret store is not configured"}"#;
        assert_eq!((reply.status, reply.text().as_str()), (500, expected));
        daprd
            .directory()
            .write("resources/1.yaml", store("other", "env", &[]))?;
        daprd
            .process
            .wait_for_line("Component updated: other (secretstores.local.env/v1)")
            .await?;
        let reply = daprd.get("/v1.0/secrets/s/k").await?;
        assert_eq!(reply.status, 401);
        let reply = daprd.get("/v1.0/secrets/other/NOTHING").await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "{\"NOTHING\":\"\"}\n")
        );
        Ok(())
    });
}
