//! Building blocks with components, as clients of gRPC see them.

use outrigger_component::configuration::ConfigurationStore;
use outrigger_component::lock::LockStore;
use outrigger_component::secrets::SecretStore;
use outrigger_config::configuration::{Configuration, SecretScope};
use outrigger_resilience::Policies;

use super::*;
use crate::components::Stores;
use crate::components::testing::{Echo, OneLock, Values};
use crate::lock::{LoadedLockStore, LockPrefix};

/// A sidecar with one store of each kind, all of the name `s`.
fn fake(values: &Arc<Values>) -> Fake {
    let stores = Stores::default();
    stores
        .secrets
        .insert("s", &(Arc::new(Echo) as Arc<dyn SecretStore>));
    stores
        .configuration
        .insert("s", &(Arc::clone(values) as Arc<dyn ConfigurationStore>));
    let lock = LoadedLockStore {
        component: Arc::new(OneLock::default()) as Arc<dyn LockStore>,
        prefix: LockPrefix::new(None, "s", "app").unwrap(),
    };
    stores.locks.insert("s", &Arc::new(lock));
    let scope = SecretScope {
        denied: vec!["b".to_owned()],
        ..SecretScope::default()
    };
    let configuration = Configuration {
        secret_scopes: [("s".to_owned(), scope)].into(),
        ..Configuration::default()
    };
    let blocks = BuildingBlocks::new(
        &"app".into(),
        &stores,
        &configuration,
        None,
        &Policies::default(),
        &Metrics::disabled(),
    );
    Fake::with(None, blocks)
}

#[tokio::test]
async fn secrets_are_read() {
    let mut dapr = dapr(plain(&fake(&Values::new(&[]))));
    let get = |store: &str, key: &str| api::GetSecretRequest {
        store_name: store.to_owned(),
        key: key.to_owned(),
        metadata: HashMap::from([("version_id".to_owned(), "7".to_owned())]),
    };
    let secret = dapr.get_secret(get("s", "a")).await.unwrap().into_inner();
    assert_eq!(
        (secret.data["a"].as_str(), secret.data["version"].as_str()),
        ("<v>", "7")
    );
    let nothing = dapr.get_secret(get("s", "nothing")).await.unwrap().into_inner();
    assert!(nothing.data.is_empty());
    let table = [
        (
            "x",
            "a",
            Code::InvalidArgument,
            "failed finding secret store with key x",
        ),
        (
            "s",
            "b",
            Code::PermissionDenied,
            r#"access denied by policy to get "b" from "s""#,
        ),
        (
            "s",
            "broken",
            Code::Internal,
            "failed getting secret with key broken from secret store s: the store is <down>",
        ),
    ];
    for (store, key, code, message) in table {
        let status = dapr.get_secret(get(store, key)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
        assert!(status.details().is_empty());
    }

    let mut bulk = api::GetBulkSecretRequest {
        store_name: "s".to_owned(),
        metadata: HashMap::new(),
    };
    let secrets = dapr
        .get_bulk_secret(bulk.clone())
        .await
        .unwrap()
        .into_inner()
        .data;
    let mut names: Vec<_> = secrets.keys().collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(secrets["a"].secrets["a"], "v");
    bulk.metadata.insert("fail".to_owned(), String::new());
    let status = dapr.get_bulk_secret(bulk).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::Internal,
            "failed getting secrets from secret store s: no list"
        )
    );
}

