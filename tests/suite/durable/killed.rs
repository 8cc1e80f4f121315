//! Sidecar and store are killed while writers work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger_test_kit::servers::{Postgres, Redis};
use outrigger_test_kit::{Daprd, Directory, Result, isolated, until};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::writer::{Writer, prepare, verify};
use super::{seed, sidecar, work_time};

/// Writers at work at once.
const WRITERS: usize = 4;
/// The longest that writers work in peace, and that a victim stays dead.
const PEACE: Duration = Duration::from_millis(600);
const DEATH: Duration = Duration::from_millis(300);

/// A store that can be killed and started again.
trait Mortal {
    async fn kill(&mut self) -> Result<()>;
    async fn revive(&mut self) -> Result<()>;
}

/// A store without a process.
struct Immortal;

impl Mortal for Immortal {
    async fn kill(&mut self) -> Result<()> {
        Ok(())
    }

    async fn revive(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Mortal for Redis {
    async fn kill(&mut self) -> Result<()> {
        self.server.kill().await
    }

    async fn revive(&mut self) -> Result<()> {
        self.server.restart().await
    }
}

impl Mortal for Postgres {
    async fn kill(&mut self) -> Result<()> {
        self.server.kill().await
    }

    async fn revive(&mut self) -> Result<()> {
        self.restart().await
    }
}

/// Kills by chance, one or the other or both, until the time is over.
async fn disturb(
    daprd: &mut Daprd,
    store: &mut impl Mortal,
    random: &mut fastrand::Rng,
    counters: &[Arc<AtomicU64>],
) -> Result<()> {
    let end = Instant::now() + work_time();
    let mut moments = fastrand::Rng::with_seed(random.u64(..));
    let mut moment = |longest: Duration| longest.mul_f64(moments.f64());
    while Instant::now() < end {
        // These pauses are the point of the test: what happens happens in the midst of work.
        tokio::time::sleep(moment(PEACE)).await;
        let (sidecar_dies, store_dies) = match random.u8(..3) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        if store_dies {
            store.kill().await?;
        }
        if sidecar_dies {
            daprd.kill().await?;
        }
        tokio::time::sleep(moment(DEATH)).await;
        if store_dies {
            store.revive().await?;
        }
        if sidecar_dies {
            daprd.restart()?;
            daprd.ready().await?;
        }
        // The sidecar that has survived finds its store again by itself.
        let before: Vec<_> = counters
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .collect();
        until("all writers to be acknowledged to again", async || {
            let now = counters.iter().map(|counter| counter.load(Ordering::Relaxed));
            now.zip(&before).all(|(now, before)| now > *before).then_some(())
        })
        .await
        .map_err(|error| error.context(daprd.process.tail()))?;
    }
    Ok(())
}

async fn nothing_is_lost(mut daprd: Daprd, mut store: impl Mortal) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed());
    prepare(&daprd).await?;
    let stop = CancellationToken::new();
    let (mut writers, mut counters) = (JoinSet::new(), Vec::new());
    for number in 0..WRITERS {
        let (writer, counter) = Writer::new(number, &daprd, random.u64(..));
        writers.spawn(writer.run(stop.clone()));
        counters.push(counter);
    }
    let disturbed = disturb(&mut daprd, &mut store, &mut random, &counters).await;
    stop.cancel();
    let ledgers: Result<Vec<_>> = writers.join_all().await.into_iter().collect();
    disturbed?;
    verify(&daprd, &ledgers?).await
}

#[test]
fn nothing_is_lost_in_redis() {
    isolated!(async {
        let durable = ["appendonly yes", "appendfsync always"];
        let Some(redis) = Redis::start_with(&durable).await? else {
            return Ok(());
        };
        let settings = [("redisHost", redis.server.address())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        nothing_is_lost(sidecar("state.redis", "v1", &settings).await?, redis).await
    });
}

#[test]
fn nothing_is_lost_in_postgresql() {
    isolated!(async {
        let Some(postgres) = Postgres::start().await? else {
            return Ok(());
        };
        let connection = postgres.connection_string();
        let settings = [("connectionString", connection.as_str())];
        nothing_is_lost(sidecar("state.postgresql", "v2", &settings).await?, postgres).await
    });
}

#[test]
fn nothing_is_lost_in_sqlite() {
    isolated!(async {
        let folder = Directory::new()?;
        let file = folder.path().join("state.db").display().to_string();
        let settings = [("connectionString", file.as_str())];
        nothing_is_lost(sidecar("state.sqlite", "v1", &settings).await?, Immortal).await
    });
}
