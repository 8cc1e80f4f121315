//! The store on real servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outrigger_component::Condition;
use outrigger_component::conformance::state::{QueryTraits, Refusal, Traits};
use outrigger_component::conformance::{self, init};
use outrigger_component::state::{Concurrency, Consistency, Operation};
use outrigger_test_kit::servers::{MASTER_NAME, Redis, RedisCluster, RedisDocuments, RedisSentinel};
use outrigger_test_kit::{Authority, until};

use super::*;
use crate::link::testing;

fn traits(store: &'static str) -> Traits {
    let rules = Traits::new(store);
    Traits {
        unreadable_etag: Refusal::Invalid,
        calls_failed_deletes_mismatches: true,
        inserts_with_etag: true,
        first_write: Refusal::Other,
        first_write_is_sticky: true,
        shows_expiry: false,
        write_clears_expiry: false,
        is_atomic: false,
        lists_oldest_first: false,
        queries: QueryTraits {
            are_refused_by_the_store: true,
            ..rules.queries.clone()
        },
        ..rules
    }
}

async fn store(settings: &[(&str, &str)]) -> Result<Arc<dyn StateStore>, String> {
    let made = make(init(settings.iter().copied())).await;
    made.map_err(|error| error.to_string())
}

fn save(key: &str, value: &str) -> SetRequest {
    SetRequest::new(key, Bytes::copy_from_slice(value.as_bytes()))
}

async fn read(store: &dyn StateStore, key: &str) -> Option<(String, Option<String>)> {
    let item = store.get(&GetRequest::new(key)).await.unwrap()?;
    Some((String::from_utf8(item.data?.to_vec()).unwrap(), item.etag))
}

#[tokio::test]
async fn one_server_does_what_state_stores_do() -> anyhow::Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let store = store(&[("redisHost", &redis.address())]).await.unwrap();
    conformance::state::run(store, traits("state.redis")).await;
    Ok(())
}

#[tokio::test]
async fn a_cluster_does_what_state_stores_do() -> anyhow::Result<()> {
    let Some(cluster) = RedisCluster::start().await? else {
        return Ok(());
    };
    let settings = [
        ("redisHost", cluster.nodes[0].address()),
        ("redisType", "cluster".to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let store = store(&settings).await.unwrap();
    conformance::state::run(Arc::clone(&store), traits("state.redis, cluster")).await;

    // Keys of all nodes in one question, and transactions over several of them.
    let requests: Vec<_> = (0..50)
        .map(|number| save(&format!("many||{number}"), "1"))
        .collect();
    store.bulk_set(&requests).await.unwrap();
    let operations = requests.iter().cloned().map(Operation::Set).collect();
    let transaction = Transaction {
        operations,
        ..Transaction::default()
    };
    store
        .transactions()
        .unwrap()
        .transact(&transaction)
        .await
        .unwrap();
    let gets: Vec<_> = requests
        .iter()
        .map(|request| GetRequest::new(&*request.key))
        .collect();
    for item in store.bulk_get(&gets, 0).await.unwrap() {
        assert_eq!(item.outcome.unwrap().unwrap().etag.as_deref(), Some("2"));
    }
    let mut found = 0;
    for node in &cluster.nodes {
        let here = node.cli(&["KEYS", "many||*"]).await?.len();
        assert!(here > 0, "a node has no key");
        found += here;
    }
    assert_eq!(found, 50);

    // A node that goes and comes again, and slots that move, are no more than a moment's trouble.
    let (from, to) = (&cluster.nodes[0], &cluster.nodes[1]);
    let slot = from.cli(&["CLUSTER", "KEYSLOT", "moving"]).await?.concat();
    let owner = until("the owner", async || {
        for node in &cluster.nodes {
            let id = node.cli(&["CLUSTER", "MYID"]).await.ok()?.concat();
            let own = node.cli(&["SET", "moving", ""]).await.is_ok();
            if own {
                return Some((node, id));
            }
        }
        None
    })
    .await?;
    let target = if std::ptr::eq(owner.0, to) { from } else { to };
    let target_id = target.cli(&["CLUSTER", "MYID"]).await?.concat();
    owner.0.cli(&["DEL", "moving"]).await?;
    store.set(&save("moving", "1")).await.unwrap();
    target
        .cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &owner.1])
        .await?;
    owner
        .0
        .cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id])
        .await?;
    let port = target.server.port().to_string();
    owner
        .0
        .cli(&["MIGRATE", "127.0.0.1", &port, "moving", "0", "5000"])
        .await?;
    assert_eq!(read(&*store, "moving").await.unwrap().0, "1", "on the way");
    for node in &cluster.nodes {
        node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id])
            .await?;
    }
    assert_eq!(read(&*store, "moving").await.unwrap().0, "1", "at its new place");
    store.set(&save("moving", "2")).await.unwrap();
    assert_eq!(target.cli(&["HGET", "moving", "data"]).await?, ["2"]);
    Ok(())
}