#[tokio::test]
async fn locks_are_taken_and_given_back() {
    let mut dapr = dapr(plain(&fake(&Values::new(&[]))));
    let lock = |resource: &str, owner: &str, seconds| api::TryLockRequest {
        store_name: "s".to_owned(),
        resource_id: resource.to_owned(),
        lock_owner: owner.to_owned(),
        expiry_in_seconds: seconds,
    };
    let unlock = |resource: &str, owner: &str| api::UnlockRequest {
        store_name: "s".to_owned(),
        resource_id: resource.to_owned(),
        lock_owner: owner.to_owned(),
    };
    let taken = dapr
        .try_lock_alpha1(lock("r", "a", 5))
        .await
        .unwrap()
        .into_inner();
    assert!(taken.success);
    let taken = dapr
        .try_lock_alpha1(lock("r", "b", 5))
        .await
        .unwrap()
        .into_inner();
    assert!(!taken.success);
    for (owner, expected) in [("b", 2), ("a", 0), ("a", 1)] {
        let answer = dapr.unlock_alpha1(unlock("r", owner)).await.unwrap().into_inner();
        assert_eq!(answer.status, expected);
    }
    let table = [
        (
            lock("r", "a", 0),
            Code::InvalidArgument,
            "ExpiryInSeconds is not positive in lock store s",
        ),
        (
            lock("", "a", 1),
            Code::InvalidArgument,
            "ResourceId is empty in lock store s",
        ),
        (
            lock("r", "", 1),
            Code::InvalidArgument,
            "LockOwner is empty in lock store s",
        ),
        (
            lock("broken", "a", 1),
            Code::Internal,
            "failed to try acquiring lock: connection reset",
        ),
    ];
    for (request, code, message) in table {
        let status = dapr.try_lock_alpha1(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
    let status = dapr.unlock_alpha1(unlock("broken", "a")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "failed to release lock: connection reset")
    );
}

#[tokio::test]
async fn configuration_is_read_and_followed() {
    let values = Values::new(&[("a", "1"), ("b", "2")]);
    let mut dapr = dapr(plain(&fake(&values)));
    let get = |store: &str, keys: &[&str]| api::GetConfigurationRequest {
        store_name: store.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        metadata: HashMap::new(),
    };
    for items in [
        dapr.get_configuration(get("s", &["a"]))
            .await
            .unwrap()
            .into_inner()
            .items,
        dapr.get_configuration_alpha1(get("s", &["a"]))
            .await
            .unwrap()
            .into_inner()
            .items,
    ] {
        assert_eq!(
            (
                items.len(),
                items["a"].value.as_str(),
                items["a"].version.as_str()
            ),
            (1, "1", "1")
        );
    }
    let table = [
        (
            get("x", &[]),
            Code::InvalidArgument,
            "ERR_CONFIGURATION_STORE_NOT_FOUND",
            "configuration store x not found",
        ),
        (
            get("s", &["a", "broken"]),
            Code::Internal,
            "ERR_CONFIGURATION_GET",
            "failed to get [a broken] from Configuration store s: connection reset",
        ),
    ];
    for (request, code, reason, message) in table {
        let status = dapr.get_configuration(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
        assert_eq!(
            (info(&status).reason.as_str(), info(&status).domain.as_str()),
            (reason, "dapr.io")
        );
    }

    let subscribe = |keys: &[&str]| api::SubscribeConfigurationRequest {
        store_name: "s".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        metadata: HashMap::new(),
    };
    let refused = dapr
        .subscribe_configuration(subscribe(&["x", "broken"]))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::InvalidArgument,
            "failed to subscribe [broken x] from Configuration store s: connection reset"
        )
    );
    let mut stream = dapr
        .subscribe_configuration(subscribe(&["b", "a"]))
        .await
        .unwrap()
        .into_inner();
    values.change("b", "3").await;
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.items.len()), ("s1", 0));
    let news = stream.message().await.unwrap().unwrap();
    assert_eq!((news.id.as_str(), news.items["b"].value.as_str()), ("s1", "3"));
    assert_eq!(values.subscribed(), [["a", "b"]]);

    let end = api::UnsubscribeConfigurationRequest {
        store_name: "s".to_owned(),
        id: "s1".to_owned(),
    };
    let ended = dapr
        .unsubscribe_configuration(end.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((ended.ok, ended.message.as_str()), (true, ""));
    assert_eq!(stream.message().await.unwrap(), None);
    let ended = dapr
        .unsubscribe_configuration_alpha1(end)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (ended.ok, ended.message.as_str()),
        (
            false,
            "failed to unsubscribe to configuration request s1: subscription does not exist"
        )
    );

    let stream = dapr
        .subscribe_configuration_alpha1(subscribe(&[]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(values.subscribed().len(), 1);
    drop(stream);
    values.nobody_is_subscribed().await;
}
