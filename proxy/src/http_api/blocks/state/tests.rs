//! State over HTTP, through the whole pipeline.

use std::sync::Arc;

use outrigger_component::Feature;
use outrigger_component::state::{Metadata, StateError};

use crate::app::testing::streamed;
use crate::blocks::BuildingBlocks;
use crate::http_api::testing::{Answer, Api};
use crate::state::State;
use crate::state::testing::Shelf;

fn api(shelf: &Arc<Shelf>) -> Api {
    with(State::of("mem", shelf, None))
}

fn with(state: State) -> Api {
    let building_blocks = BuildingBlocks {
        state,
        ..BuildingBlocks::default()
    };
    Api {
        building_blocks,
        ..Api::new(None)
    }
}

fn world() -> (Arc<Shelf>, Api) {
    let shelf = Arc::new(Shelf::new());
    let api = api(&shelf);
    (shelf, api)
}

async fn post(api: &Api, path: &str, body: &str) -> Answer {
    api.call("POST", path, &[], body).await
}

async fn save(api: &Api, body: &str) -> Answer {
    post(api, "/v1.0/state/mem", body).await
}

fn malformed(message: &str) -> String {
    let message = serde_json::to_string(message).unwrap();
    format!(r#"{{"errorCode":"ERR_MALFORMED_REQUEST","message":{message}}}"#)
}

#[tokio::test]
async fn values_are_saved_in_their_one_form_and_read_as_they_are_stored() {
    let (shelf, api) = world();
    let body = r#"[
        {"key":"k1","value":"text <&>"},
        {"KEY":"k2","VALUE":{"b":[1,2.50,null],"a":"é"},"other":[]},
        {"key":"k3","value":9007199254740993},
        {"key":"k4"},
        {"key":"k/5 ","value":true}
    ] trailing"#;
    assert_eq!(save(&api, body).await.short(), (204, ""));
    assert_eq!(
        api.call("PUT", "/v1.0/state/mem", &[], r#"[{"key":"k6","value":"a"}]"#)
            .await
            .status,
        204
    );
    let table = [
        ("k1", r#""text \u003c\u0026\u003e""#),
        ("k2", r#"{"a":"é","b":[1,2.5,null]}"#),
        ("k3", "9007199254740992"),
        ("k4", "null"),
        ("k%2F5+", "true"),
        ("k6", "\"a\""),
    ];
    for (key, expected) in table {
        let answer = api.get(&format!("/v1.0/state/mem/{key}")).await;
        assert_eq!(answer.short(), (200, expected), "{key}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("etag"), Some("1"));
    }
    shelf.put("app||raw", b"no <JSON>");
    assert_eq!(api.get("/v1.0/state/mem/raw").await.short(), (200, "no <JSON>"));
    shelf.put("app||empty", b"");
    assert_eq!(api.get("/v1.0/state/mem/empty").await.short(), (200, ""));
    let none = api.get("/v1.0/state/mem/none").await;
    assert_eq!(none.short(), (204, ""));
    assert_eq!((none.header("etag"), none.header("content-type")), (None, None));
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_in_the_words_of_go() {
    let (shelf, api) = world();
    let table = [
        ("", "EOF"),
        ("{\"key\"", "unexpected EOF"),
        (
            "{}",
            "json: cannot unmarshal object into Go value of type []state.SetRequest",
        ),
        (
            "[1]",
            "json: cannot unmarshal number into Go value of type state.SetRequest",
        ),
        (
            "[{\"key\":\"a\"},]",
            "invalid character ']' looking for beginning of value",
        ),
        (
            "[{\"key\":\"a\",\"etag\":123}]",
            "json: cannot unmarshal number into Go struct field SetRequest.etag of type string",
        ),
        (
            "[{\"key\":\"a\",\"metadata\":{\"ttlInSeconds\":1}}]",
            "json: cannot unmarshal number into Go struct field SetRequest.metadata of type string",
        ),
        (
            "[{\"key\":\"a\",\"value\":1e999}]",
            "json: cannot unmarshal number 1e999 into Go struct field SetRequest.value of type float64",
        ),
        ("[{}]", "\"key\" is a required field"),
        ("[{\"key\":\"\"}]", "\"key\" is a required field"),
    ];
    for (body, message) in table {
        let answer = save(&api, body).await;
        assert_eq!(answer.short(), (400, malformed(message).as_str()), "{body}");
    }
    for body in ["[]", "null", " [ ] x"] {
        assert_eq!(save(&api, body).await.short(), (204, ""), "{body}");
    }
    assert!(shelf.calls().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_told_by_each_route() {
    let (_, mut api) = world();
    api.limit = Some(10);
    let chunked = |path: &str| {
        let body = streamed(&[r#"[{"key":"a","#, r#""value":"0123456789"}]"#]);
        http::Request::post(path.to_owned()).body(body).unwrap()
    };
    let answer = api.send(chunked("/v1.0/state/mem")).await;
    assert_eq!(answer.short(), (400, malformed("stream too large").as_str()));
    for path in ["/v1.0/state/mem/bulk", "/v1.0/state/mem/transaction"] {
        let answer = api.send(chunked(path)).await;
        let message = malformed("failed deserializing HTTP body: stream too large");
        assert_eq!(answer.short(), (400, message.as_str()), "{path}");
    }
}

#[tokio::test]
async fn stores_are_looked_for_before_the_body_is() {
    let (_, api) = world();
    let details = r#""details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"app"},"reason":"#;
    let unknown = format!(
        r#"{{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"state store nope is not found",{details}"DAPR_STATE_NOT_FOUND"}}]}}"#
    );
    let missing = format!(
        r#"{{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store nope is not configured",{details}"DAPR_STATE_NOT_CONFIGURED"}}]}}"#
    );
    let nothing = with(State::none("app"));
    for (method, path) in [
        ("GET", "/v1.0/state/nope/k"),
        ("DELETE", "/v1.0/state/nope/k"),
        ("POST", "/v1.0/state/nope"),
        ("POST", "/v1.0/state/nope/bulk"),
        ("PUT", "/v1.0/state/nope/transaction"),
        ("POST", "/v1.0-alpha1/state/nope/query"),
    ] {
        let answer = api.call(method, path, &[], "x").await;
        assert_eq!(answer.short(), (400, unknown.as_str()), "{method} {path}");
        let answer = nothing.call(method, path, &[], "x").await;
        assert_eq!(answer.short(), (500, missing.as_str()), "{method} {path}");
    }
}

#[tokio::test]
async fn an_illegal_key_is_named_but_by_transactions() {
    let (_, api) = world();
    let body = |field: &str| {
        let text = "api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'";
        format!(
            r#"{{"errorCode":"ERR_MALFORMED_REQUEST","message":"{text}","details":[{{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{{{field}"description":"{text}"}}]}},{{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"mem","resource_type":"state"}},{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_ILLEGAL_KEY"}}]}}"#
        )
    };
    let named = body(r#""field":"a||b","#);
    assert_eq!(
        save(&api, r#"[{"key":"a||b","value":1}]"#).await.short(),
        (400, named.as_str())
    );
    assert_eq!(
        api.get("/v1.0/state/mem/a%7C%7Cb").await.short(),
        (400, named.as_str())
    );
    let transaction = r#"{"operations":[{"operation":"upsert","request":{"key":"a||b"}}]}"#;
    let answer = post(&api, "/v1.0/state/mem/transaction", transaction).await;
    assert_eq!(answer.short(), (400, body("").as_str()));
}

#[tokio::test]
async fn tags_and_options_reach_the_store() {
    let (shelf, api) = world();
    save(&api, r#"[{"key":"k","value":1}]"#).await;
    let conflict = save(&api, r#"[{"key":"k","value":2,"etag":"9"}]"#).await;
    assert_eq!(
        conflict.short(),
        (
            409,
            r#"{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store mem: possible etag mismatch. error from state store: key app||k"}"#
        )
    );
    let invalid = save(&api, r#"[{"key":"k","value":2,"etag":"x"}]"#).await;
    assert_eq!(invalid.status, 400);
    assert!(
        invalid.body.contains("mem: invalid etag value: invalid digit"),
        "{}",
        invalid.body
    );
    assert_eq!(
        save(&api, r#"[{"key":"k","value":2,"etag":""}]"#).await.status,
        204
    );
    let odd = save(&api, r#"[{"key":"k","value":2,"options":{"Concurrency":"odd"}}]"#).await;
    assert_eq!(
        odd.short(),
        (
            500,
            r#"{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store mem: unrecognized concurrency model 'odd'"}"#
        )
    );
    let path = "/v1.0/state/mem/k";
    let answer = api.call("DELETE", path, &[("if-match", "7")], "").await;
    assert_eq!(
        answer.short(),
        (
            409,
            r#"{"errorCode":"ERR_STATE_DELETE","message":"failed deleting state with key k: possible etag mismatch. error from state store: key app||k"}"#
        )
    );
    let answer = api
        .call("DELETE", &format!("{path}?consistency=odd"), &[], "")
        .await;
    assert_eq!(answer.status, 500);
    let answer = api
        .call(
            "DELETE",
            &format!("{path}?concurrency=last-write"),
            &[("if-match", "")],
            "",
        )
        .await;
    assert_eq!(answer.short(), (204, ""));
    // There is no route for the deletion of several: this is the deletion of a key.
    assert_eq!(
        api.call("DELETE", "/v1.0/state/mem/bulk", &[], "").await.status,
        204
    );
    assert!(shelf.shown().is_empty());
    shelf.fail([Some(StateError::other("<broken>"))]);
    assert_eq!(
        api.get(path).await.short(),
        (
            500,
            r#"{"errorCode":"ERR_STATE_GET","message":"fail to get k from state store mem: \u003cbroken\u003e"}"#
        )
    );
}

#[tokio::test]
async fn the_metadata_of_the_query_goes_before_that_of_the_body() {
    let (shelf, api) = world();
    let one = |name: &str, value: &str| Metadata::from([(name.to_owned(), value.to_owned())]);
    let body = r#"[{"key":"k","value":1,"metadata":{"a":"body"}}]"#;
    post(
        &api,
        "/v1.0/state/mem?metadata.a=query&metadata.a=second&Metadata.b=no",
        body,
    )
    .await;
    assert_eq!(shelf.metadata(), [one("a", "query")]);
    let answer = api.get("/v1.0/state/mem/k?metadata.ttlExpireTime=soon").await;
    assert_eq!(answer.header("metadata.ttlexpiretime"), Some("soon"));
    shelf.metadata();
    post(
        &api,
        "/v1.0/state/mem/bulk?metadata.a=query",
        r#"{"keys":["k"],"metadata":{"a":"body"}}"#,
    )
    .await;
    assert_eq!(shelf.metadata(), [one("a", "query")]);
    let body = r#"{"operations":[{"operation":"delete","request":{"key":"k"}}],"metadata":{"a":"body"}}"#;
    post(&api, "/v1.0/state/mem/transaction?metadata.a=query", body).await;
    assert_eq!(shelf.metadata(), [one("a", "query")]);
    api.call("DELETE", "/v1.0/state/mem/k?metadata.a=x+y", &[], "")
        .await;
    assert_eq!(shelf.metadata(), [one("a", "x y")]);
}

#[tokio::test]
async fn several_values_are_read_at_once() {
    let (shelf, api) = world();
    let path = "/v1.0/state/mem/bulk";
    save(
        &api,
        r#"[{"key":"k1","value":"text <&>"},{"key":"k2","value":{"b":1}}]"#,
    )
    .await;
    shelf.put("app||spaced", b" { \"b\" : 1.50, \"a\":\"<\" } ");
    shelf.put("app||odd", b"hello");
    let answer = post(
        &api,
        path,
        r#"{"keys":["k1","k2","none","spaced","odd"],"parallelism":2}"#,
    )
    .await;
    let expected = concat!(
        r#"[{"key":"k1","data":"text \u003c\u0026\u003e","etag":"1"},{"key":"k2","data":{"b":1},"etag":"1"},"#,
        r#"{"key":"none"},{"key":"spaced","data":{"b":1.50,"a":"\u003c"},"etag":"1"},"#,
        r#"{"key":"odd","error":"the value is not JSON: invalid character 'h' looking for beginning of value"}]"#,
        "\n"
    );
    assert_eq!(answer.short(), (200, expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = post(
        &api,
        &format!("{path}?metadata.b=2&metadata.a=1"),
        r#"{"keys":["k2"]}"#,
    )
    .await;
    assert_eq!(
        answer.body,
        "[{\"key\":\"k2\",\"data\":{\"b\":1},\"etag\":\"1\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"}}]\n"
    );
    shelf.fail([Some(StateError::other("broken"))]);
    let answer = post(&api, path, r#"{"keys":["k1","k2"]}"#).await;
    assert_eq!(
        answer.short(),
        (
            200,
            "[{\"key\":\"k1\",\"error\":\"broken\"},{\"key\":\"k2\",\"data\":{\"b\":1},\"etag\":\"1\"}]\n"
        )
    );
    for body in [
        "{}",
        "null",
        r#"{"keys":[]}"#,
        r#"{"keys":null,"parallelism":-1}"#,
    ] {
        assert_eq!(post(&api, path, body).await.short(), (200, "[]\n"), "{body}");
    }
    for (body, message) in [
        ("", "EOF"),
        (
            "[]",
            "json: cannot unmarshal array into Go value of type http.BulkGetRequest",
        ),
        (
            r#"{"keys":[1]}"#,
            "json: cannot unmarshal number into Go struct field BulkGetRequest.keys of type string",
        ),
        (
            r#"{"parallelism":1.5}"#,
            "json: cannot unmarshal number 1.5 into Go struct field BulkGetRequest.parallelism of type int",
        ),
    ] {
        let message = malformed(&format!("failed deserializing HTTP body: {message}"));
        assert_eq!(
            post(&api, path, body).await.short(),
            (400, message.as_str()),
            "{body}"
        );
    }
}

#[tokio::test]
async fn writes_happen_together() {
    let (shelf, api) = world();
    let path = "/v1.0/state/mem/transaction";
    save(&api, r#"[{"key":"old","value":1}]"#).await;
    let body = r#"{"Operations":[
        {"operation":"upsert","request":{"Key":"new","value":{"b":1,"a":2}}},
        {"operation":"delete","request":{"key":"old"}}]}"#;
    assert_eq!(post(&api, path, body).await.short(), (204, ""));
    assert_eq!(
        shelf.shown(),
        [("app||new".to_owned(), r#"{"a":2,"b":1}"#.to_owned())]
    );
    for body in ["{}", r#"{"operations":[]}"#] {
        assert_eq!(post(&api, path, body).await.short(), (204, ""), "{body}");
    }
    let odd = r#"{"operations":[{"operation":"frob","request":{"key":"t1"}}]}"#;
    assert_eq!(
        post(&api, path, odd).await.short(),
        (
            400,
            r#"{"errorCode":"ERR_NOT_SUPPORTED_STATE_OPERATION","message":"operation type frob not supported"}"#
        )
    );
    let wrong = r#"{"operations":[{"operation":"upsert","request":{"key":1}}]}"#;
    let answer = post(&api, path, wrong).await;
    assert_eq!(answer.status, 400);
    let beginning = r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: "#;
    assert!(answer.body.starts_with(beginning), "{}", answer.body);
    let conflict = r#"{"operations":[{"operation":"delete","request":{"key":"new","etag":"9"}}]}"#;
    let answer = post(&api, path, conflict).await;
    assert_eq!(
        answer.short(),
        (
            500,
            r#"{"errorCode":"ERR_STATE_TRANSACTION","message":"error while executing state transaction: possible etag mismatch. error from state store: key app||new"}"#
        )
    );
}

#[tokio::test]
async fn stores_without_transactions_or_queries_say_so() {
    let shelf = Arc::new(Shelf::that_can(&[]));
    let api = api(&shelf);
    let info = |reason: &str| {
        format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"mem","resource_type":"state"}},{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"{reason}"}}]}}"#
        )
    };
    let expected = format!(
        r#"{{"errorCode":"ERR_STATE_STORE_NOT_SUPPORTED","message":"state store mem doesn't support transactions","details":[{{"@type":"type.googleapis.com/google.rpc.Help","links":[{{"description":"Check the list of state stores and the features they support","url":"https://docs.dapr.io/reference/components-reference/supported-state-stores/"}}]}},{}"#,
        info("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED")
    );
    let answer = post(&api, "/v1.0/state/mem/transaction", "x").await;
    assert_eq!(answer.short(), (500, expected.as_str()));
    let expected = format!(
        r#"{{"errorCode":"ERR_STATE_STORE_NOT_SUPPORTED","message":"state store does not support querying","details":[{}"#,
        info("DAPR_STATE_QUERYING_NOT_SUPPORTED")
    );
    let answer = post(&api, "/v1.0-alpha1/state/mem/query", "x").await;
    assert_eq!(answer.short(), (500, expected.as_str()));
}

#[tokio::test]
async fn queries_are_answered() {
    let shelf = Arc::new(Shelf::that_can(&[Feature::QUERY_API]));
    let api = api(&shelf);
    let path = "/v1.0-alpha1/state/mem/query";
    assert_eq!(post(&api, path, "{}").await.short(), (204, ""));
    shelf.put("app||a", b"{\"x\": 1}");
    shelf.put("b", b"odd");
    let answer = post(&api, path, r#"{"page":{"token":"3"}}"#).await;
    let expected = concat!(
        r#"{"results":[{"key":"a","data":{"x":1},"etag":"1"},"#,
        r#"{"key":"b","data":null,"etag":"1","error":"the value is not JSON: invalid character 'o' looking for beginning of value"}],"#,
        r#""token":"3"}"#,
        "\n"
    );
    assert_eq!(answer.short(), (200, expected));
    let answer = post(&api, path, r#"{"filter":{"LIKE":{"a":1}}}"#).await;
    assert_eq!(answer.status, 500);
    let text = r#"query failed: failed to parse JSON query body: unsupported filter \"LIKE\"""#;
    assert!(answer.body.contains(text), "{}", answer.body);
}
