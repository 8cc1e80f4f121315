//! Expired rows are deleted now and then, by one of all the sidecars.
//!
//! Source: specification, state stores, common expiry sweep.

use std::time::Duration;

use outrigger_component::sql::Sweep;
use outrigger_svc::{BoxError, BoxFuture};

use super::migrations::Tables;
use crate::database::{Connector, DatabaseError};

/// Deletes expired rows, each time by a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Cleanup {
    /// Opens the connection.
    pub(crate) connector: Connector,
    /// What is cleaned.
    pub(crate) tables: Tables,
}

// === impl Cleanup ===

impl Cleanup {
    async fn run(&self, age: Duration) -> Result<Option<u64>, DatabaseError> {
        let client = self.connector.connect().await?;
        let (metadata, state) = (self.tables.metadata.as_str(), self.tables.state.as_str());
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let claim = format!(
            "INSERT INTO {metadata} AS m (key, value) VALUES ($1, CURRENT_TIMESTAMP::text) \
             ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP::text \
             WHERE (EXTRACT(EPOCH FROM CURRENT_TIMESTAMP - m.value::timestamp with time zone) * 1000)::bigint > $2"
        );
        let claimed = client.execute(&claim, &[&self.tables.cleanup_key, &age]).await?;
        if claimed == 0 {
            return Ok(None);
        }
        let expiry = self.tables.layout.expiry();
        let delete =
            format!("DELETE FROM {state} WHERE {expiry} IS NOT NULL AND {expiry} < CURRENT_TIMESTAMP");
        Ok(Some(client.execute(&delete, &[]).await?))
    }
}

impl Sweep for Cleanup {
    fn sweep(&self, age: Duration) -> BoxFuture<'_, Result<Option<u64>, BoxError>> {
        Box::pin(async move { Ok(self.run(age).await?) })
    }
}
