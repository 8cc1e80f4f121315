//! Requests and answers of state stores, as this sidecar and as a component have them.

use outrigger_api::Any;
use outrigger_api::components as wire;
use outrigger_api::components::sorting::Order;
use outrigger_api::components::state_options::{StateConcurrency, StateConsistency};
use outrigger_api::components::transactional_state_operation::Request;
use outrigger_component::state::{
    BulkItem, Concurrency, Consistency, DeleteRequest, Direction, GetRequest, Item, Json, Metadata,
    Operation, Options, Query, QueryAnswer, QueryItem, SetRequest, StateError, Transaction, Value,
};
use outrigger_component::{Init, Properties};

/// A text that stands for none when it is empty.
fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(crate) fn settings(init: &Init) -> wire::MetadataRequest {
    let pairs = Properties::iter(&init.properties);
    wire::MetadataRequest {
        properties: pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}

pub(crate) fn get(request: &GetRequest) -> wire::GetRequest {
    wire::GetRequest {
        key: request.key.clone(),
        metadata: request.metadata.clone(),
        consistency: consistency(&request.consistency),
    }
}

/// # Errors
/// If there is no value: that would be a deletion.
pub(crate) fn set(request: &SetRequest) -> Result<wire::SetRequest, StateError> {
    let is_nil = matches!(&request.value, Value::Json(json) if json.text() == "null");
    if is_nil {
        return Err(StateError::other(
            "an attempt to set a nil value was received, try to use Delete instead",
        ));
    }
    Ok(wire::SetRequest {
        key: request.key.clone(),
        value: request.value.as_bytes().clone(),
        etag: etag(request.etag.as_deref()),
        metadata: request.metadata.clone(),
        options: Some(options(&request.options)),
        content_type: request.content_type.clone().unwrap_or_default(),
    })
}

pub(crate) fn delete(request: &DeleteRequest) -> wire::DeleteRequest {
    wire::DeleteRequest {
        key: request.key.clone(),
        etag: etag(request.etag.as_deref()),
        metadata: request.metadata.clone(),
        options: Some(options(&request.options)),
    }
}

/// # Errors
/// If there is a value to write that is none.
pub(crate) fn transaction(transaction: &Transaction) -> Result<wire::TransactionalStateRequest, StateError> {
    let operation = |operation: &Operation| {
        let request = match operation {
            Operation::Set(request) => Request::Set(set(request)?),
            Operation::Delete(request) => Request::Delete(delete(request)),
        };
        Ok(wire::TransactionalStateOperation {
            request: Some(request),
        })
    };
    Ok(wire::TransactionalStateRequest {
        operations: transaction
            .operations
            .iter()
            .map(operation)
            .collect::<Result<_, StateError>>()?,
        metadata: transaction.metadata.clone(),
    })
}

pub(crate) fn query(query: &Query, metadata: &Metadata) -> wire::QueryRequest {
    let filter = query.filter_members.iter().map(|(name, value)| {
        let value = Json::new(value.clone()).text().clone();
        (
            name.clone(),
            Any {
                type_url: String::new(),
                value,
            },
        )
    });
    let sort = query.sort.iter().map(|sort| wire::Sorting {
        key: sort.key.clone(),
        order: match sort.order {
            Some(Direction::Descending) => Order::Desc.into(),
            Some(Direction::Ascending) | None => Order::Asc.into(),
        },
    });
    wire::QueryRequest {
        query: Some(wire::Query {
            filter: filter.collect(),
            sort: sort.collect(),
            pagination: Some(wire::Pagination {
                limit: query.page.limit.into(),
                token: query.page.token.clone().unwrap_or_default(),
            }),
        }),
        metadata: metadata.clone(),
    }
}

/// The value of an answer. A component that sends no bytes says that there is none.
pub(crate) fn item(answer: wire::GetResponse) -> Option<Item> {
    let item = Item {
        data: Some(answer.data).filter(|data| !data.is_empty()),
        etag: answer.etag.map(|etag| etag.value),
        metadata: answer.metadata,
        content_type: filled(answer.content_type),
    };
    (item != Item::default()).then_some(item)
}

pub(crate) fn bulk_item(answer: wire::BulkStateItem) -> BulkItem {
    BulkItem {
        key: answer.key,
        outcome: match filled(answer.error) {
            Some(error) => Err(StateError::other(error)),
            None => Ok(item(wire::GetResponse {
                data: answer.data,
                etag: answer.etag,
                metadata: answer.metadata,
                content_type: answer.content_type,
            })),
        },
    }
}

pub(crate) fn query_answer(answer: wire::QueryResponse) -> QueryAnswer {
    let items = answer.items.into_iter().map(|item| QueryItem {
        key: item.key,
        data: item.data,
        etag: item.etag.map(|etag| etag.value),
        error: filled(item.error),
        content_type: filled(item.content_type),
    });
    QueryAnswer {
        items: items.collect(),
        token: filled(answer.token),
        metadata: answer.metadata,
    }
}

fn etag(etag: Option<&str>) -> Option<wire::Etag> {
    etag.map(|value| wire::Etag {
        value: value.to_owned(),
    })
}

fn options(options: &Options) -> wire::StateOptions {
    let concurrency = match options.concurrency {
        Concurrency::FirstWrite => StateConcurrency::ConcurrencyFirstWrite,
        Concurrency::LastWrite => StateConcurrency::ConcurrencyLastWrite,
        Concurrency::Unspecified | Concurrency::Other(_) => StateConcurrency::ConcurrencyUnspecified,
    };
    wire::StateOptions {
        concurrency: concurrency.into(),
        consistency: consistency(&options.consistency),
    }
}

fn consistency(consistency: &Consistency) -> i32 {
    let consistency = match consistency {
        Consistency::Eventual => StateConsistency::ConsistencyEventual,
        Consistency::Strong => StateConsistency::ConsistencyStrong,
        Consistency::Unspecified | Consistency::Other(_) => StateConsistency::ConsistencyUnspecified,
    };
    consistency.into()
}
