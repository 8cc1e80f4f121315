//! Nothing that was acknowledged is lost, whoever dies.
//!
//! Writers work through a sidecar while it and its store are killed at random moments. In the end every acknowledged
//! write is there, transactions are whole, and of two writes that named one tag at most one was accepted.
//!
//! **Variables.** `DURABLE_SEED`: the seed that a failed run has printed. `DURABLE_SECONDS`: how long each test works,
//! 8 s unless told.

mod gone;
mod killed;
mod writer;

use std::time::Duration;

use outrigger_test_kit::{Daprd, Result};

/// How long writers work.
fn work_time() -> Duration {
    let seconds = std::env::var("DURABLE_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(8))
}

/// The seed of everything that happens by chance, printed.
fn seed() -> u64 {
    let given = std::env::var("DURABLE_SEED").ok();
    let seed = given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("DURABLE_SEED={seed}");
    seed
}

/// A sidecar with the store `store`.
async fn sidecar(kind: &str, version: &str, settings: &[(&str, &str)]) -> Result<Daprd> {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{{name: {name}, value: {}}}", serde_json::Value::from(*value)))
        .collect();
    let resource = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: store}}\nspec:\n  type: {kind}\n  version: \
         {version}\n  initTimeout: 20s\n  metadata: [{}]\n",
        settings.join(", ")
    );
    Daprd::builder("app")?
        .resource("store.yaml", &resource)?
        .start()
        .await
}
