//! Who writes, what was acknowledged, and whether it is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use outrigger_test_kit::http::HttpConnection;
use outrigger_test_kit::{Daprd, HttpReply, HttpRequest, Result};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// One writer with keys of its own, and one key that all write.
pub(super) struct Writer {
    number: usize,
    port: u16,
    random: fastrand::Rng,
    connection: Option<HttpConnection>,
    ledger: Ledger,
    acknowledged: Arc<AtomicU64>,
}

/// What one writer knows.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The last value of a key that was acknowledged, and the last that was sent.
    values: BTreeMap<String, Sent>,
    /// The same for pairs of keys that are written together.
    pairs: BTreeMap<String, Sent>,
    /// The values of the shared key that this writer was allowed to replace.
    replaced: Vec<u64>,
    /// Replacements whose outcome is not known.
    unknown: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    acknowledged: u64,
    last: u64,
}

const STATE: &str = "/v1.0/state/store";
const SHARED: &str = "shared";
/// Keys of each kind that a writer has.
const KEYS: usize = 8;
/// Between two tries while nobody answers.
const PAUSE: Duration = Duration::from_millis(10);
/// The most that one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

// === impl Writer ===

impl Writer {
    /// A writer that counts what is acknowledged to it.
    pub(super) fn new(number: usize, daprd: &Daprd, seed: u64) -> (Self, Arc<AtomicU64>) {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let writer = Self {
            number,
            port: daprd.http_port,
            random: fastrand::Rng::with_seed(seed),
            connection: None,
            ledger: Ledger::default(),
            acknowledged: Arc::clone(&acknowledged),
        };
        (writer, acknowledged)
    }

    /// Writes until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<Ledger> {
        while !stop.is_cancelled() {
            let key = format!("{}-{}", self.number, self.random.usize(..KEYS));
            match self.random.u8(..3) {
                0 => self.save(key).await?,
                1 => self.transact(key).await?,
                _ => self.replace().await?,
            }
        }
        Ok(self.ledger)
    }

    async fn save(&mut self, key: String) -> Result<()> {
        let sent = self.ledger.values.entry(key.clone()).or_default();
        sent.last += 1;
        let value = sent.last;
        let body = json!([{"key": format!("value-{key}"), "value": value}]);
        if self.acknowledges(STATE, &body).await? {
            self.ledger.values.entry(key).or_default().acknowledged = value;
        }
        Ok(())
    }

    async fn transact(&mut self, key: String) -> Result<()> {
        let sent = self.ledger.pairs.entry(key.clone()).or_default();
        sent.last += 1;
        let value = sent.last;
        let half = |side| json!({"operation": "upsert", "request": {"key": format!("{side}-{key}"), "value": value}});
        let body = json!({"operations": [half("left"), half("right")]});
        if self.acknowledges(&format!("{STATE}/transaction"), &body).await? {
            self.ledger.pairs.entry(key).or_default().acknowledged = value;
        }
        Ok(())
    }

    /// Adds one to the shared value, if nobody else does meanwhile.
    async fn replace(&mut self) -> Result<()> {
        let read = self
            .send(&HttpRequest::new("GET", format!("{STATE}/{SHARED}")))
            .await;
        let Some(read) = read.filter(|reply| reply.status == 200) else {
            return Ok(());
        };
        let value: u64 = read.text().parse().context("the shared value")?;
        let etag = read.header("etag").context("a tag")?;
        let options = json!({"concurrency": "first-write"});
        let body = json!([{"key": SHARED, "value": value + 1, "etag": etag, "options": options}]);
        match self.post(STATE, &body).await.map(|reply| reply.status) {
            Some(204) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.ledger.replaced.push(value);
            }
            // Some stores cannot tell a lost connection from a tag that does not match.
            _ => self.ledger.unknown += 1,
        }
        Ok(())
    }

    async fn acknowledges(&mut self, path: &str, body: &serde_json::Value) -> Result<bool> {
        let Some(reply) = self.post(path, body).await else {
            return Ok(false);
        };
        ensure!(
            [204, 500].contains(&reply.status),
            "status {}: {}",
            reply.status,
            reply.text()
        );
        if reply.status == 204 {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(reply.status == 204)
    }

    async fn post(&mut self, path: &str, body: &serde_json::Value) -> Option<HttpReply> {
        let request = HttpRequest::new("POST", path).header("Content-Type", "application/json");
        self.send(&request.body(body.to_string())).await
    }

    /// The answer; none if nobody knows what has become of the request.
    async fn send(&mut self, request: &HttpRequest) -> Option<HttpReply> {
        let exchange = async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => HttpConnection::open(self.port).await.ok()?,
            };
            let reply = connection.send(request).await.ok()?;
            Some((connection, reply))
        };
        match tokio::time::timeout(PATIENCE, exchange).await.ok().flatten() {
            Some((connection, reply)) => {
                self.connection = Some(connection);
                Some(reply)
            }
            None => {
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }
}

/// Writes the value that all writers share for the first time.
pub(super) async fn prepare(daprd: &Daprd) -> Result<()> {
    let body = json!([{"key": SHARED, "value": 0}]).to_string();
    let reply = daprd.post(STATE, body).await?;
    ensure!(reply.status == 204, "status {}: {}", reply.status, reply.text());
    Ok(())
}

/// Compares what was acknowledged with what is there.
pub(super) async fn verify(daprd: &Daprd, ledgers: &[Ledger]) -> Result<()> {
    for ledger in ledgers {
        for (key, sent) in &ledger.values {
            sent.holds(&key, read(daprd, &format!("value-{key}")).await?)?;
        }
        for (key, sent) in &ledger.pairs {
            let left = read(daprd, &format!("left-{key}")).await?;
            let right = read(daprd, &format!("right-{key}")).await?;
            ensure!(left == right, "half a transaction: {key} is {left} and {right}");
            sent.holds(&key, left)?;
        }
    }
    let mut replaced: Vec<_> = ledgers.iter().flat_map(|ledger| &ledger.replaced).collect();
    let accepted = replaced.len();
    replaced.sort_unstable();
    replaced.dedup();
    ensure!(replaced.len() == accepted, "two writers have replaced one value");
    let shared = read(daprd, SHARED).await?;
    let unknown: u64 = ledgers.iter().map(|ledger| ledger.unknown).sum();
    let least = u64::try_from(accepted)?;
    ensure!(
        (least..=least + unknown).contains(&shared),
        "the shared value is {shared} after {accepted} accepted and {unknown} unknown replacements"
    );
    ensure!(accepted > 0, "nothing was accepted");
    println!("{accepted} replacements accepted, {unknown} unknown");
    Ok(())
}

async fn read(daprd: &Daprd, key: &str) -> Result<u64> {
    let reply = daprd.get(&format!("{STATE}/{key}")).await?;
    match reply.status {
        200 => reply.text().parse().context("a value"),
        204 => Ok(0),
        status => anyhow::bail!("{key}: status {status}: {}", reply.text()),
    }
}

// === impl Sent ===

impl Sent {
    fn holds(self, key: &impl std::fmt::Display, found: u64) -> Result<()> {
        ensure!(
            (self.acknowledged..=self.last).contains(&found),
            "{key} is {found}, acknowledged was {}, sent {}",
            self.acknowledged,
            self.last
        );
        Ok(())
    }
}
