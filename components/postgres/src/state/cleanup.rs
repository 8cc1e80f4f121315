//! Expired rows are deleted now and then, by one of all the sidecars.
//!
//! Source: specification, state stores, common expiry sweep.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::migrations::Tables;
use crate::SCOPE;
use crate::database::{Connector, DatabaseError};

/// Deletes expired rows; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cleanup {
    /// Opens a connection for each run.
    pub(crate) connector: Connector,
    /// What is cleaned.
    pub(crate) tables: Tables,
    /// Time between two runs.
    pub(crate) interval: Duration,
}

/// Longest time of a run.
const LIMIT: Duration = Duration::from_secs(600);

/// How much earlier than an interval after the last another run may come.
const TOLERANCE: Duration = Duration::from_millis(100);

// === impl Cleanup ===

impl Cleanup {
    /// Runs after each interval until the token is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let runs = async {
            loop {
                sleep(self.interval).await;
                match timeout(LIMIT, self.run_once()).await {
                    Ok(Ok(Some(count))) => tracing::info!(target: SCOPE, "Removed {count} expired rows"),
                    Ok(Ok(None)) => tracing::debug!(target: SCOPE, "Last cleanup was performed recently"),
                    Ok(Err(error)) => tracing::error!(target: SCOPE, "Error removing expired data: {error}"),
                    Err(_) => {
                        tracing::error!(target: SCOPE, "Error removing expired data: context deadline exceeded");
                    }
                }
            }
        };
        stop.run_until_cancelled(runs).await;
    }

    /// Deletes what has expired, and says how many that were; none if another has done it within the interval.
    pub(crate) async fn run_once(&self) -> Result<Option<u64>, DatabaseError> {
        let client = self.connector.connect().await?;
        let (metadata, state) = (self.tables.metadata.as_str(), self.tables.state.as_str());
        let since = self.interval.saturating_sub(TOLERANCE);
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let claim = format!(
            "INSERT INTO {metadata} AS m (key, value) VALUES ($1, CURRENT_TIMESTAMP::text) \
             ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP::text \
             WHERE (EXTRACT(EPOCH FROM CURRENT_TIMESTAMP - m.value::timestamp with time zone) * 1000)::bigint > $2"
        );
        let claimed = client
            .execute(&claim, &[&self.tables.cleanup_key, &since])
            .await?;
        if claimed == 0 {
            return Ok(None);
        }
        let expiry = self.tables.layout.expiry();
        let delete =
            format!("DELETE FROM {state} WHERE {expiry} IS NOT NULL AND {expiry} < CURRENT_TIMESTAMP");
        Ok(Some(client.execute(&delete, &[]).await?))
    }
}
