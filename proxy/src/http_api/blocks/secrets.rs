//! Secrets over HTTP.
//!
//! Source: specification, HTTP API 5.2.

use std::collections::BTreeMap;

use outrigger_error::Error;
use outrigger_svc::Response;

use super::Blocks;
use crate::http_api::query;
use crate::http_api::reply::{json, no_content};

// === impl Blocks ===

impl Blocks {
    pub(super) async fn secret(
        &self,
        store: &str,
        key: &str,
        query: Option<&str>,
    ) -> Result<Response, Error> {
        let metadata = query::metadata(query).into_iter().collect();
        let secret = self.building_blocks.secrets.get(store, key, &metadata).await?;
        Ok(secret.map_or_else(no_content, |secret| json(&secret.into_inner())))
    }

    pub(super) async fn bulk_secrets(&self, store: &str, query: Option<&str>) -> Result<Response, Error> {
        let metadata = query::metadata(query).into_iter().collect();
        let secrets = self.building_blocks.secrets.bulk(store, &metadata).await?;
        let secrets = secrets
            .into_iter()
            .map(|(name, secret)| (name, secret.into_inner()));
        Ok(json(&secrets.collect::<BTreeMap<_, _>>()))
    }
}
