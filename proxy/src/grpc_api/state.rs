//! State over gRPC.
//!
//! Source: specification, state API 1, 4 and 6.

use outrigger_api::common::state_options::{StateConcurrency, StateConsistency};
use outrigger_api::common::{Etag, StateItem, StateOptions};
use outrigger_api::runtime as api;
use outrigger_component::state::{
    Concurrency, Consistency, DeleteRequest, GetRequest, Item, Json, Options, QueryItem, SetRequest, Value,
};
use outrigger_error::Error;
use tonic::{Request, Response};

use super::Backend;
use super::call::Facts;
use super::dapr::{Answer, DaprApi};
use crate::state::{Found, Open, Write, data, etag};

/// Metadata of a value, and the value of it that has bytes read as JSON.
const CONTENT_TYPE: (&str, &str) = ("contentType", "application/json");

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(super) async fn state_get(
        &self,
        request: Request<api::GetStateRequest>,
    ) -> Answer<api::GetStateResponse> {
        describe(
            &request,
            "/dapr.proto.runtime.v1.Dapr/GetState",
            &request.get_ref().store_name,
        );
        self.answer(self.get(request.into_inner()).await)
    }

    pub(super) async fn state_bulk_get(
        &self,
        request: api::GetBulkStateRequest,
    ) -> Answer<api::GetBulkStateResponse> {
        self.answer(self.bulk_get(request).await)
    }

    pub(super) async fn state_save(&self, request: Request<api::SaveStateRequest>) -> Answer<()> {
        describe(
            &request,
            "/dapr.proto.runtime.v1.Dapr/SaveState",
            &request.get_ref().store_name,
        );
        self.answer(self.save(request.into_inner()).await)
    }

    pub(super) async fn state_delete(&self, request: Request<api::DeleteStateRequest>) -> Answer<()> {
        describe(
            &request,
            "/dapr.proto.runtime.v1.Dapr/DeleteState",
            &request.get_ref().store_name,
        );
        self.answer(self.delete(request.into_inner()).await)
    }

    pub(super) async fn state_bulk_delete(&self, request: api::DeleteBulkStateRequest) -> Answer<()> {
        self.answer(self.bulk_delete(request).await)
    }

    pub(super) async fn state_transact(&self, request: api::ExecuteStateTransactionRequest) -> Answer<()> {
        self.answer(self.transact(request).await)
    }

    pub(super) async fn state_query(
        &self,
        request: api::QueryStateRequest,
    ) -> Answer<api::QueryStateResponse> {
        self.answer(self.query(request).await)
    }

    fn answer<T>(&self, outcome: Result<T, Error>) -> Answer<T> {
        outcome.map(Response::new).or_else(|error| self.fail(&error))
    }

    async fn get(&self, request: api::GetStateRequest) -> Result<api::GetStateResponse, Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        let request = GetRequest {
            key: request.key,
            metadata: request.metadata,
            consistency: consistency(request.consistency),
        };
        let mut item = store.get(request).await?.unwrap_or_default();
        Ok(api::GetStateResponse {
            data: data(&mut item),
            etag: item.etag.unwrap_or_default(),
            metadata: item.metadata,
        })
    }

    async fn bulk_get(&self, request: api::GetBulkStateRequest) -> Result<api::GetBulkStateResponse, Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        let parallelism = usize::try_from(request.parallelism).unwrap_or(0);
        let found = store
            .bulk_get(request.keys, &request.metadata, parallelism)
            .await?;
        let items = found.into_iter().map(bulk_item).collect();
        Ok(api::GetBulkStateResponse { items })
    }

    async fn save(&self, request: api::SaveStateRequest) -> Result<(), Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        let mut requests = Vec::with_capacity(request.states.len());
        for mut item in request.states {
            let value = value(&store, &mut item)?;
            requests.push(set(item, value));
        }
        store.save(requests).await
    }

    async fn delete(&self, request: api::DeleteStateRequest) -> Result<(), Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        let request = DeleteRequest {
            key: request.key,
            etag: tag(request.etag),
            metadata: request.metadata,
            options: options(request.options),
        };
        store.delete(request).await
    }

    async fn bulk_delete(&self, request: api::DeleteBulkStateRequest) -> Result<(), Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        store
            .bulk_delete(request.states.into_iter().map(delete).collect())
            .await
    }

    async fn transact(&self, request: api::ExecuteStateTransactionRequest) -> Result<(), Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        store.check_transactions()?;
        let mut writes = Vec::with_capacity(request.operations.len());
        for operation in request.operations {
            let mut item = operation.request.unwrap_or_default();
            writes.push(match operation.operation_type.as_str() {
                "upsert" => {
                    let value = Value::Bytes(std::mem::take(&mut item.value));
                    Write::Upsert(set(item, value))
                }
                "delete" => Write::Delete(delete(item)),
                other => return Err(Error::StateOperation(other.to_owned())),
            });
        }
        store.transact(writes, request.metadata).await
    }

    async fn query(&self, request: api::QueryStateRequest) -> Result<api::QueryStateResponse, Error> {
        let store = self.backend.building_blocks().state.find(&request.store_name)?;
        let answer = store.query(request.query.as_bytes(), &request.metadata).await?;
        Ok(api::QueryStateResponse {
            results: answer.items.into_iter().map(query_item).collect(),
            token: answer.token.unwrap_or_default(),
            metadata: answer.metadata,
        })
    }
}

