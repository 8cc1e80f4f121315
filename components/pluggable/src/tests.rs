//! A component of the test kit behind a socket, used through the traits.

use std::sync::{Arc, Mutex};

use outrigger_api::components as wire;
use outrigger_component::secrets::SecretStore;
use outrigger_component::state::{
    BulkError, Concurrency, Consistency, DeleteRequest, Direction, GetRequest, Metadata, Operation, Options,
    Page, Query, SetRequest, Sort, StateError, StateStore, Transaction, Value,
};
use outrigger_component::{Catalogue, Condition, Init, conformance};
use outrigger_test_kit::{Directory, PluggableComponent, Refusal, until};
use serde_json::json;

use crate::discover;

/// What a component said of its condition, in order.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<Option<String>>>>);

impl Told {
    fn condition(&self) -> Condition {
        let told = Arc::clone(&self.0);
        Condition::new(move |reason| told.lock().unwrap().push(reason.map(str::to_owned)))
    }

    fn last(&self) -> Option<Option<String>> {
        self.0.lock().unwrap().last().cloned()
    }
}

struct Bench {
    _folder: Directory,
    component: PluggableComponent,
    catalogue: Catalogue,
    told: Told,
}

impl Bench {
    async fn new() -> Self {
        let folder = Directory::new().unwrap();
        let component = PluggableComponent::start(folder.path(), "MyStore").unwrap();
        let mut catalogue = Catalogue::new();
        discover(folder.path(), &mut catalogue).await.unwrap();
        Self {
            _folder: folder,
            component,
            catalogue,
            told: Told::default(),
        }
    }

    fn init(&self, name: &str) -> Init {
        Init {
            name: name.into(),
            condition: self.told.condition(),
            ..conformance::init([("colour", "red")])
        }
    }

    async fn store(&self, name: &str) -> Arc<dyn StateStore> {
        let found = self.catalogue.state.find("state.mystore", "v1").unwrap();
        found.maker.make(self.init(name)).await.unwrap()
    }

    async fn secrets(&self) -> Arc<dyn SecretStore> {
        let found = self
            .catalogue
            .secret_stores
            .find("secretstores.mystore", "")
            .unwrap();
        found.maker.make(self.init("safe")).await.unwrap()
    }
}

fn metadata() -> Metadata {
    Metadata::from([("ttlInSeconds".to_owned(), "5".to_owned())])
}

#[tokio::test]
async fn a_socket_brings_the_types_that_its_process_serves() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.catalogue.kinds().collect::<Vec<_>>(),
        ["state.mystore", "secretstores.mystore"]
    );
    let store = bench.store("one").await;
    let features: Vec<_> = store.features().iter().map(ToString::to_string).collect();
    assert_eq!(features, ["ETAG", "TRANSACTIONAL"]);
    let init = &bench.component.calls("StateStore/Init")[0];
    assert_eq!(init.instance.as_deref(), Some("one"));
    let settings = init.message::<wire::InitRequest>().unwrap().metadata.unwrap();
    assert_eq!(settings.properties["colour"], "red");
}

#[tokio::test]
async fn files_that_are_no_sockets_are_passed_over_and_a_folder_may_be_absent() {
    let folder = Directory::new().unwrap();
    folder.write("notes.txt", "no socket").unwrap();
    folder.write("folder/notes.txt", "no socket").unwrap();
    let mut catalogue = Catalogue::new();
    discover(folder.path(), &mut catalogue).await.unwrap();
    discover(&folder.path().join("absent"), &mut catalogue)
        .await
        .unwrap();
    assert_eq!(catalogue.kinds().count(), 0);
    let file = folder.path().join("notes.txt");
    assert_eq!(
        discover(&file, &mut catalogue).await.unwrap_err().to_string(),
        format!("open {}: not a directory", file.display())
    );
}