#[tokio::test]
async fn the_bytes_in_the_server_are_those_of_the_specification() -> anyhow::Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let store = store(&[("redisHost", &redis.address()), ("ttlInSeconds", "900")])
        .await
        .unwrap();
    let json = SetRequest::new("app||json", serde_json::json!({"b": "<", "a": 1}));
    store.set(&json).await.unwrap();
    assert_eq!(
        redis.cli(&["HGETALL", "app||json"]).await?,
        ["data", r#"{"a":1,"b":"\u003c"}"#, "version", "1"]
    );
    let ttl: i64 = redis.cli(&["TTL", "app||json"]).await?.concat().parse()?;
    assert!((890..=900).contains(&ttl), "{ttl}");

    let mut first = save("app||first", "raw");
    first.options.concurrency = Concurrency::FirstWrite;
    first.metadata.insert("ttlInSeconds".to_owned(), "-1".to_owned());
    store.set(&first).await.unwrap();
    assert_eq!(
        redis.cli(&["HGETALL", "app||first"]).await?,
        ["data", "raw", "first-write", "0", "version", "1"]
    );
    assert_eq!(redis.cli(&["TTL", "app||first"]).await?, ["-1"]);
    let refused = store.set(&save("app||first", "x")).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "failed to set key app||first: ERR failed to set key app||first"
    );

    // What others wrote, and what is no hash.
    redis
        .cli(&["HSET", "app||other", "data", "\"x\"", "version", "7"])
        .await?;
    assert_eq!(
        read(&*store, "app||other").await,
        Some(("\"x\"".to_owned(), Some("7".to_owned())))
    );
    redis.cli(&["SET", "app||text", "plain"]).await?;
    assert_eq!(read(&*store, "app||text").await, Some(("plain".to_owned(), None)));
    redis.cli(&["HSET", "app||broken", "data", "x"]).await?;
    let error = store
        .get(&GetRequest::new("app||broken"))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "required hash field 'data' or 'version' was not found");
    let keys = ["app||text", "app||none", "app||broken", "app||other"];
    let items = store.bulk_get(&keys.map(GetRequest::new), 0).await.unwrap();
    let outcomes: Vec<_> = items
        .iter()
        .map(|item| item.outcome.as_ref().map(Option::is_some))
        .collect();
    assert!(
        matches!(outcomes[..], [Ok(true), Ok(false), Err(_), Ok(true)]),
        "{outcomes:?}"
    );
    store.set(&save("app||text", "new")).await.unwrap();
    assert_eq!(
        redis.cli(&["HGETALL", "app||text"]).await?,
        ["data", "new", "version", "1"]
    );

    // A transaction marks nothing as written by the first, and undoes nothing.
    let mut tagged = save("app||other", "y");
    tagged.etag = Some("1".to_owned());
    let mut marked = save("app||marked", "1");
    marked.options.concurrency = Concurrency::FirstWrite;
    let transaction = Transaction {
        operations: vec![Operation::Set(marked), Operation::Set(tagged)],
        ..Transaction::default()
    };
    let refused = store
        .transactions()
        .unwrap()
        .transact(&transaction)
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "ERR failed to set key app||other");
    assert_eq!(
        redis.cli(&["HGETALL", "app||marked"]).await?,
        ["data", "1", "version", "1"]
    );
    Ok(())
}

