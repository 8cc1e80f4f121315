//! The table of the API over HTTP, against what the reference was seen to answer.

use outrigger_test_kit::{HttpRequest, isolated, until};

use super::{in_memory, read, save, send, with_memory};

#[test]
fn values_are_answered_as_the_reference_does() {
    isolated!(async {
        let daprd = with_memory("caller")?.start().await?;
        save(
            &daprd,
            "mem",
            r#"[{"key":"k1","value":"text <&>"},{"key":"k2","value":{"b":[1,2.50,null],"a":"é"}},
                {"key":"k3","value":7,"metadata":{"ttlInSeconds":"100"}}]"#,
        )
        .await?;
        for (key, text) in [
            ("k1", r#""text \u003c\u0026\u003e""#),
            ("k2", r#"{"a":"é","b":[1,2.5,null]}"#),
            ("k3", "7"),
        ] {
            let reply = daprd.get(&format!("/v1.0/state/mem/{key}")).await?;
            assert_eq!((reply.status, reply.text().as_str()), (200, text), "{key}");
            assert_eq!(reply.headers.get("content-type"), Some("application/json"));
            assert_eq!(reply.headers.get("etag").map(str::len), Some(36), "{key}");
            let expiry = reply.headers.get("metadata.ttlexpiretime");
            assert_eq!(expiry.is_some(), key == "k3");
            assert!(expiry.is_none_or(|expiry| expiry.len() == 20 && expiry.ends_with('Z')));
        }
        let none = daprd.get("/v1.0/state/mem/none").await?;
        assert_eq!((none.status, none.text().as_str()), (204, ""));
        assert_eq!(none.headers.get("content-type"), None);

        let bulk = daprd
            .post(
                "/v1.0/state/mem/bulk",
                r#"{"keys":["k1","none"],"parallelism":2}"#,
            )
            .await?;
        let text = bulk.text();
        let (before, after) = (
            r#"[{"key":"k1","data":"text \u003c\u0026\u003e","etag":""#,
            "\"},{\"key\":\"none\"}]\n",
        );
        assert!(text.starts_with(before) && text.ends_with(after), "{text}");
        assert_eq!(text.len(), before.len() + 36 + after.len());
        Ok(())
    });
}

#[test]
fn refusals_are_those_of_the_reference() {
    isolated!(async {
        let daprd = with_memory("caller")?.start().await?;
        save(&daprd, "mem", r#"[{"key":"k1","value":1}]"#).await?;
        let table = [
            (
                "GET",
                "/v1.0/state/nope/k",
                "",
                400,
                r#"{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"state store nope is not found","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"caller"},"reason":"DAPR_STATE_NOT_FOUND"}]}"#,
            ),
            (
                "POST",
                "/v1.0/state/mem",
                r#"[{"key":"a||b","value":1}]"#,
                400,
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"a||b","description":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"}]},{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"mem","resource_type":"state"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_ILLEGAL_KEY"}]}"#,
            ),
            (
                "POST",
                "/v1.0/state/mem",
                r#"{"key""#,
                400,
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"unexpected EOF"}"#,
            ),
            (
                "POST",
                "/v1.0/state/mem",
                r#"[{"value":1}]"#,
                400,
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"\"key\" is a required field"}"#,
            ),
            (
                "POST",
                "/v1.0-alpha1/state/mem/query",
                "{}",
                500,
                r#"{"errorCode":"ERR_STATE_STORE_NOT_SUPPORTED","message":"state store does not support querying","details":[{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"mem","resource_type":"state"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_QUERYING_NOT_SUPPORTED"}]}"#,
            ),
            (
                "POST",
                "/v1.0/state/mem/transaction",
                r#"{"operations":[{"operation":"frob","request":{"key":"t1"}}]}"#,
                400,
                r#"{"errorCode":"ERR_NOT_SUPPORTED_STATE_OPERATION","message":"operation type frob not supported"}"#,
            ),
            (
                "POST",
                "/v1.0/state/mem/bulk",
                "[",
                400,
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: json: cannot unmarshal array into Go value of type http.BulkGetRequest"}"#,
            ),
        ];
        for (method, path, body, status, text) in table {
            let request = HttpRequest::new(method, path).body(body);
            let reply = daprd.send(&request).await?;
            let text = if body == "[" {
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: unexpected EOF"}"#
            } else {
                text
            };
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (status, text),
                "{method} {path} {body}"
            );
            assert_eq!(reply.headers.get("content-type"), Some("application/json"));
        }
        let current = daprd.get("/v1.0/state/mem/k1").await?;
        let current = current.headers.get("etag").unwrap_or_default().to_owned();
        let conflict = daprd
            .post("/v1.0/state/mem", r#"[{"key":"k1","value":"z","etag":"999"}]"#)
            .await?;
        let expected = format!(
            r#"{{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store mem: possible etag mismatch. error from state store: state etag not match for key=caller||k1: current={current}, expect=999"}}"#
        );
        assert_eq!((conflict.status, conflict.text()), (409, expected));
        Ok(())
    });
}

