//! Secret stores in other processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use outrigger_api::components as wire;
use outrigger_api::components::secret_store_client::SecretStoreClient;
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use tonic::{Response, Status};

use crate::MAX_MESSAGE;
use crate::channel::{Channel, Greet};
use crate::link::origin;
use crate::message;
use crate::refusal::RpcError;

/// A secret store behind a socket. Its calls run to their end, whether or not their caller waits.
#[derive(Debug)]
pub(crate) struct PluggableSecrets {
    channel: Channel,
    client: SecretStoreClient<Channel>,
    features: Vec<Feature>,
}

// === impl PluggableSecrets ===

impl PluggableSecrets {
    /// Connects, has the store made from its settings, and asks what it can do.
    pub(crate) async fn open(socket: Arc<Path>, init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
        let settings = message::settings(&init);
        let greet: Arc<Greet> = Arc::new(move |link| {
            let metadata = Some(settings.clone());
            Box::pin(async move {
                let mut client = SecretStoreClient::with_origin(link, origin());
                let request = wire::SecretStoreInitRequest { metadata };
                client.init(request).await.map(drop)
            })
        });
        let channel = Channel::open(&socket, &init, greet).await?;
        let client = SecretStoreClient::with_origin(channel.clone(), origin());
        let answer = client.clone().features(wire::FeaturesRequest {}).await;
        let features = answer.map_err(RpcError::from)?.into_inner().features;
        Ok(Arc::new(Self {
            channel,
            client: client.max_decoding_message_size(MAX_MESSAGE),
            features: features.into_iter().map(Feature::from).collect(),
        }))
    }
}

impl SecretStore for PluggableSecrets {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        let mut client = self.client.clone();
        let request = wire::GetSecretRequest {
            key: name.to_owned(),
            metadata: metadata.clone(),
        };
        Box::pin(async move {
            let data = detached(async move { client.get(request).await }).await?.data;
            Ok((!data.is_empty()).then(|| data.into_iter().collect()))
        })
    }

    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        let mut client = self.client.clone();
        let request = wire::BulkGetSecretRequest {
            metadata: metadata.clone(),
        };
        Box::pin(async move {
            let data = detached(async move { client.bulk_get(request).await })
                .await?
                .data;
            let secrets = data.into_iter();
            Ok(secrets
                .map(|(name, secret)| (name, secret.secrets.into_iter().collect()))
                .collect())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.channel.close();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The answer of a call that is not given up when nobody waits for it any more.
async fn detached<T: Send + 'static>(
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<T, BoxError> {
    let answer = tokio::spawn(call).await?;
    Ok(answer.map_err(RpcError::from)?.into_inner())
}