#[tokio::test]
async fn bulk_reads_and_writes_are_one_round_trip() -> anyhow::Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let store = store(&[("redisHost", &redis.address())]).await.unwrap();
    let requests: Vec<_> = (0..100).map(|number| save(&format!("k{number}"), "v")).collect();
    store.bulk_set(&requests).await.unwrap();
    let reads = || async {
        let info = redis.cli(&["INFO", "stats"]).await?;
        let count = info
            .iter()
            .find_map(|line| line.strip_prefix("total_reads_processed:"));
        anyhow::Ok(count.unwrap_or_default().parse::<u64>()?)
    };
    let gets: Vec<_> = requests
        .iter()
        .map(|request| GetRequest::new(&*request.key))
        .collect();
    let before = reads().await?;
    assert_eq!(store.bulk_get(&gets, 10).await.unwrap().len(), 100);
    store.bulk_set(&requests).await.unwrap();
    // Two questions of ours, and what the two of the test need.
    let between = reads().await? - before;
    assert!(between <= 8, "{between} reads");
    // A server that has forgotten the scripts gets them again.
    redis.cli(&["SCRIPT", "FLUSH"]).await?;
    store.bulk_set(&requests).await.unwrap();
    redis.cli(&["SCRIPT", "FLUSH"]).await?;
    store.set(&requests[0]).await.unwrap();
    assert_eq!(read(&*store, "k0").await.unwrap().1.as_deref(), Some("4"));
    Ok(())
}

#[tokio::test]
async fn passwords_users_and_databases_are_used() -> anyhow::Result<()> {
    let Some(redis) = Redis::start_with_password("secret1").await? else {
        return Ok(());
    };
    let host = redis.address();
    let with = |more: &[(&'static str, &'static str)]| {
        let mut settings = vec![("redisHost", host.clone())];
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        async move {
            let settings: Vec<_> = settings
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            store(&settings).await
        }
    };
    let own = with(&[("redisPassword", "secret1"), ("redisDB", "3")])
        .await
        .unwrap();
    own.set(&save("k", "v")).await.unwrap();
    assert_eq!(redis.cli(&["-n", "3", "HGET", "k", "data"]).await?, ["v"]);
    redis
        .cli(&["ACL", "SETUSER", "app", "on", ">secret2", "~k*", "+@all"])
        .await?;
    let acl = with(&[("redisUsername", "app"), ("redisPassword", "secret2")])
        .await
        .unwrap();
    acl.set(&save("k", "v")).await.unwrap();
    let refused = acl.get(&GetRequest::new("x")).await.unwrap_err().to_string();
    assert!(refused.starts_with("NOPERM "), "{refused}");
    let error = with(&[("redisPassword", "wrong")]).await.err().unwrap();
    assert_eq!(
        error,
        format!(
            "redis store: error connecting to redis at {host}: WRONGPASS invalid username-password pair or user is \
             disabled."
        )
    );
    let error = with(&[]).await.err().unwrap();
    assert!(error.ends_with(": NOAUTH Authentication required."), "{error}");
    Ok(())
}

