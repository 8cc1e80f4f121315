//! The component as a state store.

use std::collections::BTreeMap;

use outrigger_api::components::queriable_state_store_server::QueriableStateStore;
use outrigger_api::components::state_options::StateConcurrency;
use outrigger_api::components::state_store_server::StateStore;
use outrigger_api::components::transactional_state_operation::Request as Operation;
use outrigger_api::components::transactional_state_store_server::TransactionalStateStore;
use outrigger_api::components::transactional_store_multi_max_size_server::TransactionalStoreMultiMaxSize;
use outrigger_api::components::{
    BulkDeleteRequest, BulkDeleteResponse, BulkGetRequest, BulkGetResponse, BulkSetRequest, BulkSetResponse,
    BulkStateItem, DeleteRequest, DeleteResponse, Etag, FeaturesRequest, FeaturesResponse, GetRequest,
    GetResponse, InitRequest, InitResponse, MultiMaxSizeRequest, MultiMaxSizeResponse, PingRequest,
    PingResponse, QueryRequest, QueryResponse, SetRequest, SetResponse, TransactionalStateRequest,
    TransactionalStateResponse,
};
use tonic::{Request, Response, Status};

use super::{Books, Ledger, Refusal, Stored};

const FAILED_PRECONDITION: i32 = 9;
const FIRST_WRITE: i32 = StateConcurrency::ConcurrencyFirstWrite as i32;

type Values = BTreeMap<String, Stored>;

#[tonic::async_trait]
impl StateStore for Books {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        self.receive("StateStore/Init", request)?;
        Ok(Response::new(InitResponse {}))
    }

    async fn features(
        &self,
        request: Request<FeaturesRequest>,
    ) -> Result<Response<FeaturesResponse>, Status> {
        self.receive("StateStore/Features", request)?;
        let features = self.lock().features.clone();
        Ok(Response::new(FeaturesResponse { features }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let (instance, request) = self.receive("StateStore/Get", request)?;
        Ok(Response::new(self.lock().get(&instance, &request.key)))
    }

    async fn set(&self, request: Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        let (instance, request) = self.receive("StateStore/Set", request)?;
        self.lock().change(&instance, [Operation::Set(request)])?;
        Ok(Response::new(SetResponse {}))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let (instance, request) = self.receive("StateStore/Delete", request)?;
        self.lock().change(&instance, [Operation::Delete(request)])?;
        Ok(Response::new(DeleteResponse {}))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.receive("StateStore/Ping", request)?;
        Ok(Response::new(PingResponse {}))
    }

    async fn bulk_get(&self, request: Request<BulkGetRequest>) -> Result<Response<BulkGetResponse>, Status> {
        let (instance, request) = self.receive("StateStore/BulkGet", request)?;
        let books = self.lock();
        let items = request.items.iter().map(|item| {
            let found = books.get(&instance, &item.key);
            BulkStateItem {
                key: item.key.clone(),
                data: found.data,
                etag: found.etag,
                content_type: found.content_type,
                ..BulkStateItem::default()
            }
        });
        Ok(Response::new(BulkGetResponse {
            items: items.collect(),
        }))
    }

    async fn bulk_set(&self, request: Request<BulkSetRequest>) -> Result<Response<BulkSetResponse>, Status> {
        let (instance, request) = self.receive("StateStore/BulkSet", request)?;
        self.lock()
            .change(&instance, request.items.into_iter().map(Operation::Set))?;
        Ok(Response::new(BulkSetResponse {}))
    }

    async fn bulk_delete(
        &self,
        request: Request<BulkDeleteRequest>,
    ) -> Result<Response<BulkDeleteResponse>, Status> {
        let (instance, request) = self.receive("StateStore/BulkDelete", request)?;
        self.lock()
            .change(&instance, request.items.into_iter().map(Operation::Delete))?;
        Ok(Response::new(BulkDeleteResponse {}))
    }
}

#[tonic::async_trait]
impl TransactionalStateStore for Books {
    async fn transact(
        &self,
        request: Request<TransactionalStateRequest>,
    ) -> Result<Response<TransactionalStateResponse>, Status> {
        let (instance, request) = self.receive("TransactionalStateStore/Transact", request)?;
        let operations = request
            .operations
            .into_iter()
            .filter_map(|operation| operation.request);
        self.lock().change(&instance, operations)?;
        Ok(Response::new(TransactionalStateResponse {}))
    }
}

#[tonic::async_trait]
impl QueriableStateStore for Books {
    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        self.receive("QueriableStateStore/Query", request)?;
        Ok(Response::new(self.lock().found.clone()))
    }
}

#[tonic::async_trait]
impl TransactionalStoreMultiMaxSize for Books {
    async fn multi_max_size(
        &self,
        request: Request<MultiMaxSizeRequest>,
    ) -> Result<Response<MultiMaxSizeResponse>, Status> {
        self.receive("TransactionalStoreMultiMaxSize/MultiMaxSize", request)?;
        let max_size = self.lock().max_size;
        let max_size = max_size.ok_or_else(|| Status::unimplemented("no limit"))?;
        Ok(Response::new(MultiMaxSizeResponse { max_size }))
    }
}

// === impl Ledger ===

impl Ledger {
    fn get(&self, instance: &str, key: &str) -> GetResponse {
        let stored = self.values.get(instance).and_then(|values| values.get(key));
        stored.map_or_else(GetResponse::default, |stored| GetResponse {
            data: stored.value.clone(),
            etag: Some(Etag {
                value: stored.etag.clone(),
            }),
            content_type: stored.content_type.clone(),
            ..GetResponse::default()
        })
    }

    /// Does all or nothing.
    fn change(
        &mut self,
        instance: &str,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Result<(), Status> {
        let mut values = self.values.get(instance).cloned().unwrap_or_default();
        for operation in operations {
            match operation {
                Operation::Set(request) => {
                    let is_first = request.options.unwrap_or_default().concurrency == FIRST_WRITE;
                    check(&values, &request.key, request.etag.as_ref(), is_first)?;
                    self.written += 1;
                    let stored = Stored {
                        value: request.value,
                        etag: self.written.to_string(),
                        content_type: request.content_type,
                    };
                    values.insert(request.key, stored);
                }
                Operation::Delete(request) => {
                    check(&values, &request.key, request.etag.as_ref(), false)?;
                    values.remove(&request.key);
                }
            }
        }
        self.values.insert(instance.to_owned(), values);
        Ok(())
    }
}

/// A write that names a tag finds it, and a first write finds nothing.
fn check(values: &Values, key: &str, etag: Option<&Etag>, is_first: bool) -> Result<(), Status> {
    let stored = values.get(key).map(|stored| &stored.etag);
    let is_other = match etag {
        Some(etag) => stored != Some(&etag.value),
        None => is_first && stored.is_some(),
    };
    if is_other {
        let refusal = Refusal::about_field(FAILED_PRECONDITION, "etag mismatch", "etag", "it has changed");
        return Err(refusal.status());
    }
    Ok(())
}