#[tokio::test]
async fn one_socket_without_a_listener_ends_the_search() {
    let folder = Directory::new().unwrap();
    let _alive = PluggableComponent::start(folder.path(), "alive").unwrap();
    let mut gone = PluggableComponent::start(folder.path(), "gone").unwrap();
    gone.stop();
    let socket = gone.socket().display();
    let expected = format!(
        "unable to list services: rpc error: code = Unavailable desc = connection error: desc = \"transport: Error \
         while dialing: dial unix {socket}: connect: connection refused\""
    );
    let error = until("the listener to be gone", async || {
        let mut catalogue = Catalogue::new();
        let error = discover(folder.path(), &mut catalogue).await.err()?;
        assert_eq!(catalogue.kinds().count(), 0);
        (error.to_string() == expected).then_some(error)
    });
    error.await.unwrap();
}

#[tokio::test]
async fn values_are_written_read_and_deleted_for_one_instance() {
    let bench = Bench::new().await;
    let (one, other) = (bench.store("one").await, bench.store("other").await);
    let request = SetRequest {
        metadata: metadata(),
        options: Options {
            concurrency: Concurrency::FirstWrite,
            consistency: Consistency::Strong,
        },
        content_type: Some("text/plain".to_owned()),
        ..SetRequest::new("key", hyper::body::Bytes::from_static(b"value"))
    };
    one.set(&request).await.unwrap();
    let call = &bench.component.calls("StateStore/Set")[0];
    assert_eq!(call.instance.as_deref(), Some("one"));
    let sent: wire::SetRequest = call.message().unwrap();
    let options = sent.options.unwrap();
    assert_eq!((options.concurrency, options.consistency), (1, 2));
    assert_eq!((sent.metadata, sent.etag), (metadata(), None));

    let item = one.get(&GetRequest::new("key")).await.unwrap().unwrap();
    assert_eq!(item.data.as_deref(), Some(&b"value"[..]));
    assert_eq!(item.content_type.as_deref(), Some("text/plain"));
    assert_eq!(other.get(&GetRequest::new("key")).await.unwrap(), None);

    let stale = DeleteRequest {
        etag: Some("0".to_owned()),
        ..DeleteRequest::new("key")
    };
    assert_eq!(
        one.delete(&stale).await.unwrap_err().to_string(),
        "possible etag mismatch. error from state store: it has changed"
    );
    let fresh = DeleteRequest {
        etag: item.etag,
        ..DeleteRequest::new("key")
    };
    one.delete(&fresh).await.unwrap();
    assert_eq!(one.get(&GetRequest::new("key")).await.unwrap(), None);
    one.ping().await.unwrap();
}

