//! The store is away: callers are told, nothing piles up, and it is found again.

use outrigger_test_kit::servers::{Postgres, Redis};
use outrigger_test_kit::{Daprd, HttpRequest, Result, isolated, until};
use serde_json::json;
use tokio::task::JoinSet;

use super::sidecar;

const STATE: &str = "/v1.0/state/store";
/// Callers at once while the store is away, and the bytes that each wants to save.
const CROWD: usize = 300;
const SIZE: usize = 32 << 10;
/// What the sidecar may take for all of them: their bytes, a few times over.
const MOST_MEMORY: u64 = 96 << 20;

/// A call that fails, as the error's code and the part of its text that is the sidecar's.
async fn refused(daprd: &Daprd, method: &str, path: &str, body: &str, code: &str, text: &str) -> Result<()> {
    let request = HttpRequest::new(method, path).body(body.to_owned());
    let reply = daprd.send(&request).await?;
    let error = reply.json()?;
    assert_eq!(
        (reply.status, error["errorCode"].as_str()),
        (500, Some(code)),
        "{error}"
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(text), "{message}");
    Ok(())
}

async fn all_are_refused(daprd: &Daprd) -> Result<()> {
    let save = r#"[{"key":"a","value":1}]"#;
    let operations = r#"{"operations":[{"operation":"upsert","request":{"key":"a","value":1}}]}"#;
    let get = "fail to get a from state store store: ";
    refused(daprd, "GET", &format!("{STATE}/a"), "", "ERR_STATE_GET", get).await?;
    let saving = "failed saving state in state store store: ";
    refused(daprd, "POST", STATE, save, "ERR_STATE_SAVE", saving).await?;
    let transaction = "error while executing state transaction: ";
    let path = format!("{STATE}/transaction");
    refused(
        daprd,
        "POST",
        &path,
        operations,
        "ERR_STATE_TRANSACTION",
        transaction,
    )
    .await
}

/// Many callers at once: all are answered, and the memory that they take is bounded.
async fn a_crowd_is_refused(daprd: &Daprd) -> Result<()> {
    let body = json!([{"key": "big", "value": "x".repeat(SIZE)}]).to_string();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let request = HttpRequest::new("POST", daprd.url(STATE)).body(body.clone());
        crowd.spawn(async move { outrigger_test_kit::http::send(&request).await });
    }
    for reply in crowd.join_all().await {
        assert_eq!(reply?.status, 500);
    }
    let memory = daprd.process.memory()?;
    assert!(memory.anonymous < MOST_MEMORY, "{memory:?}");
    Ok(())
}

/// The same process works again as soon as the store does.
async fn found_again(daprd: &Daprd) -> Result<()> {
    until("the store to be found again", async || {
        let reply = daprd.post(STATE, r#"[{"key":"a","value":2}]"#).await.ok()?;
        (reply.status == 204).then_some(())
    })
    .await?;
    assert_eq!(daprd.get(&format!("{STATE}/a")).await?.text(), "2");
    Ok(())
}

#[test]
fn redis_is_away_and_comes_back() {
    isolated!(async {
        let Some(mut redis) = Redis::start().await? else {
            return Ok(());
        };
        let address = redis.server.address();
        let daprd = sidecar("state.redis", "v1", &[("redisHost", &address)]).await?;
        redis.server.kill().await?;
        all_are_refused(&daprd).await?;
        a_crowd_is_refused(&daprd).await?;
        redis.server.restart().await?;
        found_again(&daprd).await
    });
}

#[test]
fn postgresql_is_away_and_comes_back() {
    isolated!(async {
        let Some(mut postgres) = Postgres::start().await? else {
            return Ok(());
        };
        let connection = postgres.connection_string();
        let settings = [("connectionString", connection.as_str()), ("timeout", "5s")];
        let daprd = sidecar("state.postgresql", "v2", &settings).await?;
        postgres.server.kill().await?;
        all_are_refused(&daprd).await?;
        a_crowd_is_refused(&daprd).await?;
        postgres.restart().await?;
        found_again(&daprd).await
    });
}
