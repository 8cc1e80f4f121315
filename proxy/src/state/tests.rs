//! The operation layer, without a surface.

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::Feature;
use outrigger_component::state::{
    DeleteRequest, GetRequest, Json, Metadata, RichError, SetRequest, StateError, Value,
};
use outrigger_config::resources::{Resiliency, Resource as _};
use outrigger_error::{Error, Wire};
use outrigger_kit::yaml;
use outrigger_resilience::Policies;
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use serde_json::json;

use super::testing::Shelf;
use super::{Keys, State, Write};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

fn set(key: &str, text: &str) -> SetRequest {
    SetRequest::new(key, json!(text))
}

fn tagged(key: &str, etag: &str) -> SetRequest {
    SetRequest {
        etag: Some(etag.to_owned()),
        ..set(key, "new")
    }
}

fn shelf() -> (Arc<Shelf>, State) {
    let shelf = Arc::new(Shelf::new());
    let state = State::of("store", &shelf, None);
    (shelf, state)
}

/// A store whose operations are tried four times at most.
fn retried(shelf: &Arc<Shelf>) -> State {
    let yaml = "metadata: {name: r}\nspec: {policies: {retries: {r: {duration: 1ms, maxRetries: 3}}}, \
                targets: {components: {store: {outbound: {retry: r}}}}}";
    let resource = Resiliency::from_document("dapr.io/v1alpha1", &yaml::to_json(yaml).unwrap()).unwrap();
    let policies = Policies::load(&[resource], &Metrics::disabled()).policies;
    State::under("store", shelf, None, policies, Metrics::disabled())
}

fn status<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (u16, String) {
    let error = outcome.unwrap_err();
    (error.face().http, error.message(Wire::Http))
}

