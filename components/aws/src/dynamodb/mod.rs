//! State in a table of DynamoDB: one item a key.
//!
//! Source: specification, state stores 8.

mod batch;
mod condition;
mod item;

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use outrigger_component::state::{
    BulkItem, Consistency, DeleteRequest, GetRequest, Item, Operation, SetRequest, StateError, StateStore,
    Transaction, Transactions,
};
use outrigger_component::{Feature, Fields, Init};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::time::timeout_at;

use self::condition::Condition;
use self::item::Layout;
use crate::access::Access;
use crate::failure;

/// Keeps state in a table of DynamoDB.
#[derive(Debug)]
pub struct DynamoDb {
    client: Client,
    table: String,
    layout: Layout,
    features: Vec<Feature>,
}

/// Name of the service in messages.
const SERVICE: &str = "DynamoDB";

/// The most operations of a transaction.
const MAX_OPERATIONS: usize = 100;

/// Reads the settings, and reads from the table once to see that it may.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let connect = DynamoDb::connect(&init);
    let store = timeout_at(init.deadline, connect).await;
    Ok(Arc::new(store.map_err(|_| "context deadline exceeded")??))
}

// === impl DynamoDb ===

impl DynamoDb {
    async fn connect(init: &Init) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let table = text(&fields, "table").ok_or("missing dynamodb table name")?;
        let layout = Layout {
            partition_key: text(&fields, "partitionKey").unwrap_or("key").to_owned(),
            ttl: text(&fields, "ttlAttributeName").map(str::to_owned),
        };
        let mut features = vec![Feature::ETAG, Feature::TRANSACTIONAL];
        if layout.ttl.is_some() {
            features.push(Feature::TTL);
        }
        let config = Access::read(&fields)?.config(init.http.clone()).await;
        let store = Self {
            client: Client::new(&config),
            table: table.to_owned(),
            layout,
            features,
        };
        let probe = GetRequest::new(outrigger_kit::id::uuid());
        let seen = store.read(&probe).await;
        seen.map_err(|error| format!("error validating DynamoDB table '{table}' access: {error}"))?;
        Ok(store)
    }

    async fn read(&self, request: &GetRequest) -> Result<Option<Item>, StateError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(self.layout.key(&request.key)))
            .consistent_read(request.consistency == Consistency::Strong)
            .send()
            .await;
        let answer = answer.map_err(|error| failed("GetItem", &error))?;
        answer.item.map_or(Ok(None), |item| self.layout.decode(item))
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let condition = self.condition(request.etag.as_deref(), request.options.is_first_write());
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.layout.encode(request)?))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .send()
            .await;
        let Err(error) = answer else { return Ok(()) };
        let is_refused = error
            .as_service_error()
            .is_some_and(PutItemError::is_conditional_check_failed_exception);
        Err(judged("PutItem", &error, is_refused && request.etag.is_some()))
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        let condition = self.condition(request.etag.as_deref(), false);
        let answer = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(self.layout.key(&request.key)))
            .set_condition_expression(condition.expression)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .send()
            .await;
        let Err(error) = answer else { return Ok(()) };
        let is_refused = error
            .as_service_error()
            .is_some_and(DeleteItemError::is_conditional_check_failed_exception);
        Err(judged("DeleteItem", &error, is_refused))
    }

    /// Of several operations on a key only the last counts: the service refuses a transaction that names a key twice.
    async fn write_together(&self, transaction: &Transaction) -> Result<(), StateError> {
        let operations = &transaction.operations;
        let last: HashMap<_, _> = operations
            .iter()
            .enumerate()
            .map(|(place, operation)| (operation.key(), place))
            .collect();
        let kept = operations
            .iter()
            .enumerate()
            .filter(|(place, operation)| last.get(operation.key()) == Some(place));
        let items: Result<Vec<_>, _> = kept.map(|(_, operation)| self.part(operation)).collect();
        let items = items?;
        if items.is_empty() {
            return Ok(());
        }
        let answer = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await;
        answer
            .map(drop)
            .map_err(|error| failed("TransactWriteItems", &error))
    }

    fn condition(&self, etag: Option<&str>, is_first_write: bool) -> Condition {
        Condition::new(etag, is_first_write, self.layout.ttl.as_deref())
    }

    fn part(&self, operation: &Operation) -> Result<TransactWriteItem, StateError> {
        let part = TransactWriteItem::builder();
        let part = match operation {
            Operation::Set(request) => {
                let condition = self.condition(request.etag.as_deref(), request.options.is_first_write());
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(self.layout.encode(request)?))
                    .set_condition_expression(condition.expression)
                    .set_expression_attribute_names(condition.names)
                    .set_expression_attribute_values(condition.values);
                part.put(put.build().map_err(StateError::other)?)
            }
            Operation::Delete(request) => {
                let delete = Delete::builder()
                    .table_name(&self.table)
                    .set_key(Some(self.layout.key(&request.key)));
                part.delete(delete.build().map_err(StateError::other)?)
            }
        };
        Ok(part.build())
    }
}

impl StateStore for DynamoDb {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.read(request))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.remove(request))
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        parallelism: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(self.read_many(requests, parallelism))
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            self.read(&GetRequest::new(outrigger_kit::id::uuid())).await?;
            Ok(())
        })
    }
}

impl Transactions for DynamoDb {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write_together(transaction))
    }

    fn max_operations(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(std::future::ready(Some(MAX_OPERATIONS)))
    }
}

fn text<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    fields.text(name).filter(|text| !text.is_empty())
}

fn failed<E, R>(operation: &str, error: &SdkError<E, R>) -> StateError
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    StateError::other(failure::text(SERVICE, operation, error))
}

fn judged<E, R>(operation: &str, error: &SdkError<E, R>, is_mismatch: bool) -> StateError
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let text = failure::text(SERVICE, operation, error);
    if is_mismatch {
        StateError::mismatch(text)
    } else {
        StateError::other(text)
    }
}

#[cfg(test)]
mod tests;