/// Tells the span of a call which store it is about (specification: observability 4).
fn describe<M>(request: &Request<M>, method: &str, store: &str) {
    Facts::of(request.extensions()).span.change(|span| {
        span.set_attribute("db.system", "state");
        span.set_attribute("db.connection_string", "state");
        span.set_attribute("db.statement", method);
        span.set_attribute("db.name", store);
        span.set_attribute("rpc.service", "Dapr");
    });
}

/// What is to be stored: the bytes, or the JSON that they are said to be. What is encrypted is the bytes.
fn value(store: &Open<'_>, item: &mut StateItem) -> Result<Value, Error> {
    let (name, json) = CONTENT_TYPE;
    let bytes = std::mem::take(&mut item.value);
    let is_json = item
        .metadata
        .get(name)
        .is_some_and(|media_type| media_type == json);
    if !is_json || store.is_encrypted() {
        return Ok(Value::Bytes(bytes));
    }
    let parsed = Json::parse(&bytes);
    parsed
        .map(Value::Json)
        .map_err(|error| Error::Unclassified(error.to_string()))
}

fn set(item: StateItem, value: Value) -> SetRequest {
    SetRequest {
        key: item.key,
        value,
        etag: tag(item.etag),
        content_type: item.metadata.get(CONTENT_TYPE.0).cloned(),
        metadata: item.metadata,
        options: options(item.options),
    }
}

fn delete(item: StateItem) -> DeleteRequest {
    DeleteRequest {
        key: item.key,
        etag: tag(item.etag),
        metadata: item.metadata,
        options: options(item.options),
    }
}

fn tag(tag: Option<Etag>) -> Option<String> {
    etag(tag.map(|tag| tag.value))
}

fn options(options: Option<StateOptions>) -> Options {
    let options = options.unwrap_or_default();
    Options {
        concurrency: match StateConcurrency::try_from(options.concurrency) {
            Ok(StateConcurrency::ConcurrencyFirstWrite) => Concurrency::FirstWrite,
            Ok(StateConcurrency::ConcurrencyLastWrite) => Concurrency::LastWrite,
            _ => Concurrency::Unspecified,
        },
        consistency: consistency(options.consistency),
    }
}

fn consistency(consistency: i32) -> Consistency {
    match StateConsistency::try_from(consistency) {
        Ok(StateConsistency::ConsistencyEventual) => Consistency::Eventual,
        Ok(StateConsistency::ConsistencyStrong) => Consistency::Strong,
        _ => Consistency::Unspecified,
    }
}

fn bulk_item(found: Found) -> api::BulkStateItem {
    let (mut item, error) = match found.outcome {
        Ok(item) => (item.unwrap_or_default(), String::new()),
        Err(error) => (Item::default(), error),
    };
    api::BulkStateItem {
        key: found.key,
        data: data(&mut item),
        etag: item.etag.unwrap_or_default(),
        error,
        metadata: item.metadata,
    }
}

fn query_item(item: QueryItem) -> api::QueryStateItem {
    api::QueryStateItem {
        key: item.key,
        data: item.data,
        etag: item.etag.unwrap_or_default(),
        error: item.error.unwrap_or_default(),
    }
}
