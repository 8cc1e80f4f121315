//! Secrets over gRPC.

use outrigger_api::runtime as api;
use outrigger_component::secrets::Secret;
use tonic::Response;

use super::Backend;
use super::dapr::{Answer, DaprApi};

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(super) async fn secret(&self, request: api::GetSecretRequest) -> Answer<api::GetSecretResponse> {
        let secrets = &self.backend.building_blocks().secrets;
        let secret = secrets
            .get(&request.store_name, &request.key, &request.metadata)
            .await;
        let secret = secret.or_else(|error| self.fail(&error))?;
        Ok(Response::new(api::GetSecretResponse {
            data: secret.map(values).unwrap_or_default(),
        }))
    }

    pub(super) async fn bulk_secrets(
        &self,
        request: api::GetBulkSecretRequest,
    ) -> Answer<api::GetBulkSecretResponse> {
        let secrets = &self.backend.building_blocks().secrets;
        let all = secrets.bulk(&request.store_name, &request.metadata).await;
        let all = all.or_else(|error| self.fail(&error))?.into_iter();
        let all = all.map(|(name, secret)| {
            let secrets = values(secret);
            (name, api::SecretResponse { secrets })
        });
        Ok(Response::new(api::GetBulkSecretResponse { data: all.collect() }))
    }
}

fn values<C: FromIterator<(String, String)>>(secret: Secret) -> C {
    secret.into_inner().into_iter().collect()
}
