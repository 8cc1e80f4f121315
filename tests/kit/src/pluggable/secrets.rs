//! The component as a secret store.

use outrigger_api::components::secret_store_server::SecretStore;
use outrigger_api::components::{
    BulkGetSecretRequest, BulkGetSecretResponse, FeaturesRequest, FeaturesResponse, GetSecretRequest,
    GetSecretResponse, PingRequest, PingResponse, SecretResponse, SecretStoreInitRequest,
    SecretStoreInitResponse,
};
use tonic::{Request, Response, Status};

use super::Books;

#[tonic::async_trait]
impl SecretStore for Books {
    async fn init(
        &self,
        request: Request<SecretStoreInitRequest>,
    ) -> Result<Response<SecretStoreInitResponse>, Status> {
        self.receive("SecretStore/Init", request)?;
        Ok(Response::new(SecretStoreInitResponse {}))
    }

    async fn features(
        &self,
        request: Request<FeaturesRequest>,
    ) -> Result<Response<FeaturesResponse>, Status> {
        self.receive("SecretStore/Features", request)?;
        let features = vec!["MULTIPLE_KEY_VALUES_PER_SECRET".to_owned()];
        Ok(Response::new(FeaturesResponse { features }))
    }

    async fn get(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let (_, request) = self.receive("SecretStore/Get", request)?;
        let secret = self.lock().secrets.get(&request.key).cloned();
        let data = secret.ok_or_else(|| Status::not_found(format!("no secret {}", request.key)))?;
        Ok(Response::new(GetSecretResponse { data }))
    }

    async fn bulk_get(
        &self,
        request: Request<BulkGetSecretRequest>,
    ) -> Result<Response<BulkGetSecretResponse>, Status> {
        self.receive("SecretStore/BulkGet", request)?;
        let secrets = self.lock().secrets.clone();
        let data = secrets
            .into_iter()
            .map(|(name, secrets)| (name, SecretResponse { secrets }));
        Ok(Response::new(BulkGetSecretResponse { data: data.collect() }))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.receive("SecretStore/Ping", request)?;
        Ok(Response::new(PingResponse {}))
    }
}
