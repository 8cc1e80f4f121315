//! State, secrets, configuration, locks and cryptography through unmodified SDKs.

use std::path::Path;

use dapr::client::{Client, ClientOptions, DecryptRequestOptions, EncryptRequestOptions, ReaderStream};
use futures_util::StreamExt as _;
use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::{Daprd, Directory, Program, Result, isolated};
use serde_json::{Value, json};

use super::{file, installed, node, python};

/// A sidecar with one component a block.
struct House {
    daprd: Daprd,
    redis: Redis,
    _files: Directory,
}

/// What starts a document of the scheme.
const SCHEME: &str = "dapr.io/enc/v1";

fn component(name: &str, kind: &str, settings: &[(&str, &str)]) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{{name: {name}, value: {}}}", Value::from(*value)))
        .collect();
    let settings = settings.join(", ");
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  version: \
         v1\n  metadata: [{settings}]\n"
    )
}

// === impl House ===

impl House {
    async fn start() -> Result<Option<Self>> {
        let Some(redis) = Redis::start().await? else {
            return Ok(None);
        };
        redis.cli(&["SET", "colour", "red||1"]).await?;
        redis
            .cli(&["CONFIG", "SET", "notify-keyspace-events", "KA"])
            .await?;
        let files = Directory::new()?;
        let secrets = files.write("secrets.json", r#"{"db":"s3cret"}"#)?;
        let key: Vec<u8> = (0x80..0xa0).collect();
        files.write("keys/wrap", key)?;
        let (secrets, keys) = (
            secrets.display().to_string(),
            files.path().join("keys").display().to_string(),
        );
        let address = redis.server.address();
        let at_redis = [("redisHost", address.as_str())];
        let daprd = Daprd::builder("app")?
            .resource("store.yaml", &component("store", "state.in-memory", &[]))?
            .resource(
                "vault.yaml",
                &component("vault", "secretstores.local.file", &[("secretsFile", &secrets)]),
            )?
            .resource(
                "settings.yaml",
                &component("settings", "configuration.redis", &at_redis),
            )?
            .resource("locks.yaml", &component("locks", "lock.redis", &at_redis))?
            .resource(
                "keys.yaml",
                &component("keys", "crypto.dapr.localstorage", &[("path", &keys)]),
            )?
            .start()
            .await?;
        Ok(Some(Self {
            daprd,
            redis,
            _files: files,
        }))
    }

    /// Runs a script, changes the setting when it listens, and returns the JSON text that it prints last.
    async fn run(&self, program: &Path, script: &str) -> Result<Value> {
        let mut process = Program::new(program)
            .arg(file(script))
            .env("SDK_MODULES", file("target/test-tools/node"))
            .env("DAPR_HTTP_PORT", self.daprd.http_port.to_string())
            .env("DAPR_GRPC_PORT", self.daprd.grpc_port.to_string())
            .env("HOME", std::env::temp_dir())
            .start()?;
        process.wait_for_line("subscribed").await?;
        self.redis.cli(&["SET", "colour", "blue||2"]).await?;
        let status = process.exit().await?;
        anyhow::ensure!(status.success(), "{}", process.tail());
        let line = process.stdout().pop().unwrap_or_default();
        Ok(serde_json::from_str(&line)?)
    }
}

#[test]
fn the_python_sdk_uses_every_block() {
    isolated!(async {
        let (Some(python), Some(house)) = (python(), House::start().await?) else {
            return Ok(());
        };
        let printed = house.run(&python, "tests/sdk/blocks.py").await?;
        let mismatch =
            "failed saving state in state store store: possible etag mismatch. error from state store";
        let state = &printed["state"];
        assert_eq!(state["first"], json!({"n": 1}));
        assert_eq!(state["stale"][0], "ABORTED");
        let text = state["stale"][1].as_str().unwrap_or_default();
        assert!(text.starts_with(mismatch), "{text}");
        assert_eq!(
            state["bulk"],
            json!({"python": "2", "python-a": "", "python-b": "b", "python-c": "c"})
        );
        assert_eq!(state["deleted"], "");
        assert_eq!(
            state["unknown"],
            json!(["INVALID_ARGUMENT", "state store nowhere is not found"])
        );
        assert_eq!(printed["secrets"]["one"], json!({"db": "s3cret"}));
        assert_eq!(printed["secrets"]["all"], json!({"db": {"db": "s3cret"}}));
        assert_eq!(printed["secrets"]["missing"][0], "INTERNAL");
        assert_eq!(
            printed["configuration"],
            json!({"value": ["red", "1"], "change": ["blue", "2"], "unsubscribed": true})
        );
        assert_eq!(
            printed["lock"],
            json!({
                "first": true,
                "other": false,
                "strange": "lock_belongs_to_others",
                "own": "success",
                "again": "lock_does_not_exist",
            })
        );
        assert_eq!(printed["crypto"], json!({"scheme": SCHEME, "same": true}));
        Ok(())
    });
}

#[test]
fn the_javascript_sdk_uses_every_block() {
    isolated!(async {
        let (Some(node), Some(_)) = (node(), installed("target/test-tools/node")) else {
            return Ok(());
        };
        let Some(house) = House::start().await? else {
            return Ok(());
        };
        let printed = house.run(node, "tests/sdk/blocks.js").await?;
        for protocol in ["http", "grpc"] {
            let state = &printed[protocol]["state"];
            let key = |name| format!("{protocol}-{name}");
            assert_eq!(
                (&state["saved"], &state["read"]),
                (&json!(true), &json!({"n": 1}))
            );
            let stale = state["stale"].as_str().unwrap_or_default();
            assert!(stale.contains("possible etag mismatch"), "{stale}");
            assert_eq!(
                state["bulk"],
                json!({key("a"): {"n": 1}, key("b"): null, key("c"): "three"}),
                "{protocol}"
            );
            assert_eq!(state["deleted"], Value::Null);
            let secrets = &printed[protocol]["secrets"];
            assert_eq!(secrets["one"], json!({"db": "s3cret"}));
            assert_eq!(secrets["all"]["db"]["db"], "s3cret", "{secrets}");
            let missing = secrets["missing"].as_str().unwrap_or_default();
            assert!(missing.contains("secret nothing not found"), "{missing}");
        }
        assert_eq!(
            printed["configuration"],
            json!({"value": ["red", "1"], "change": ["blue", "2"]})
        );
        assert_eq!(
            printed["lock"],
            json!({"first": true, "other": false, "strange": 2, "own": 0})
        );
        assert_eq!(printed["crypto"], json!({"scheme": SCHEME, "same": true}));
        Ok(())
    });
}

#[test]
fn the_rust_sdk_uses_every_block_it_knows() {
    isolated!(async {
        let Some(house) = House::start().await? else {
            return Ok(());
        };
        let options = ClientOptions::new()
            .with_address(format!("http://127.0.0.1:{}", house.daprd.grpc_port))
            .without_api_token();
        let text = |error: dapr::error::Error| anyhow::anyhow!("{error:?}");
        let mut client = Client::from_options(options).await.map_err(text)?;

        client
            .save_state("store", "rust", b"value".to_vec(), None, None, None)
            .await
            .map_err(text)?;
        let read = client.get_state("store", "rust", None).await.map_err(text)?;
        assert_eq!(
            (read.data.as_slice(), read.etag.is_empty()),
            (&b"value"[..], false)
        );
        client.delete_state("store", "rust", None).await.map_err(text)?;
        let read = client.get_state("store", "rust", None).await.map_err(text)?;
        assert!(read.data.is_empty());

        let secret = client.get_secret("vault", "db").await.map_err(text)?;
        assert_eq!(secret.data.get("db").map(String::as_str), Some("s3cret"));
        let all = client.get_bulk_secret("vault", None).await.map_err(text)?;
        assert!(all.data.contains_key("db"));

        let settings = client
            .get_configuration("settings", vec!["colour"], None)
            .await
            .map_err(text)?;
        assert_eq!(settings.items["colour"].value, "red");
        let mut events = client
            .subscribe_configuration("settings", vec!["colour"], None)
            .await
            .map_err(text)?;
        let first = events.next().await.transpose()?.unwrap_or_default();
        assert!(first.items.is_empty() && !first.id.is_empty());
        house.redis.cli(&["SET", "colour", "blue||2"]).await?;
        let change = events.next().await.transpose()?.unwrap_or_default();
        assert_eq!(change.items["colour"].value, "blue");

        // One piece: this SDK gives all pieces the same number.
        let plain = b"hello".to_vec();
        let options = EncryptRequestOptions {
            component_name: "keys".to_owned(),
            key_name: "wrap".to_owned(),
            key_wrap_algorithm: "AES".to_owned(),
            ..EncryptRequestOptions::default()
        };
        let document = client
            .encrypt(ReaderStream::new(plain.as_slice()), options)
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let options = DecryptRequestOptions {
            component_name: "keys".to_owned(),
            ..DecryptRequestOptions::default()
        };
        let decrypted = client
            .decrypt(document, options)
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        assert!(decrypted == plain);
        Ok(())
    });
}
