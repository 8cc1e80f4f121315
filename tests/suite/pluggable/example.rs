//! The store in `examples/pluggable-store` is a component that sidecars can use.

use outrigger_test_kit::{Directory, Program, example_store, isolated, until};

use super::{resource, sidecar};

#[test]
fn the_example_keeps_values_with_tags_and_transactions() {
    isolated!(async {
        let Some(program) = example_store()? else {
            return Ok(());
        };
        let folder = Directory::new()?;
        let sockets = folder.path().display().to_string();
        let _store = Program::new(program)
            .env("DAPR_COMPONENTS_SOCKETS_FOLDER", &sockets)
            .start()?;
        until("the socket", async || {
            let socket = folder.path().join("shelf.sock");
            tokio::net::UnixStream::connect(socket).await.ok()
        })
        .await?;
        let daprd = sidecar(&folder)?
            .resource("books.yaml", &resource("books", "state.shelf"))?
            .start()
            .await?;
        let path = "/v1.0/state/books";
        let save = r#"[{"key":"a","value":1},{"key":"b","value":2}]"#;
        assert_eq!(daprd.post(path, save).await?.status, 204);
        let transaction = r#"{"operations":[{"operation":"upsert","request":{"key":"a","value":3}},{"operation":"delete","request":{"key":"b"}}]}"#;
        let done = daprd.post(&format!("{path}/transaction"), transaction).await?;
        assert_eq!(done.status, 204, "{}", done.text());
        let bulk = daprd
            .post(&format!("{path}/bulk"), r#"{"keys":["a","b"]}"#)
            .await?;
        assert_eq!(
            bulk.json()?,
            serde_json::json!([{"key": "a", "data": 3, "etag": "3"}, {"key": "b"}])
        );
        let stale = daprd.post(path, r#"[{"key":"a","value":4,"etag":"1"}]"#).await?;
        assert_eq!(stale.status, 409, "{}", stale.text());
        Ok(())
    });
}