#[tokio::test]
async fn json_is_sent_as_its_text_and_no_value_is_not_sent() {
    let bench = Bench::new().await;
    let store = bench.store("one").await;
    store
        .set(&SetRequest::new("key", json!({"b": 1, "a": "<"})))
        .await
        .unwrap();
    let item = store.get(&GetRequest::new("key")).await.unwrap().unwrap();
    assert_eq!(item.data.as_deref(), Some(&br#"{"a":"\u003c","b":1}"#[..]));

    let nil = SetRequest::new("key", json!(null));
    let text = "an attempt to set a nil value was received, try to use Delete instead";
    assert_eq!(store.set(&nil).await.unwrap_err().to_string(), text);
    let bulk = store.bulk_set(std::slice::from_ref(&nil)).await;
    assert_eq!(bulk.unwrap_err().to_string(), text);
    let transaction = Transaction {
        operations: vec![Operation::Set(nil)],
        ..Transaction::default()
    };
    let outcome = store.transactions().unwrap().transact(&transaction).await;
    assert_eq!(outcome.unwrap_err().to_string(), text);
    assert_eq!(bench.component.calls("StateStore/Set").len(), 1);
    assert!(bench.component.calls("StateStore/BulkSet").is_empty());
}

#[tokio::test]
async fn many_keys_are_one_call() {
    let bench = Bench::new().await;
    let store = bench.store("one").await;
    let sets = ["a", "b"].map(|key| SetRequest::new(key, Value::Bytes(key.into())));
    store.bulk_set(&sets).await.unwrap();
    let gets = ["a", "b", "c"].map(GetRequest::new);
    let items = store.bulk_get(&gets, 2).await.unwrap();
    let data = |item: &outrigger_component::state::BulkItem| {
        let item = item.outcome.as_ref().unwrap().as_ref();
        item.and_then(|item| item.data.as_ref()).map(|data| data.to_vec())
    };
    let found: Vec<_> = items.iter().map(|item| (item.key.as_str(), data(item))).collect();
    assert_eq!(
        found,
        [
            ("a", Some(b"a".to_vec())),
            ("b", Some(b"b".to_vec())),
            ("c", None)
        ]
    );
    let deletes = ["a", "b"].map(DeleteRequest::new);
    store.bulk_delete(&deletes).await.unwrap();
    for method in ["BulkSet", "BulkGet", "BulkDelete"] {
        assert_eq!(bench.component.calls(&format!("StateStore/{method}")).len(), 1);
    }
    let request: wire::BulkGetRequest = bench.component.calls("StateStore/BulkGet")[0].message().unwrap();
    assert_eq!(request.options.unwrap().parallelism, 2);

    let rows = [("expected", "2"), ("affected", "0")];
    bench
        .component
        .refuse("StateStore/BulkDelete", Refusal::with_info(13, "rows", &rows));
    let error = store.bulk_delete(&deletes).await.unwrap_err();
    assert_eq!(error.to_string(), "delete affected only 0 rows, expected 2");
    assert!(matches!(error, BulkError::Whole(StateError::Other(_))));
}

#[tokio::test]
async fn a_transaction_is_one_call_and_its_limit_is_asked_for_until_it_is_known() {
    let bench = Bench::new().await;
    let store = bench.store("one").await;
    let transactions = store.transactions().unwrap();
    assert_eq!(transactions.max_operations().await, None);
    bench.component.set_max_size(3);
    assert_eq!(transactions.max_operations().await, Some(3));
    bench.component.set_max_size(4);
    assert_eq!(transactions.max_operations().await, Some(3));
    let asked = bench
        .component
        .calls("TransactionalStoreMultiMaxSize/MultiMaxSize");
    assert_eq!(asked.len(), 2);

    let transaction = Transaction {
        operations: vec![
            Operation::Set(SetRequest::new("a", json!(1))),
            Operation::Delete(DeleteRequest::new("b")),
        ],
        metadata: metadata(),
    };
    transactions.transact(&transaction).await.unwrap();
    let call = &bench.component.calls("TransactionalStateStore/Transact")[0];
    let request: wire::TransactionalStateRequest = call.message().unwrap();
    assert_eq!((request.operations.len(), request.metadata), (2, metadata()));

    bench.component.set_features(&["ETAG"]);
    assert!(bench.store("two").await.transactions().is_none());
}

#[tokio::test]
async fn a_query_goes_as_the_caller_wrote_it() {
    let bench = Bench::new().await;
    let store = bench.store("one").await;
    let filter = json!({"EQ": {"person.org": "A<B"}});
    let query = Query {
        filter_members: filter.as_object().unwrap().clone(),
        sort: vec![
            Sort {
                key: "state".to_owned(),
                order: Some(Direction::Descending),
            },
            Sort {
                key: "name".to_owned(),
                order: None,
            },
        ],
        page: Page {
            limit: 2,
            token: Some("t".to_owned()),
        },
        ..Query::default()
    };
    bench.component.set_found(wire::QueryResponse {
        items: vec![wire::QueryItem {
            key: "k".to_owned(),
            data: "1".into(),
            etag: Some(wire::Etag {
                value: "7".to_owned(),
            }),
            ..wire::QueryItem::default()
        }],
        token: "next".to_owned(),
        metadata: metadata(),
    });
    let answer = store.queries().unwrap().query(&query, &metadata()).await.unwrap();
    assert_eq!(answer.token.as_deref(), Some("next"));
    let item = &answer.items[0];
    assert_eq!((item.key.as_str(), item.etag.as_deref()), ("k", Some("7")));
    assert_eq!((&item.error, &item.content_type), (&None, &None));

    let call = &bench.component.calls("QueriableStateStore/Query")[0];
    let request: wire::QueryRequest = call.message().unwrap();
    let sent = request.query.unwrap();
    let eq = &sent.filter["EQ"];
    assert_eq!(
        (eq.type_url.as_str(), eq.value.as_ref()),
        ("", &br#"{"person.org":"A\u003cB"}"#[..])
    );
    let orders: Vec<_> = sent.sort.iter().map(|sort| sort.order).collect();
    assert_eq!(orders, [1, 0]);
    let page = sent.pagination.unwrap();
    assert_eq!((page.limit, page.token.as_str()), (2, "t"));
}

#[tokio::test]
async fn what_a_component_refuses_at_its_start_is_told() {
    let bench = Bench::new().await;
    bench
        .component
        .refuse("StateStore/Init", Refusal::new(3, "no colour"));
    let found = bench.catalogue.state.find("state.mystore", "").unwrap();
    let error = found.maker.make(bench.init("one")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rpc error: code = InvalidArgument desc = no colour"
    );
}

#[tokio::test]
async fn a_lost_component_fails_at_once_and_a_new_one_is_told_its_settings() {
    let mut bench = Bench::new().await;
    let store = bench.store("one").await;
    let get = GetRequest::new("key");
    store.get(&get).await.unwrap();
    bench.component.stop();
    let socket = bench.component.socket().display();
    let refused = format!(
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix \
         {socket}: connect: connection refused\""
    );
    until("the connection to be refused", async || {
        let error = store.get(&get).await.err()?;
        (error.to_string() == refused).then_some(())
    })
    .await
    .unwrap();
    assert!(bench.told.last().unwrap().is_some());

    bench.component.restart().unwrap();
    store.get(&get).await.unwrap();
    assert_eq!(bench.component.calls("StateStore/Init").len(), 2);
    until("the component to be well", async || {
        (bench.told.last() == Some(None)).then_some(())
    })
    .await
    .unwrap();

    store.close().await.unwrap();
    until("the store to be closed", async || {
        let error = store.get(&get).await.err()?;
        let closed = "rpc error: code = Canceled desc = grpc: the client connection is closing";
        (error.to_string() == closed).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn secrets_are_read_one_by_one_and_all_at_once() {
    let bench = Bench::new().await;
    bench
        .component
        .set_secret("db", &[("user", "u"), ("password", "p")]);
    bench.component.set_secret("empty", &[]);
    let store = bench.secrets().await;
    assert_eq!(store.features()[0].as_str(), "MULTIPLE_KEY_VALUES_PER_SECRET");
    let secret = store.get("db", &metadata()).await.unwrap().unwrap();
    assert_eq!(
        secret.iter().collect::<Vec<_>>(),
        [("password", "p"), ("user", "u")]
    );
    assert_eq!(store.get("empty", &metadata()).await.unwrap(), None);
    assert_eq!(
        store.get("none", &metadata()).await.unwrap_err().to_string(),
        "rpc error: code = NotFound desc = no secret none"
    );
    let all = store.bulk(&Metadata::new()).await.unwrap();
    assert_eq!(all["db"].get("user"), Some("u"));
    let call = &bench.component.calls("SecretStore/Get")[0];
    assert_eq!(call.instance.as_deref(), Some("safe"));
    assert_eq!(
        call.message::<wire::GetSecretRequest>().unwrap().metadata,
        metadata()
    );
}