#[tokio::test]
async fn servers_are_reached_in_tls() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let Some(redis) = Redis::start_with_tls(&authority, true).await? else {
        return Ok(());
    };
    let host = format!("localhost:{}", redis.server.port());
    let own = authority.issue_to("client")?;
    let settings = [
        ("redisHost", host.as_str()),
        ("enableTLS", "true"),
        ("clientCert", own.chain.as_str()),
        ("clientKey", own.key.as_str()),
        ("redisMaxRetries", "-1"),
    ];
    let properties = init(settings).properties;
    let settings = Settings::read(&properties, Family::State).unwrap();
    let client = testing::with_roots(&settings, authority.anchors());
    let trusting = RedisStore::start(client, &settings).await.unwrap();
    trusting.set_one(&save("k", "v")).await.unwrap();
    assert_eq!(redis.cli(&["HGET", "k", "data"]).await?, ["v"]);

    let error = make(init(properties.iter())).await.err().unwrap().to_string();
    assert!(
        error.contains("tls: invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
    let any = properties.iter().chain([("insecureSkipTLSVerify", "true")]);
    make(init(any)).await.unwrap();
    let without = [
        ("redisHost", host.as_str()),
        ("enableTLS", "true"),
        ("insecureSkipTLSVerify", "1"),
    ];
    let error = make(init(without)).await.err().unwrap().to_string();
    assert!(
        error.starts_with("redis store: error connecting to redis at localhost:"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn the_store_follows_the_master_of_the_sentinels() -> anyhow::Result<()> {
    let Some(mut servers) = RedisSentinel::start().await? else {
        return Ok(());
    };
    let addresses = servers.addresses();
    let settings = [
        ("redisHost", addresses.as_str()),
        ("failover", "true"),
        ("sentinelMasterName", MASTER_NAME),
    ];
    let sentinel = store(&settings).await.unwrap();
    let mut strong = save("k", "1");
    strong.options.consistency = Consistency::Strong;
    sentinel.set(&strong).await.unwrap();
    assert_eq!(
        servers.replica.cli(&["HGET", "k", "data"]).await?,
        ["1"],
        "the replica has it"
    );
    conformance::state::run(Arc::clone(&sentinel), traits("state.redis, sentinel")).await;

    sentinel.set(&strong).await.unwrap();
    servers.master.server.kill().await?;
    until("the replica to be the master", async || {
        sentinel.set(&save("k", "2")).await.ok()
    })
    .await?;
    assert_eq!(servers.replica.cli(&["HGET", "k", "data"]).await?, ["2"]);
    let unknown = [
        settings[0],
        settings[1],
        ("sentinelMasterName", "other"),
        ("redisMaxRetries", "-1"),
    ];
    let error = store(&unknown).await.err().unwrap();
    assert!(
        error.contains("redis: all sentinels specified in configuration are unreachable: "),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_at_once_and_found_again() -> anyhow::Result<()> {
    let Some(mut redis) = Redis::start_with(&["appendonly yes", "appendfsync always"]).await? else {
        return Ok(());
    };
    let host = redis.address();
    let told = Arc::new(std::sync::Mutex::new(None::<Option<String>>));
    let telling = Arc::clone(&told);
    let mut init = init([("redisHost", host.as_str()), ("redisMaxRetries", "-1")]);
    init.condition = Condition::new(move |reason| *telling.lock().unwrap() = Some(reason.map(str::to_owned)));
    let store = make(init).await.unwrap();
    store.set(&save("k", "1")).await.unwrap();
    redis.server.kill().await?;
    let refused = format!("dial tcp {host}: connect: connection refused");
    until("the component to say so", async || {
        let told = told.lock().unwrap().clone();
        (told == Some(Some(refused.clone()))).then_some(())
    })
    .await?;
    let error = |error: StateError| error.to_string();
    assert_eq!(
        error(store.get(&GetRequest::new("k")).await.unwrap_err()),
        refused
    );
    assert_eq!(
        error(store.set(&save("k", "2")).await.unwrap_err()),
        format!("failed to set key k: {refused}")
    );
    assert_eq!(
        error(store.delete(&DeleteRequest::new("k")).await.unwrap_err()),
        format!("possible etag mismatch. error from state store: {refused}")
    );
    let transaction = Transaction {
        operations: vec![Operation::Set(save("k", "2"))],
        ..Transaction::default()
    };
    assert_eq!(
        error(
            store
                .transactions()
                .unwrap()
                .transact(&transaction)
                .await
                .unwrap_err()
        ),
        refused
    );
    let items = store.bulk_get(&["a", "b"].map(GetRequest::new), 0).await.unwrap();
    for item in items {
        assert_eq!(error(item.outcome.unwrap_err()), refused);
    }
    assert!(store.ping().await.is_err());
    redis.server.restart().await?;
    until("the component to be well", async || {
        let told = told.lock().unwrap().clone();
        (told == Some(None)).then_some(())
    })
    .await?;
    assert_eq!(read(&*store, "k").await.unwrap().0, "1");
    store.close().await.unwrap();
    let closed = store.get(&GetRequest::new("k")).await.unwrap_err().to_string();
    assert_eq!(closed, "redis: client is closed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_the_server_dies() -> anyhow::Result<()> {
    const WRITERS: u64 = 8;
    const KILLS: u64 = 3;
    let Some(mut redis) = Redis::start_with(&["appendonly yes", "appendfsync always"]).await? else {
        return Ok(());
    };
    let host = redis.address();
    let settings = [
        ("redisHost", host.as_str()),
        ("redisMinRetryInterval", "8"),
        ("redisMaxRetryInterval", "64"),
    ];
    let store = store(&settings).await.unwrap();
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let stop = tokio_util::sync::CancellationToken::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, acknowledged, stop) = (Arc::clone(&store), Arc::clone(&acknowledged), stop.clone());
            tokio::spawn(async move {
                let (mut number, mut failed) = (0_u64, 0_u64);
                while !stop.is_cancelled() {
                    number += 1;
                    // Half of them write two keys at once, which must never differ.
                    let value = number.to_string();
                    let keys = [format!("w{writer}||a"), format!("w{writer}||b")];
                    let done = if writer % 2 == 0 {
                        store.set(&save(&keys[0], &value)).await.is_ok()
                    } else {
                        let operations = keys.iter().map(|key| Operation::Set(save(key, &value))).collect();
                        let transaction = Transaction {
                            operations,
                            ..Transaction::default()
                        };
                        store.transactions().unwrap().transact(&transaction).await.is_ok()
                    };
                    match done {
                        true => {
                            acknowledged[usize::try_from(writer).unwrap()].store(number, Ordering::SeqCst)
                        }
                        false => failed += 1,
                    }
                }
                failed
            })
        })
        .collect();
    for _ in 0..KILLS {
        let before: Vec<_> = acknowledged
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .collect();
        until("every writer to write", async || {
            let now = acknowledged.iter().map(|count| count.load(Ordering::SeqCst));
            now.zip(&before)
                .all(|(now, before)| now > before + 3)
                .then_some(())
        })
        .await?;
        redis.server.kill().await?;
        redis.server.restart().await?;
    }
    stop.cancel();
    for writer in writers {
        writer.await?;
    }
    for writer in 0..WRITERS {
        let own = acknowledged[usize::try_from(writer)?].load(Ordering::SeqCst);
        let (first, _) = read(&*store, &format!("w{writer}||a")).await.unwrap();
        // The last one may have been done without anybody being told.
        assert!(
            first.parse::<u64>()? >= own,
            "writer {writer}: {first} is there, {own} was acknowledged"
        );
        if writer % 2 == 1 {
            let (second, _) = read(&*store, &format!("w{writer}||b")).await.unwrap();
            assert_eq!(first, second, "a transaction of writer {writer} is half done");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_stands_still_is_not_waited_for_longer_than_the_timeout() -> anyhow::Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let host = redis.address();
    let store = store(&[("redisHost", host.as_str()), ("readTimeout", "300")])
        .await
        .unwrap();
    redis
        .server
        .process()
        .signal(outrigger_test_kit::Signal::Pause)
        .await?;
    let begun = tokio::time::Instant::now();
    let error = store.get(&GetRequest::new("k")).await.unwrap_err().to_string();
    assert_eq!(error, format!("read tcp {host}: i/o timeout"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    redis
        .server
        .process()
        .signal(outrigger_test_kit::Signal::Continue)
        .await?;
    until("an answer", async || store.get(&GetRequest::new("k")).await.ok()).await?;
    Ok(())
}

const JSON: &[(&str, &str)] = &[("contentType", "application/json")];

/// The store on a fake of the modules; the scripts run in a real server.
#[tokio::test]
async fn documents_are_kept_and_found_on_a_fake() -> anyhow::Result<()> {
    let Some(fake) = RedisDocuments::start().await? else {
        return Ok(());
    };
    let text = |key: &str| format!(r#"{{"key":"person.{key}","type":"TEXT"}}"#);
    let fields = [
        text("run"),
        text("name"),
        text("city"),
        r#"{"key":"person.age","type":"NUMERIC"}"#.to_owned(),
    ];
    let indexes = format!(r#"[{{"name":"people","indexes":[{}]}}]"#, fields.join(","));
    let host = fake.address();
    let settings = [("redisHost", host.as_str()), ("queryIndexes", indexes.as_str())];
    // The second one finds the index of the first and makes it anew.
    store(&settings).await.unwrap();
    let store = store(&settings).await.unwrap();
    let rules = traits("state.redis, documents");
    let queries = QueryTraits {
        item_metadata: JSON,
        metadata: &[("queryIndexName", "people")],
        ..rules.queries.clone()
    };
    let features = &["ETAG", "TRANSACTIONAL", "TTL", "QUERY_API", "KEYS_LIKE"];
    let rules = Traits {
        features,
        queries,
        ..rules
    };
    conformance::state::run(Arc::clone(&store), rules).await;

    let metadata: Metadata = JSON
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let of = |value: serde_json::Value| SetRequest {
        metadata: metadata.clone(),
        ..SetRequest::new("doc", value)
    };
    let read = || async {
        let request = GetRequest {
            metadata: metadata.clone(),
            ..GetRequest::new("doc")
        };
        let item = store.get(&request).await.unwrap()?;
        Some((String::from_utf8(item.data?.to_vec()).unwrap(), item.etag?))
    };
    store.set(&of(serde_json::json!({"b": 1}))).await.unwrap();
    assert_eq!(
        fake.redis.cli(&["GET", "doc"]).await?,
        [r#"{"data":{"b":1},"version":1}"#]
    );
    let tagged = |etag: &str| SetRequest {
        etag: Some(etag.to_owned()),
        ..of(serde_json::json!([2]))
    };
    let refused = store.set(&tagged("7")).await.unwrap_err();
    assert!(refused.is_about_etag(), "{refused}");
    store.set(&tagged("1")).await.unwrap();
    assert_eq!(read().await, Some(("[2]".to_owned(), "2".to_owned())));
    let mut first = of(serde_json::json!("x"));
    first.options.concurrency = Concurrency::FirstWrite;
    store.set(&first).await.unwrap();
    assert_eq!(
        fake.redis.cli(&["GET", "doc"]).await?,
        [r#"{"data":"x","first-write":0,"version":3}"#]
    );
    assert!(
        store.set(&of(serde_json::json!("y"))).await.is_err(),
        "it belongs to first writers"
    );
    let transaction = Transaction {
        operations: vec![Operation::Set(SetRequest {
            etag: Some("3".to_owned()),
            ..SetRequest::new("doc", Bytes::from_static(br#"{"z": null}"#))
        })],
        metadata: metadata.clone(),
    };
    store
        .transactions()
        .unwrap()
        .transact(&transaction)
        .await
        .unwrap();
    assert_eq!(read().await, Some((r#"{"z":null}"#.to_owned(), "4".to_owned())));
    let delete = DeleteRequest {
        etag: Some("3".to_owned()),
        metadata: metadata.clone(),
        ..DeleteRequest::new("doc")
    };
    assert!(store.delete(&delete).await.unwrap_err().is_about_etag());
    let delete = DeleteRequest { etag: None, ..delete };
    store.delete(&delete).await.unwrap();
    assert_eq!(read().await, None);

    let error = |metadata: &Metadata| {
        let metadata = metadata.clone();
        let store = Arc::clone(&store);
        async move {
            let query = store.queries().unwrap().query(&Query::default(), &metadata).await;
            query.unwrap_err().to_string()
        }
    };
    assert_eq!(error(&Metadata::new()).await, "query index not found");
    let unknown = Metadata::from([("queryIndexName".to_owned(), "x".to_owned())]);
    assert_eq!(error(&unknown).await, "query index schema \"x\" not found");
    Ok(())
}
