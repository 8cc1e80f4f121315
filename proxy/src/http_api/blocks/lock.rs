//! Locks over HTTP: protojson bodies.
//!
//! Source: specification, HTTP API 5.6.

use outrigger_error::Error;
use outrigger_svc::{Request, Response};
use serde_json::{Map, Value};

use super::Blocks;
use super::body::{integer, protojson, text};
use crate::http_api::reply;
use crate::lock::LockRequest;

// === impl Blocks ===

impl Blocks {
    pub(super) async fn try_lock(&self, store: String, request: Request) -> Result<Response, Error> {
        let body = protojson(request).await?;
        let seconds = integer(&body, &["expiryInSeconds", "expiry_in_seconds"])?;
        let request = lock_request(store, &body)?;
        let success = self.building_blocks.locks.try_lock(&request, seconds).await?;
        Ok(reply::protojson(format!(r#"{{"success":{success}}}"#)))
    }

    pub(super) async fn unlock(&self, store: String, request: Request) -> Result<Response, Error> {
        let body = protojson(request).await?;
        let request = lock_request(store, &body)?;
        let unlocked = self.building_blocks.locks.unlock(&request).await?;
        Ok(reply::protojson(format!(r#"{{"status":{}}}"#, unlocked.code())))
    }
}

fn lock_request(store: String, body: &Map<String, Value>) -> Result<LockRequest, Error> {
    Ok(LockRequest {
        store,
        resource: text(body, &["resourceId", "resource_id"])?,
        owner: text(body, &["lockOwner", "lock_owner"])?,
    })
}
