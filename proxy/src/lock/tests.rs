use outrigger_api::runtime as api;
use outrigger_resilience::{ComponentKind, Policies};
use outrigger_telemetry::metrics::Metrics;

use super::*;
use crate::blocks::BuildingBlocks;
use crate::components::testing::OneLock;
use crate::http_api::testing::Api;

fn api(stores: &[(&str, &Arc<OneLock>)]) -> Api {
    let table = Table::default();
    for (name, store) in stores {
        let loaded = LoadedLockStore {
            component: Arc::clone(store) as Arc<dyn LockStore>,
            prefix: LockPrefix::new(None, name, "app1").unwrap(),
        };
        table.insert(name, &Arc::new(loaded));
    }
    let calls = Calls::new(
        ComponentKind::Lock,
        None,
        Policies::default(),
        Metrics::disabled(),
    );
    let mut api = Api::new(None);
    api.building_blocks = BuildingBlocks {
        locks: Locks::new(table, calls),
        ..BuildingBlocks::default()
    };
    api
}

fn failure(code: &str, message: &str) -> String {
    format!(r#"{{"errorCode":"{code}","message":"{message}"}}"#)
}

#[tokio::test]
async fn locks_are_taken_and_given_back_over_http() {
    let store = Arc::<OneLock>::default();
    let api = api(&[("s", &store)]);
    let table = [
        (
            "unlock",
            r#"{"resourceId":"r","lockOwner":"a"}"#,
            r#"{"status":1}"#,
        ),
        (
            "lock",
            r#"{"resourceId":"r","lockOwner":"a","expiryInSeconds":3}"#,
            r#"{"success":true}"#,
        ),
        (
            "lock",
            r#"{"resource_id":"r","lock_owner":"b","expiry_in_seconds":"4","other":[1],"storeName":"x"}"#,
            r#"{"success":false}"#,
        ),
        (
            "unlock",
            r#"{"resource_id":"r","lock_owner":"b"}"#,
            r#"{"status":2}"#,
        ),
        (
            "unlock",
            r#"{"resourceId":"r","lockOwner":"a"}"#,
            r#"{"status":0}"#,
        ),
        (
            "lock",
            r#"{"resourceId":"r","lockOwner":"b","expiryInSeconds":5.0}"#,
            r#"{"success":true}"#,
        ),
    ];
    for (verb, body, expected) in table {
        let answer = api
            .call("POST", &format!("/v1.0-alpha1/{verb}/s"), &[], body)
            .await;
        assert_eq!(answer.short(), (200, expected), "{verb} {body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let asked = ["lock||app1||r a 3", "lock||app1||r b 4", "lock||app1||r b 5"];
    assert_eq!(*store.asked.lock().unwrap(), asked);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_order_of_the_checks() {
    let store = Arc::<OneLock>::default();
    let malformed = |text: &str| failure("ERR_MALFORMED_REQUEST", text);
    let unread = |text: &str| malformed(&format!("failed deserializing HTTP body: proto: {text}"));
    let none = failure("ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured");
    let separator = "input key/keyPrefix 'a||b' can't contain '||'";
    let full = r#"{"resourceId":"r","lockOwner":"a","expiryInSeconds":1}"#;
    let table = [
        (
            0,
            "lock/s",
            "{}",
            400,
            malformed("ExpiryInSeconds is not positive in lock store s"),
        ),
        (
            0,
            "lock/s",
            r#"{"expiryInSeconds":-1}"#,
            400,
            malformed("ExpiryInSeconds is not positive in lock store s"),
        ),
        (0, "lock/s", r#"{"expiryInSeconds":1}"#, 500, none.clone()),
        (0, "unlock/s", "{}", 500, none.clone()),
        (0, "unlock/s", "", 500, none),
        (
            1,
            "lock/x",
            r#"{"expiryInSeconds":1}"#,
            400,
            malformed("ResourceId is empty in lock store x"),
        ),
        (
            1,
            "unlock/x",
            "",
            400,
            malformed("ResourceId is empty in lock store x"),
        ),
        (
            1,
            "lock/x",
            r#"{"resourceId":"r","lockOwner":"","expiryInSeconds":1}"#,
            400,
            malformed("LockOwner is empty in lock store x"),
        ),
        (
            1,
            "unlock/x",
            r#"{"resourceId":"r"}"#,
            400,
            malformed("LockOwner is empty in lock store x"),
        ),
        (
            1,
            "lock/x",
            full,
            400,
            failure("ERR_LOCK_STORE_NOT_FOUND", "lock store x not found"),
        ),
        (
            1,
            "unlock/x",
            full,
            400,
            failure("ERR_LOCK_STORE_NOT_FOUND", "lock store x not found"),
        ),
        (
            1,
            "lock/s",
            r#"{"resourceId":"broken","lockOwner":"a","expiryInSeconds":1}"#,
            500,
            failure("ERR_TRY_LOCK", "failed to try acquiring lock: connection reset"),
        ),
        (
            1,
            "unlock/s",
            r#"{"resourceId":"broken","lockOwner":"a"}"#,
            500,
            failure("ERR_UNLOCK", "failed to release lock: connection reset"),
        ),
        (
            1,
            "lock/s",
            r#"{"resourceId":"a||b","lockOwner":"a","expiryInSeconds":1}"#,
            500,
            failure(
                "ERR_TRY_LOCK",
                &format!("failed to try acquiring lock: {separator}"),
            ),
        ),
        (
            1,
            "unlock/s",
            r#"{"resourceId":"a||b","lockOwner":"a"}"#,
            500,
            failure("ERR_UNLOCK", &format!("failed to release lock: {separator}")),
        ),
        (
            1,
            "lock/s",
            r#"{"resourceId":5}"#,
            400,
            unread("invalid value for string field resourceId: 5"),
        ),
        (
            1,
            "lock/s",
            r#"{"expiryInSeconds":1.5}"#,
            400,
            unread("invalid value for int32 field expiryInSeconds: 1.5"),
        ),
        (
            1,
            "lock/s",
            r#"{"expiryInSeconds":2147483648}"#,
            400,
            unread("invalid value for int32 field expiryInSeconds: 2147483648"),
        ),
    ];
    for (stores, path, body, status, expected) in table {
        let api = api(&[("s", &store)][..stores]);
        let answer = api.call("POST", &format!("/v1.0-alpha1/{path}"), &[], body).await;
        assert_eq!(answer.short(), (status, expected.as_str()), "{path} {body}");
    }
}

#[test]
fn outcomes_have_the_numbers_of_the_contract() {
    use api::unlock_response::Status;
    let table = [
        (Unlocked::Success, Status::Success),
        (Unlocked::DoesNotExist, Status::LockDoesNotExist),
        (Unlocked::BelongsToOthers, Status::LockBelongsToOthers),
    ];
    for (outcome, status) in table {
        assert_eq!(outcome.code(), status as i32);
    }
}