fn lines(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_by_whether_there_is_any() {
    let (_, state) = shelf();
    let (status, text) = status(state.find("other"));
    assert_eq!((status, text.as_str()), (400, "state store other is not found"));
    let error = State::none("app").find("other").unwrap_err();
    assert_eq!(error.to_string(), "state store other is not configured");
}

#[tokio::test]
async fn keys_are_stored_with_the_prefix_of_the_app_and_shown_without() {
    let (shelf, state) = shelf();
    let store = state.find("store").unwrap();
    store.save(vec![set("a", "1"), set("b", "2")]).await.unwrap();
    assert_eq!(
        shelf.shown(),
        [("app||a", "\"1\""), ("app||b", "\"2\"")].map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    let item = store.get(GetRequest::new("a")).await.unwrap().unwrap();
    assert_eq!(item.data.unwrap(), "\"1\"");
    let keys = ["b", "c"].map(str::to_owned).to_vec();
    let found = store.bulk_get(keys, &Metadata::new(), 0).await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|found| (found.key, found.outcome.unwrap().map(|item| item.data.unwrap())))
        .collect();
    assert_eq!(
        found,
        [("b".to_owned(), Some("\"2\"".into())), ("c".to_owned(), None)]
    );
    store.delete(DeleteRequest::new("a")).await.unwrap();
    let requests = vec![DeleteRequest::new("b"), DeleteRequest::new("c")];
    store.bulk_delete(requests).await.unwrap();
    assert!(shelf.shown().is_empty());
}

#[tokio::test]
async fn keys_with_the_separator_reach_no_store() {
    let (shelf, state) = shelf();
    let store = state.find("store").unwrap();
    let text = "api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'";
    let illegal = (400, text.to_owned());
    assert_eq!(status(store.get(GetRequest::new("a||b")).await), illegal);
    assert_eq!(
        status(store.save(vec![set("ok", ""), set("a||b", "")]).await),
        illegal
    );
    assert_eq!(status(store.delete(DeleteRequest::new("a||b")).await), illegal);
    let keys = vec!["a||b".to_owned()];
    assert_eq!(status(store.bulk_get(keys, &Metadata::new(), 0).await), illegal);
    let write = Write::Delete(DeleteRequest::new("a||b"));
    assert_eq!(
        status(store.transact(vec![write], Metadata::new()).await),
        illegal
    );
    assert_eq!(
        status(store.save(vec![set("", "")]).await),
        (400, "state key cannot be empty".to_owned())
    );
    assert!(shelf.calls().is_empty());
}

#[tokio::test]
async fn failures_have_the_status_of_their_kind() {
    let (shelf, state) = shelf();
    let store = state.find("store").unwrap();
    let rich = || {
        StateError::Rich(Box::new(RichError {
            code: 15,
            code_name: "DataLoss".to_owned(),
            http_status: 506,
            message: "get-error".to_owned(),
            tag: "TAG".to_owned(),
            reason: "REASON".to_owned(),
            domain: "example.com".to_owned(),
        }))
    };
    let given = "api error: code = DataLoss desc = get-error";
    let mismatch = "possible etag mismatch. error from state store";
    let table = [
        (StateError::other("broken"), 500, "broken".to_owned()),
        (StateError::EtagMismatch(None), 409, mismatch.to_owned()),
        (StateError::mismatch("inner"), 409, format!("{mismatch}: inner")),
        (
            StateError::invalid("inner"),
            400,
            "invalid etag value: inner".to_owned(),
        ),
        (rich(), 506, given.to_owned()),
    ];
    for (error, expected, text) in table {
        shelf.fail([Some(error)]);
        assert_eq!(
            status(store.save(vec![set("k", "")]).await),
            (
                expected,
                format!("failed saving state in state store store: {text}")
            )
        );
    }
    shelf.fail([
        Some(rich()),
        Some(StateError::mismatch("inner")),
        Some(StateError::other("x")),
    ]);
    assert_eq!(
        status(store.get(GetRequest::new("k")).await),
        (506, format!("fail to get k from state store store: {given}"))
    );
    assert_eq!(
        status(store.delete(DeleteRequest::new("k")).await),
        (
            409,
            format!("failed deleting state with key k: {mismatch}: inner")
        )
    );
    let transaction = store.transact(vec![Write::Upsert(set("k", ""))], Metadata::new());
    assert_eq!(
        status(transaction.await),
        (500, "error while executing state transaction: x".to_owned())
    );
    // A conflict within a transaction has no status of its own.
    let transaction = store.transact(vec![Write::Upsert(tagged("k", "7"))], Metadata::new());
    assert_eq!(status(transaction.await).0, 500);
    // On gRPC a store that knows better is heard.
    shelf.fail([Some(rich())]);
    let error = store.get(GetRequest::new("k")).await.unwrap_err();
    let status = tonic::Status::from(&error);
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::DataLoss, "get-error")
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_a_retry_may_help_is_tried_again() {
    let shelf = Arc::new(Shelf::new());
    let state = retried(&shelf);
    let store = state.find("store").unwrap();
    let broken = || Some(StateError::other("broken"));

    shelf.fail([broken(), broken()]);
    store.save(vec![set("a", "1")]).await.unwrap();
    assert_eq!(shelf.calls(), lines(&["set app||a"; 3]));

    let conflict = store.save(vec![tagged("a", "9")]).await;
    assert_eq!(status(conflict).0, 409);
    assert_eq!(shelf.calls(), lines(&["set app||a"]));

    shelf.fail([None, broken(), broken()]);
    store
        .save(vec![set("a", "2"), set("b", "2"), set("c", "2")])
        .await
        .unwrap();
    assert_eq!(
        shelf.calls(),
        lines(&[
            "bulk set app||a",
            "bulk set app||b",
            "bulk set app||c",
            "bulk set app||b",
            "bulk set app||c"
        ])
    );

    shelf.fail([None, broken()]);
    store.save(vec![set("a", "3"), set("b", "3")]).await.unwrap();
    assert_eq!(
        shelf.calls(),
        lines(&["bulk set app||a", "bulk set app||b", "set app||b"])
    );

    shelf.fail([broken(), broken(), broken(), broken()]);
    let outcome = store.get(GetRequest::new("a")).await;
    assert_eq!(
        status(outcome),
        (500, "fail to get a from state store store: broken".to_owned())
    );
    assert_eq!(shelf.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn conflicts_among_several_writes_are_told_in_the_end() {
    let shelf = Arc::new(Shelf::new());
    let state = retried(&shelf);
    let store = state.find("store").unwrap();
    let prefix = "failed saving state in state store store: ";
    let conflict = "possible etag mismatch. error from state store: key app||a";

    let outcome = store.save(vec![tagged("a", "9"), set("b", "1")]).await;
    assert_eq!(
        status(outcome),
        (
            409,
            format!("{prefix}possible etag mismatch. error from state store: {conflict}")
        )
    );
    assert_eq!(shelf.calls().len(), 2);

    // `c` is tried again, and still `a` is not done.
    shelf.fail([None, Some(StateError::other("broken"))]);
    let outcome = store.save(vec![tagged("a", "9"), set("c", "1")]).await;
    assert_eq!(status(outcome).0, 409);
    assert_eq!(
        shelf.calls(),
        lines(&["bulk set app||a", "bulk set app||c", "set app||c"])
    );

    let outcome = store.save(vec![tagged("a", "9"), tagged("b", "x")]).await;
    let (code, text) = status(outcome);
    assert_eq!(code, 400);
    assert!(text.starts_with(&format!(
        "{prefix}invalid etag value: {conflict}\ninvalid etag value: "
    )));

    // A store that does not say which item failed has all of them again.
    shelf.calls();
    shelf.fail([Some(StateError::other("broken"))]);
    store
        .save(vec![set("nameless", "1"), set("d", "1")])
        .await
        .unwrap();
    assert_eq!(shelf.calls().len(), 4);
}

#[tokio::test]
async fn without_a_policy_everything_is_tried_once() {
    let (shelf, state) = shelf();
    let store = state.find("store").unwrap();
    shelf.fail([Some(StateError::other("broken")), Some(StateError::mismatch("x"))]);
    let outcome = store
        .save(vec![set("a", "1"), set("b", "1"), set("c", "1")])
        .await;
    let text =
        "failed saving state in state store store: broken\npossible etag mismatch. error from state store: x";
    assert_eq!(status(outcome), (500, text.to_owned()));
    assert_eq!(shelf.calls().len(), 3);
    assert_eq!(shelf.shown().len(), 1);
    store.save(Vec::new()).await.unwrap();
    store.bulk_delete(Vec::new()).await.unwrap();
    assert!(shelf.calls().is_empty());
}

#[tokio::test]
async fn what_is_encrypted_is_read_again() {
    let shelf = Arc::new(Shelf::new());
    let keys = Keys::new(("pg", KEY), None).unwrap();
    let state = State::of("store", &shelf, Some(keys));
    let store = state.find("store").unwrap();
    store.save(vec![set("a", "text")]).await.unwrap();
    let object = SetRequest::new("b", Value::Json(Json::new(json!({ "x": 1 }))));
    let writes = vec![Write::Upsert(object), Write::Delete(DeleteRequest::new("c"))];
    store.transact(writes, Metadata::new()).await.unwrap();
    for (key, stored) in shelf.shown() {
        assert!(
            stored.ends_with("||pg") && !stored.contains("text"),
            "{key}: {stored}"
        );
    }
    shelf.put("app||plain", b"plain");
    let keys = ["a", "b", "plain"].map(str::to_owned).to_vec();
    let found = store.bulk_get(keys, &Metadata::new(), 0).await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|found| found.outcome.map(|item| item.unwrap().data.unwrap()))
        .collect();
    let refused = "could not decrypt data for state store store: encryption key name not found on record";
    assert_eq!(
        found,
        [Ok("text".into()), Ok("{\"x\":1}".into()), Err(refused.to_owned())]
    );
    assert_eq!(
        status(store.get(GetRequest::new("plain")).await),
        (
            500,
            format!("fail to get plain from state store store: {refused}")
        )
    );
}

#[tokio::test]
async fn transactions_are_for_stores_that_have_them_and_have_their_limits() {
    let plain = Arc::new(Shelf::that_can(&[Feature::ETAG]));
    let state = State::of("store", &plain, None);
    let outcome = state
        .find("store")
        .unwrap()
        .transact(Vec::new(), Metadata::new())
        .await;
    assert_eq!(
        status(outcome),
        (500, "state store store doesn't support transactions".to_owned())
    );
    let limited = Arc::new(Shelf::new().limited(1));
    let state = State::of("store", &limited, None);
    let store = state.find("store").unwrap();
    let writes = || vec![Write::Upsert(set("a", "")), Write::Upsert(set("b", ""))];
    assert_eq!(
        status(store.transact(writes(), Metadata::new()).await),
        (
            400,
            "the transaction contains 2 operations, which is more than what the state store supports: 1"
                .to_owned()
        )
    );
    assert!(limited.calls().is_empty());
    store.transact(vec![], Metadata::new()).await.unwrap();
    assert_eq!(limited.calls(), lines(&["transact "]));
}

#[tokio::test]
async fn queries_are_for_stores_that_have_them_and_can_read_values() {
    let (_, state) = shelf();
    let outcome = state.find("store").unwrap().query(b"{}", &Metadata::new()).await;
    assert_eq!(
        status(outcome),
        (500, "state store does not support querying".to_owned())
    );
    let shelf = Arc::new(Shelf::that_can(&[Feature::QUERY_API]));
    let encrypted = State::of("store", &shelf, Some(Keys::new(("pg", KEY), None).unwrap()));
    let outcome = encrypted
        .find("store")
        .unwrap()
        .query(b"{}", &Metadata::new())
        .await;
    let failed = |cause: &str| (500, format!("state store store query failed: {cause}"));
    assert_eq!(status(outcome), failed("cannot query encrypted store"));
    let state = State::of("store", &shelf, None);
    let store = state.find("store").unwrap();
    assert_eq!(
        status(store.query(b"{", &Metadata::new()).await),
        failed("failed to parse JSON query body: unexpected end of JSON input")
    );
    shelf.fail([Some(StateError::other("broken"))]);
    assert_eq!(
        status(store.query(b"{}", &Metadata::new()).await),
        failed("broken")
    );
    shelf.put("other||k", b"1");
    let answer = store.query(b"{}", &Metadata::new()).await.unwrap();
    assert_eq!(answer.items[0].key, "k");
}

#[tokio::test(start_paused = true)]
async fn each_operation_is_counted_once() {
    let metrics = Metrics::new(&MetricsSettings {
        app_id: "app".into(),
        ..MetricsSettings::default()
    })
    .unwrap();
    let shelf = Arc::new(Shelf::that_can(&[Feature::TRANSACTIONAL, Feature::QUERY_API]));
    let state = State::under("store", &shelf, None, Policies::default(), metrics.clone());
    let store = state.find("store").unwrap();
    let none = Metadata::new();
    store.get(GetRequest::new("a")).await.unwrap();
    store.save(vec![set("a", ""), set("b", "")]).await.unwrap();
    store.save(vec![tagged("a", "9")]).await.unwrap_err();
    store.delete(DeleteRequest::new("a")).await.unwrap();
    store.bulk_get(vec!["a".to_owned()], &none, 0).await.unwrap();
    store.bulk_delete(vec![DeleteRequest::new("a")]).await.unwrap();
    store.transact(Vec::new(), Metadata::new()).await.unwrap();
    store.query(b"{}", &none).await.unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    let text = String::from_utf8(metrics.encode().to_vec()).unwrap();
    for (operation, success) in [
        ("get", true),
        ("set", true),
        ("set", false),
        ("delete", true),
        ("bulk_get", true),
        ("bulk_delete", true),
        ("transaction", true),
        ("query", true),
    ] {
        let line = format!(
            "dapr_component_state_count{{app_id=\"app\",component=\"store\",namespace=\"\",\
             operation=\"{operation}\",success=\"{success}\"}} 1"
        );
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