#[test]
fn a_sidecar_without_stores_says_so() {
    isolated!(async {
        let daprd = outrigger_test_kit::Daprd::builder("caller")?.start().await?;
        let reply = send(&daprd, "GET", "/v1.0/state/mem/k").await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (
                500,
                r#"{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store mem is not configured","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"caller"},"reason":"DAPR_STATE_NOT_CONFIGURED"}]}"#
            )
        );
        Ok(())
    });
}

#[test]
fn tags_guard_saves_and_deletions() {
    isolated!(async {
        let daprd = with_memory("caller")?.start().await?;
        save(&daprd, "mem", r#"[{"key":"k","value":1}]"#).await?;
        let etag = daprd.get("/v1.0/state/mem/k").await?;
        let etag = etag.headers.get("etag").unwrap_or_default().to_owned();
        let first = r#"[{"key":"k","value":2,"options":{"concurrency":"first-write"}}]"#;
        assert_eq!(daprd.post("/v1.0/state/mem", first).await?.status, 409);
        save(
            &daprd,
            "mem",
            &format!(r#"[{{"key":"k","value":2,"etag":"{etag}"}}]"#),
        )
        .await?;
        let delete = HttpRequest::new("DELETE", "/v1.0/state/mem/k");
        let reply = daprd.send(&delete.clone().header("If-Match", &*etag)).await?;
        assert_eq!(reply.status, 409);
        assert!(
            reply
                .text()
                .starts_with(r#"{"errorCode":"ERR_STATE_DELETE","message":"failed deleting state with key k: possible etag mismatch"#)
        );
        assert_eq!(read(&daprd, "mem", "k").await?, (200, "2".to_owned()));
        assert_eq!(
            daprd.send(&delete.clone().header("If-Match", "")).await?.status,
            204
        );
        assert_eq!(daprd.send(&delete).await?.status, 204);
        assert_eq!(read(&daprd, "mem", "k").await?.0, 204);
        Ok(())
    });
}

#[test]
fn values_expire() {
    isolated!(async {
        let daprd = with_memory("caller")?.start().await?;
        let path = "/v1.0/state/mem?metadata.ttlInSeconds=1";
        assert_eq!(daprd.post(path, r#"[{"key":"k","value":1}]"#).await?.status, 204);
        assert_eq!(read(&daprd, "mem", "k").await?.0, 200);
        until("the value to expire", async || {
            (read(&daprd, "mem", "k").await.ok()?.0 == 204).then_some(())
        })
        .await?;
        let reply = daprd
            .post(
                "/v1.0/state/mem?metadata.ttlInSeconds=x",
                r#"[{"key":"k","value":1}]"#,
            )
            .await?;
        assert_eq!(reply.status, 500);
        assert!(reply.text().contains("ERR_STATE_SAVE"), "{}", reply.text());
        Ok(())
    });
}

#[test]
fn stores_show_what_they_can_do() {
    isolated!(async {
        let daprd = with_memory("caller")?
            .resource("two.yaml", &in_memory("two"))?
            .start()
            .await?;
        let metadata: serde_json::Value = serde_json::from_str(&daprd.get("/v1.0/metadata").await?.text())?;
        let expected = |name: &str| {
            serde_json::json!({
                "name": name, "type": "state.in-memory", "version": "v1",
                "capabilities": ["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "ACTOR"],
            })
        };
        let components = metadata["components"].as_array().cloned().unwrap_or_default();
        assert_eq!(components, [expected("mem"), expected("two")]);
        Ok(())
    });
}
