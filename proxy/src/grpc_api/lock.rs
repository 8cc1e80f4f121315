//! Locks over gRPC.

use outrigger_api::runtime as api;
use tonic::Response;

use super::Backend;
use super::dapr::{Answer, DaprApi};
use crate::lock::LockRequest;

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(super) async fn try_lock(&self, request: api::TryLockRequest) -> Answer<api::TryLockResponse> {
        let seconds = request.expiry_in_seconds;
        let request = LockRequest {
            store: request.store_name,
            resource: request.resource_id,
            owner: request.lock_owner,
        };
        let success = self
            .backend
            .building_blocks()
            .locks
            .try_lock(&request, seconds)
            .await;
        let success = success.or_else(|error| self.fail(&error))?;
        Ok(Response::new(api::TryLockResponse { success }))
    }

    pub(super) async fn unlock(&self, request: api::UnlockRequest) -> Answer<api::UnlockResponse> {
        let request = LockRequest {
            store: request.store_name,
            resource: request.resource_id,
            owner: request.lock_owner,
        };
        let unlocked = self.backend.building_blocks().locks.unlock(&request).await;
        let status = unlocked.or_else(|error| self.fail(&error))?.code();
        Ok(Response::new(api::UnlockResponse { status }))
    }
}
