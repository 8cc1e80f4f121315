//! Configuration over HTTP.
//!
//! Source: specification, HTTP API 5.5.

use outrigger_error::Error;
use outrigger_svc::Response;
use serde_json::json as value;

use super::Blocks;
use crate::configuration::shown;
use crate::http_api::query;
use crate::http_api::reply::{json, no_content};

/// The parameter that names keys, once for each.
const KEY: &str = "key";

// === impl Blocks ===

impl Blocks {
    pub(super) async fn configuration(&self, store: &str, query: Option<&str>) -> Result<Response, Error> {
        let (keys, metadata) = (query::all(query, KEY), query::metadata(query));
        let configurations = &self.building_blocks.configurations;
        let items = configurations
            .get(store, &keys, &metadata.into_iter().collect())
            .await?;
        Ok(if items.is_empty() {
            no_content()
        } else {
            json(&shown(&items))
        })
    }

    pub(super) async fn subscribe_configuration(
        &self,
        store: &str,
        query: Option<&str>,
    ) -> Result<Response, Error> {
        let (keys, metadata) = (query::all(query, KEY), query::metadata(query));
        let configurations = &self.building_blocks.configurations;
        let id = configurations
            .subscribe_app(store, &keys, &metadata.into_iter().collect())
            .await?;
        Ok(json(&value!({ "id": id })))
    }

    pub(super) async fn unsubscribe_configuration(&self, store: &str, id: &str) -> Result<Response, Error> {
        self.building_blocks.configurations.unsubscribe(store, id).await?;
        Ok(json(&value!({ "ok": true })))
    }
}
