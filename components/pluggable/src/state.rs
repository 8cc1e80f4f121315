//! State stores in other processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_api::components as wire;
use outrigger_api::components::queriable_state_store_client::QueriableStateStoreClient;
use outrigger_api::components::state_store_client::StateStoreClient;
use outrigger_api::components::transactional_state_store_client::TransactionalStateStoreClient;
use outrigger_api::components::transactional_store_multi_max_size_client::TransactionalStoreMultiMaxSizeClient;
use outrigger_component::state::{
    BulkError, BulkItem, DeleteRequest, GetRequest, Item, Metadata, Queries, Query, QueryAnswer, SetRequest,
    StateError, StateStore, Transaction, Transactions,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::sync::OnceCell;
use tonic::Status;

use crate::channel::{Channel, Greet};
use crate::link::origin;
use crate::message;
use crate::refusal::{RpcError, bulk_delete_error, state_error};
use crate::{MAX_MESSAGE, SCOPE};

/// A state store behind a socket.
#[derive(Debug)]
pub(crate) struct PluggableState {
    channel: Channel,
    store: StateStoreClient<Channel>,
    transactions: TransactionalStateStoreClient<Channel>,
    queries: QueriableStateStoreClient<Channel>,
    sizes: TransactionalStoreMultiMaxSizeClient<Channel>,
    features: Vec<Feature>,
    /// What the store said, once it has been asked and has answered.
    max_operations: OnceCell<Option<usize>>,
}

/// How long a store has to say how many operations a transaction may have.
const MAX_OPERATIONS_PATIENCE: Duration = Duration::from_secs(5);

// === impl PluggableState ===

impl PluggableState {
    /// Connects, has the store made from its settings, and asks what it can do.
    pub(crate) async fn open(socket: Arc<Path>, init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
        let settings = message::settings(&init);
        let greet: Arc<Greet> = Arc::new(move |link| {
            let metadata = Some(settings.clone());
            Box::pin(async move {
                let mut client = StateStoreClient::with_origin(link, origin());
                client.init(wire::InitRequest { metadata }).await.map(drop)
            })
        });
        let channel = Channel::open(&socket, &init, greet).await?;
        let store = StateStoreClient::with_origin(channel.clone(), origin());
        let answer = store.clone().features(wire::FeaturesRequest {}).await;
        let features = answer.map_err(RpcError::from)?.into_inner().features;
        let queries = QueriableStateStoreClient::with_origin(channel.clone(), origin());
        Ok(Arc::new(Self {
            store: store.max_decoding_message_size(MAX_MESSAGE),
            transactions: TransactionalStateStoreClient::with_origin(channel.clone(), origin()),
            queries: queries.max_decoding_message_size(MAX_MESSAGE),
            sizes: TransactionalStoreMultiMaxSizeClient::with_origin(channel.clone(), origin()),
            channel,
            features: features.into_iter().map(Feature::from).collect(),
            max_operations: OnceCell::new(),
        }))
    }

    async fn ask_max_operations(&self) -> Result<Option<usize>, Status> {
        let mut client = self.sizes.clone();
        let answer = client.multi_max_size(wire::MultiMaxSizeRequest {});
        let answer = tokio::time::timeout(MAX_OPERATIONS_PATIENCE, answer)
            .await
            .map_err(|_| Status::deadline_exceeded("context deadline exceeded"))??;
        let max = answer.into_inner().max_size;
        Ok(usize::try_from(max).ok().filter(|max| *max > 0))
    }
}

impl StateStore for PluggableState {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(async move {
            let answer = self.store.clone().get(message::get(request)).await;
            let answer = answer.map_err(state_error)?.into_inner();
            Ok(message::item(answer))
        })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            let request = message::set(request)?;
            let answer = self.store.clone().set(request).await;
            answer.map(drop).map_err(state_error)
        })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            let answer = self.store.clone().delete(message::delete(request)).await;
            answer.map(drop).map_err(state_error)
        })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        parallelism: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(async move {
            let request = wire::BulkGetRequest {
                items: requests.iter().map(message::get).collect(),
                options: Some(wire::BulkGetRequestOptions {
                    parallelism: i64::try_from(parallelism).unwrap_or(i64::MAX),
                }),
            };
            let answer = self.store.clone().bulk_get(request).await;
            let items = answer.map_err(state_error)?.into_inner().items;
            Ok(items.into_iter().map(message::bulk_item).collect())
        })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        Box::pin(async move {
            let items = requests.iter().map(message::set);
            let items = items.collect::<Result<_, _>>().map_err(BulkError::Whole)?;
            let options = Some(wire::BulkSetRequestOptions { parallelism: 0 });
            let request = wire::BulkSetRequest { items, options };
            let answer = self.store.clone().bulk_set(request).await;
            answer
                .map(drop)
                .map_err(|status| BulkError::Whole(state_error(status)))
        })
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        Box::pin(async move {
            let items = requests.iter().map(message::delete).collect();
            let options = Some(wire::BulkDeleteRequestOptions { parallelism: 0 });
            let request = wire::BulkDeleteRequest { items, options };
            let answer = self.store.clone().bulk_delete(request).await;
            answer.map(drop).map_err(bulk_delete_error)
        })
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        self.features.contains(&Feature::TRANSACTIONAL).then_some(self)
    }

    fn queries(&self) -> Option<&dyn Queries> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let answer = self.store.clone().ping(wire::PingRequest {}).await;
            Ok(answer.map(drop).map_err(RpcError::from)?)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.channel.close();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Transactions for PluggableState {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            let request = message::transaction(transaction)?;
            let answer = self.transactions.clone().transact(request).await;
            answer.map(drop).map_err(state_error)
        })
    }

    fn max_operations(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(async move {
            let asked = self.max_operations.get_or_try_init(|| self.ask_max_operations());
            match asked.await {
                Ok(max) => *max,
                Err(status) => {
                    let error = RpcError::from(status);
                    tracing::error!(target: SCOPE, "failed to get multi max size from state store: {error}");
                    None
                }
            }
        })
    }
}

impl Queries for PluggableState {
    fn query<'a>(
        &'a self,
        query: &'a Query,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>> {
        Box::pin(async move {
            let request = message::query(query, metadata);
            let answer = self.queries.clone().query(request).await;
            let answer = answer.map_err(state_error)?.into_inner();
            Ok(message::query_answer(answer))
        })
    }
}
