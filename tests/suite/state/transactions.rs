//! Writes that happen together or not at all.

use outrigger_test_kit::isolated;

use super::{read, save, with_memory};

const PATH: &str = "/v1.0/state/mem/transaction";

#[test]
fn all_writes_happen_or_none() {
    isolated!(async {
        let daprd = with_memory("caller")?.start().await?;
        save(&daprd, "mem", r#"[{"key":"old","value":1}]"#).await?;
        let body = r#"{"operations":[{"operation":"upsert","request":{"key":"new","value":{"b":1,"a":2}}},
            {"operation":"delete","request":{"key":"old"}}]}"#;
        let reply = daprd.post(PATH, body).await?;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""));
        assert_eq!(read(&daprd, "mem", "new").await?.1, r#"{"a":2,"b":1}"#);
        assert_eq!(read(&daprd, "mem", "old").await?.0, 204);

        let body = r#"{"operations":[{"operation":"upsert","request":{"key":"other","value":1}},
            {"operation":"upsert","request":{"key":"new","value":1,"etag":"9"}}]}"#;
        let reply = daprd.post(PATH, body).await?;
        assert_eq!(reply.status, 500);
        let beginning = r#"{"errorCode":"ERR_STATE_TRANSACTION","message":"error while executing state transaction: possible etag mismatch. error from state store: "#;
        assert!(reply.text().starts_with(beginning), "{}", reply.text());
        assert_eq!(read(&daprd, "mem", "other").await?.0, 204);
        assert_eq!(daprd.post(PATH, r#"{"operations":[]}"#).await?.status, 204);
        Ok(())
    });
}

#[test]
fn an_illegal_key_is_refused_without_a_name() {
    isolated!(async {
        let daprd = with_memory("caller")?.start().await?;
        let body = r#"{"operations":[{"operation":"upsert","request":{"key":"a||b","value":1}}]}"#;
        let reply = daprd.post(PATH, body).await?;
        assert_eq!(reply.status, 400);
        let violation = r#""field_violations":[{"description":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"}]"#;
        assert!(reply.text().contains(violation), "{}", reply.text());
        Ok(())
    });
}
