//! Locks as apps meet them: real sidecars, a real Redis.

use std::time::Duration;

use http::HeaderMap;
use outrigger_api::runtime as api;
use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::{Daprd, DaprdBuilder, Result, isolated, until_within};

use super::state::component;

/// A sidecar with the lock store `lock` on this server.
fn sidecar(app_id: &str, redis: &Redis, settings: &[(&str, &str)]) -> Result<DaprdBuilder> {
    let address = redis.address();
    let settings = [&[("redisHost", address.as_str())], settings].concat();
    Daprd::builder(app_id)?.resource("lock.yaml", &component("lock", "lock.redis", &settings))
}

async fn post(daprd: &Daprd, verb: &str, body: &str) -> Result<(u16, String)> {
    let reply = daprd
        .post(&format!("/v1.0-alpha1/{verb}"), body.to_owned())
        .await?;
    Ok((reply.status, reply.text()))
}

#[test]
fn a_lock_has_one_owner_at_a_time() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let daprd = sidecar("a", &redis, &[])?.start().await?;
        let table = [
            (
                "unlock/lock",
                r#"{"resourceId":"r","lockOwner":"x"}"#,
                r#"{"status":1}"#,
            ),
            (
                "lock/lock",
                r#"{"resourceId":"r","lockOwner":"x","expiryInSeconds":60}"#,
                r#"{"success":true}"#,
            ),
            (
                "lock/lock",
                r#"{"resource_id":"r","lock_owner":"y","expiry_in_seconds":60}"#,
                r#"{"success":false}"#,
            ),
            (
                "unlock/lock",
                r#"{"resourceId":"r","lockOwner":"y"}"#,
                r#"{"status":2}"#,
            ),
        ];
        for (path, body, expected) in table {
            assert_eq!(
                post(&daprd, path, body).await?,
                (200, expected.to_owned()),
                "{path} {body}"
            );
        }
        assert_eq!(redis.cli(&["GET", "lock||a||r"]).await?, ["x"]);
        let left: i64 = redis.cli(&["TTL", "lock||a||r"]).await?.concat().parse()?;
        assert!((55..=60).contains(&left), "{left}");
        let freed = post(&daprd, "unlock/lock", r#"{"resourceId":"r","lockOwner":"x"}"#).await?;
        assert_eq!(freed, (200, r#"{"status":0}"#.to_owned()));

        let short = r#"{"resourceId":"r","lockOwner":"x","expiryInSeconds":1}"#;
        assert_eq!(post(&daprd, "lock/lock", short).await?.1, r#"{"success":true}"#);
        until_within(Duration::from_secs(10), "the lock to expire", async || {
            (post(&daprd, "lock/lock", short).await.ok()?.1 == r#"{"success":true}"#).then_some(())
        })
        .await?;

        let client = daprd.grpc().await?;
        let request = api::TryLockRequest {
            store_name: "lock".to_owned(),
            resource_id: "g".to_owned(),
            lock_owner: "x".to_owned(),
            expiry_in_seconds: 60,
        };
        let path = |method: &str| format!("/dapr.proto.runtime.v1.Dapr/{method}Alpha1");
        let taken: api::TryLockResponse = client.unary(&path("TryLock"), HeaderMap::new(), &request).await?;
        assert!(taken.success);
        let request = api::UnlockRequest {
            store_name: "lock".to_owned(),
            resource_id: "g".to_owned(),
            lock_owner: "y".to_owned(),
        };
        let given: api::UnlockResponse = client.unary(&path("Unlock"), HeaderMap::new(), &request).await?;
        assert_eq!(given.status, 2);
        Ok(())
    });
}

#[test]
fn apps_share_a_lock_if_their_prefix_is_the_same() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let shared = [("keyPrefix", "Team")];
        let a = sidecar("a", &redis, &shared)?.start().await?;
        let b = sidecar("b", &redis, &shared)?.start().await?;
        let body = r#"{"resourceId":"r","lockOwner":"x","expiryInSeconds":60}"#;
        assert_eq!(post(&a, "lock/lock", body).await?.1, r#"{"success":true}"#);
        assert_eq!(post(&b, "lock/lock", body).await?.1, r#"{"success":false}"#);
        assert_eq!(redis.cli(&["KEYS", "*"]).await?, ["lock||team||r"]);
        let bad = r#"{"resourceId":"a||b","lockOwner":"x","expiryInSeconds":60}"#;
        let expected = r#"{"errorCode":"ERR_TRY_LOCK","message":"failed to try acquiring lock: input key/keyPrefix 'a||b' can't contain '||'"}"#;
        assert_eq!(post(&a, "lock/lock", bad).await?, (500, expected.to_owned()));
        Ok(())
    });
}
