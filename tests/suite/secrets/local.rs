//! The stores that need no server.

use outrigger_test_kit::{Daprd, Directory, isolated};
use serde_json::json;

use super::store;
use crate::suite::process::messages;

#[test]
fn secrets_of_a_file_are_flat_or_have_several_values() {
    isolated!(async {
        let folder = Directory::new()?;
        let secrets =
            json!({"redis": {"password": "<hunter2>", "ports": [1, "2"]}, "plain": "p", "on": true});
        let file = folder
            .write("secrets.json", secrets.to_string())?
            .display()
            .to_string();
        let flat = [("secretsFile", file.as_str()), ("nestedSeparator", ".")];
        let multi = [("secretsFile", file.as_str()), ("multiValued", "true")];
        let daprd = Daprd::builder("a")?
            .resource("1.yaml", &store("flat", "file", &flat))?
            .resource("2.yaml", &store("multi", "file", &multi))?
            .start()
            .await?;
        let table = [
            (
                "flat/redis.password",
                200,
                "{\"redis.password\":\"\\u003chunter2\\u003e\"}\n",
            ),
            ("flat/redis.ports.1", 200, "{\"redis.ports.1\":\"2\"}\n"),
            (
                "flat/bulk",
                200,
                "{\"on\":{\"on\":\"true\"},\"plain\":{\"plain\":\"p\"},\"redis.password\":{\"redis.password\":\
                 \"\\u003chunter2\\u003e\"},\"redis.ports.0\":{\"redis.ports.0\":\"1\"},\"redis.ports.1\":\
                 {\"redis.ports.1\":\"2\"}}\n",
            ),
            (
                "flat/redis",
                500,
                r#"{"errorCode":"ERR_SECRET_GET","message":"failed getting secret with key redis from secret store flat: secret redis not found"}"#,
            ),
            (
                "multi/redis",
                200,
                "{\"password\":\"\\u003chunter2\\u003e\",\"ports:0\":\"1\",\"ports:1\":\"2\"}\n",
            ),
            ("multi/plain", 200, "{\"plain\":\"p\"}\n"),
            (
                "multi/on",
                500,
                r#"{"errorCode":"ERR_SECRET_GET","message":"failed getting secret with key on from secret store multi: secret on not found"}"#,
            ),
        ];
        for (path, status, body) in table {
            let reply = daprd.get(&format!("/v1.0/secrets/{path}")).await?;
            assert_eq!((reply.status, reply.text().as_str()), (status, body), "{path}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
        let metadata = daprd.get("/v1.0/metadata").await?.json()?;
        let expected = json!([
            {"name": "flat", "type": "secretstores.local.file", "version": "v1"},
            {
                "name": "multi", "type": "secretstores.local.file", "version": "v1",
                "capabilities": ["MULTIPLE_KEY_VALUES_PER_SECRET"],
            },
        ]);
        assert_eq!(metadata["components"], expected);
        for (labels, count) in [
            (
                [("component", "flat"), ("operation", "get"), ("success", "true")],
                2.0,
            ),
            (
                [("component", "flat"), ("operation", "get"), ("success", "false")],
                1.0,
            ),
            (
                [
                    ("component", "flat"),
                    ("operation", "bulk_get"),
                    ("success", "true"),
                ],
                1.0,
            ),
        ] {
            let found = daprd.metric("dapr_component_secret_count", &labels).await?;
            assert_eq!(found, Some(count), "{labels:?}");
        }
        Ok(())
    });
}

#[test]
fn secrets_of_the_environment_are_all_but_the_sidecars_own() {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .env("SHOP_KEY", "k")
            .env("DAPR_API_TOKEN_FILE", "nobody's")
            .env("APP_API_TOKEN", "token")
            .resource("1.yaml", &store("all", "env", &[]))?
            .resource("2.yaml", &store("shop", "env", &[("prefix", "SHOP_")]))?
            .start()
            .await?;
        let table = [
            ("all/SHOP_KEY", "{\"SHOP_KEY\":\"k\"}\n"),
            ("all/UNSET", "{\"UNSET\":\"\"}\n"),
            ("all/APP_API_TOKEN", "{\"APP_API_TOKEN\":\"\"}\n"),
            ("all/dapr_api_token_file", "{\"dapr_api_token_file\":\"\"}\n"),
            ("shop/KEY", "{\"KEY\":\"k\"}\n"),
            ("shop/bulk", "{\"KEY\":{\"KEY\":\"k\"}}\n"),
        ];
        for (path, body) in table {
            let reply = daprd.get(&format!("/v1.0/secrets/{path}")).await?;
            assert_eq!((reply.status, reply.text().as_str()), (200, body), "{path}");
        }
        let all = daprd.get("/v1.0/secrets/all/bulk").await?.json()?;
        assert_eq!(all["SHOP_KEY"], json!({"SHOP_KEY": "k"}));
        assert_eq!(
            (all.get("APP_API_TOKEN"), all.get("DAPR_API_TOKEN_FILE")),
            (None, None)
        );
        let told = messages(&daprd.process);
        for name in ["APP_API_TOKEN", "dapr_api_token_file"] {
            let expected = format!("Access to env var {name} is forbidden");
            assert!(told.contains(&expected), "{expected} is not in {told:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_store_without_its_file_ends_the_sidecar_with_the_reason() {
    isolated!(async {
        let table = [
            (vec![], "missing local secrets file in metadata"),
            (
                vec![("secretsFile", "/no/such/secrets.json")],
                "open /no/such/secrets.json: no such file or directory",
            ),
        ];
        for (settings, reason) in table {
            let mut daprd = Daprd::builder("a")?
                .resource("1.yaml", &store("s", "file", &settings))?
                .spawn()?;
            assert_eq!(daprd.process.exit().await?.code(), Some(1));
            let init = "[INIT_COMPONENT_FAILURE]: initialization error occurred for s (secretstores.local.file/v1): ";
            let error = format!("process component s error: {init}{init}{reason}");
            let told = messages(&daprd.process);
            for expected in [
                format!("Failed to init component s (secretstores.local.file/v1): {init}{reason}"),
                format!("Error processing component, daprd will exit gracefully: {error}"),
                format!("Fatal error from runtime: failed to load components: {error}"),
            ] {
                assert!(told.contains(&expected), "{expected:?} is not in {told:#?}");
            }
        }
        Ok(())
    });
}
