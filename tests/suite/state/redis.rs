//! A sidecar with Redis: bytes that other sidecars read, a server that goes and comes, two sidecars on one key.

use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::{Daprd, DaprdBuilder, HttpRequest, Result, isolated, until};

use super::{component, read, save, send};

/// A sidecar with the store `redis`, whose retries are quick.
fn with_redis(app_id: &str, redis: &Redis) -> Result<DaprdBuilder> {
    let address = redis.address();
    let settings = [
        ("redisHost", address.as_str()),
        ("redisMinRetryInterval", "8"),
        ("redisMaxRetryInterval", "16"),
    ];
    Daprd::builder(app_id)?.resource("redis.yaml", &component("redis", "state.redis", &settings))
}

#[test]
fn values_are_the_hashes_of_other_sidecars() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let daprd = with_redis("shop", &redis)?.start().await?;
        save(&daprd, "redis", r#"[{"key":"order","value":{"b":"<","a":1.0}}]"#).await?;
        assert_eq!(
            redis.cli(&["HGETALL", "shop||order"]).await?,
            ["data", r#"{"a":1,"b":"\u003c"}"#, "version", "1"]
        );
        redis
            .cli(&["HSET", "shop||theirs", "data", "\"x\"", "version", "41"])
            .await?;
        let reply = daprd.get("/v1.0/state/redis/theirs").await?;
        assert_eq!(
            (reply.text().as_str(), reply.headers.get("etag")),
            ("\"x\"", Some("41"))
        );

        for (etag, status, text) in [
            ("41", 204, ""),
            (
                "41",
                409,
                r#"{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store redis: possible etag mismatch. error from state store: ERR failed to set key shop||theirs""#,
            ),
            (
                "x",
                400,
                r#"{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store redis: invalid etag value: strconv.Atoi: parsing \"x\": invalid syntax""#,
            ),
        ] {
            let items = format!(r#"[{{"key":"theirs","value":1,"etag":"{etag}"}}]"#);
            let reply = daprd.post("/v1.0/state/redis", items).await?;
            assert_eq!(reply.status, status, "{}", reply.text());
            assert!(reply.text().starts_with(text), "{}", reply.text());
        }
        let metadata = daprd.get("/v1.0/metadata").await?.text();
        let capabilities = r#""capabilities":["ETAG","TRANSACTIONAL","TTL","KEYS_LIKE","ACTOR"]"#;
        assert!(metadata.contains(capabilities), "{metadata}");
        let query = daprd.post("/v1.0-alpha1/state/redis/query", "{}").await?;
        let text =
            "state store redis query failed: redis-json server support is required for query capability";
        assert!(query.text().contains(text), "{}", query.text());
        assert_eq!(query.status, 500);
        Ok(())
    });
}

#[test]
fn a_server_that_is_gone_is_an_error_until_it_is_back() {
    isolated!(async {
        let Some(mut redis) = Redis::start_with(&["appendonly yes", "appendfsync always"]).await? else {
            return Ok(());
        };
        let daprd = with_redis("shop", &redis)?.start().await?;
        save(&daprd, "redis", r#"[{"key":"order","value":1}]"#).await?;
        redis.server.kill().await?;
        let address = redis.address();
        let refused = format!("dial tcp {address}: connect: connection refused");
        let expected = format!(
            r#"{{"errorCode":"ERR_STATE_GET","message":"fail to get order from state store redis: {refused}""#
        );
        until("the error", async || {
            let reply = daprd.get("/v1.0/state/redis/order").await.ok()?;
            (reply.status == 500 && reply.text().starts_with(&expected)).then_some(())
        })
        .await?;
        let reply = daprd
            .post("/v1.0/state/redis", r#"[{"key":"order","value":2}]"#)
            .await?;
        let expected =
            format!("failed saving state in state store redis: failed to set key shop||order: {refused}");
        assert!(reply.text().contains(&expected), "{}", reply.text());
        until("the state of the component", async || {
            let metadata = daprd.get("/v1.0/metadata").await.ok()?.text();
            metadata.contains("degraded").then_some(())
        })
        .await?;
        redis.server.restart().await?;
        until("the value", async || {
            (read(&daprd, "redis", "order").await.ok()? == (200, "1".to_owned())).then_some(())
        })
        .await?;
        until("the state of the component", async || {
            let metadata = daprd.get("/v1.0/metadata").await.ok()?.text();
            (!metadata.contains("degraded")).then_some(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_store_that_cannot_be_reached_stops_the_start_with_its_address() {
    isolated!(async {
        let settings = [("redisHost", "127.0.0.1:1"), ("redisMaxRetries", "-1")];
        let daprd =
            Daprd::builder("shop")?.resource("redis.yaml", &component("redis", "state.redis", &settings))?;
        let mut daprd = daprd.spawn()?;
        let text = "redis store: error connecting to redis at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused";
        daprd.process.wait_for_line(text).await?;
        assert!(!daprd.process.exit().await?.success());
        Ok(())
    });
}

#[test]
fn locks_and_configuration_of_redis_are_served() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let address = redis.address();
        let host = [("redisHost", address.as_str())];
        let daprd = Daprd::builder("shop")?
            .resource("lock.yaml", &component("locks", "lock.redis", &host))?
            .resource("config.yaml", &component("config", "configuration.redis", &host))?
            .start()
            .await?;
        let lock = |owner: &str| {
            let body = format!(r#"{{"resourceId":"r","lockOwner":"{owner}","expiryInSeconds":60}}"#);
            daprd.post("/v1.0-alpha1/lock/locks", body)
        };
        assert_eq!(lock("a").await?.text().trim(), r#"{"success":true}"#);
        assert_eq!(lock("b").await?.text().trim(), r#"{"success":false}"#);
        assert_eq!(redis.cli(&["GET", "lock||shop||r"]).await?, ["a"]);
        for (owner, status) in [("b", 2), ("a", 0), ("a", 1)] {
            let body = format!(r#"{{"resourceId":"r","lockOwner":"{owner}"}}"#);
            let reply = daprd.post("/v1.0-alpha1/unlock/locks", body).await?;
            assert_eq!(
                reply.text().trim(),
                format!(r#"{{"status":{status}}}"#),
                "{owner}"
            );
        }
        redis.cli(&["SET", "colour", "red||3"]).await?;
        let reply = send(&daprd, "GET", "/v1.0/configuration/config?key=colour").await?;
        assert_eq!(reply.text().trim(), r#"{"colour":{"value":"red","version":"3"}}"#);
        let none = daprd
            .send(&HttpRequest::new("GET", "/v1.0/configuration/config?key=none"))
            .await?;
        assert_eq!(none.status, 204);
        Ok(())
    });
}
