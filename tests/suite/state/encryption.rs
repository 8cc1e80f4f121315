//! Values that are encrypted before they reach a store.

use bytes::Bytes;
use outrigger_api::common::StateItem;
use outrigger_api::runtime::SaveStateRequest;
use outrigger_test_kit::{Daprd, Directory, Result, isolated};

use super::{call, component, read, save};

/// A sidecar with a store whose keys are in a file of secrets, and one that shows what that has stored.
async fn sidecar(directory: &Directory, keys: &[(&str, &str)]) -> Result<Daprd> {
    let file = directory.path().join("state.db").display().to_string();
    let secrets = directory.write(
        "secrets.json",
        format!(r#"{{"old":"{}","new":"{}"}}"#, "0a".repeat(16), "0b".repeat(32)),
    )?;
    let secrets = secrets.display().to_string();
    let plain = component("plain", "state.sqlite", &[("connectionString", &file)]);
    let keys: Vec<_> = keys
        .iter()
        .map(|(property, secret)| {
            format!(", {{name: {property}, secretKeyRef: {{name: {secret}, key: {secret}}}}}")
        })
        .collect();
    let encrypted = component("secret", "state.sqlite", &[("connectionString", &file)]);
    let encrypted = encrypted.replace(
        "}]\n",
        &format!("}}{}]\nauth: {{secretStore: vault}}\n", keys.concat()),
    );
    Daprd::builder("a")?
        .resource(
            "vault.yaml",
            &component("vault", "secretstores.local.file", &[("secretsFile", &secrets)]),
        )?
        .resource("plain.yaml", &plain)?
        .resource("secret.yaml", &encrypted)?
        .start()
        .await
}

#[test]
fn values_are_stored_encrypted_and_read_after_a_rotation_of_keys() {
    isolated!(async {
        let directory = Directory::new()?;
        let daprd = sidecar(&directory, &[("primaryEncryptionKey", "old")]).await?;
        daprd
            .process
            .wait_for_line("Automatic encryption enabled for state store secret")
            .await?;
        save(
            &daprd,
            "secret",
            r#"[{"key":"text","value":"value1"},{"key":"object","value":{"b":1,"a":2}}]"#,
        )
        .await?;
        let request = SaveStateRequest {
            store_name: "secret".to_owned(),
            states: vec![StateItem {
                key: "bytes".to_owned(),
                value: Bytes::from_static(b"\"quoted\""),
                ..StateItem::default()
            }],
        };
        assert_eq!(call(&daprd.grpc().await?, "SaveState", &request).await?.status, 0);
        for key in ["text", "object", "bytes"] {
            let (status, stored) = read(&daprd, "plain", key).await?;
            assert_eq!(status, 200);
            assert!(stored.ends_with("||old"), "{key}: {stored}");
        }
        let values = [
            ("text", "value1"),
            ("object", r#"{"a":2,"b":1}"#),
            ("bytes", "\"quoted\""),
        ];
        for (key, value) in values {
            assert_eq!(
                read(&daprd, "secret", key).await?,
                (200, value.to_owned()),
                "{key}"
            );
        }
        let query = daprd.post("/v1.0-alpha1/state/secret/query", "{}").await?;
        assert_eq!(query.status, 500);

        drop(daprd);
        let keys = [("primaryEncryptionKey", "new"), ("secondaryEncryptionKey", "old")];
        let daprd = sidecar(&directory, &keys).await?;
        for (key, value) in values {
            assert_eq!(
                read(&daprd, "secret", key).await?,
                (200, value.to_owned()),
                "{key}"
            );
        }
        save(&daprd, "secret", r#"[{"key":"text","value":"value2"}]"#).await?;
        assert!(read(&daprd, "plain", "text").await?.1.ends_with("||new"));

        // What is not encrypted is not given out by the store that expects it to be.
        save(&daprd, "plain", r#"[{"key":"clear","value":"x"}]"#).await?;
        let (status, text) = read(&daprd, "secret", "clear").await?;
        assert_eq!(status, 500);
        let expected =
            "fail to get clear from state store secret: could not decrypt data for state store secret: ";
        assert!(text.contains(expected), "{text}");
        let bulk = daprd
            .post("/v1.0/state/secret/bulk", r#"{"keys":["clear"]}"#)
            .await?;
        assert_eq!(bulk.status, 200);
        assert!(
            bulk.text()
                .starts_with(r#"[{"key":"clear","error":"could not decrypt"#),
            "{}",
            bulk.text()
        );
        Ok(())
    });
}

#[test]
fn a_key_that_cannot_be_used_ends_the_start() {
    isolated!(async {
        let directory = Directory::new()?;
        let secrets = directory.write("secrets.json", r#"{"short":"0a0b"}"#)?;
        let secrets = secrets.display().to_string();
        let store = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: s}\nspec:\n  type: \
                     state.in-memory\n  version: v1\n  metadata: [{name: primaryEncryptionKey, secretKeyRef: {name: \
                     short, key: short}}]\nauth: {secretStore: vault}\n";
        let mut daprd = Daprd::builder("a")?
            .resource(
                "vault.yaml",
                &component("vault", "secretstores.local.file", &[("secretsFile", &secrets)]),
            )?
            .resource("s.yaml", store)?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let text = "[CREATE_COMPONENT_FAILURE]: initialization error occurred for s (state.in-memory/v1): crypto/aes: \
                    invalid key size 2";
        assert!(
            !daprd.process.lines_with(text).is_empty(),
            "{}",
            daprd.process.tail()
        );
        assert!(daprd.process.lines_with("0a0b").is_empty(), "the log tells a key");
        Ok(())
    });
}
