//! State over HTTP.
//!
//! Source: specification, state API 1, 4 and 6.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_component::state::{DeleteRequest, GetRequest, Metadata, Options};
use outrigger_error::Error;
use outrigger_kit::json::ReadError;
use outrigger_svc::{Body, Request, Response};

use self::decode::Kind;
use super::Blocks;
use crate::http_api::query;
use crate::http_api::reply::{json_bytes, no_content, read};
use crate::http_api::table::Operation;
use crate::state::{Open, Write, etag};

// === impl Blocks ===

impl Blocks {
    /// Answers an operation on a key of a store, or on a store.
    ///
    /// # Errors
    /// What the state API says.
    pub(super) async fn state(
        &self,
        operation: Operation,
        store: &str,
        key: Option<String>,
        request: Request,
    ) -> Result<Response, Error> {
        let store = self.building_blocks.state.find(store)?;
        let key = key.unwrap_or_default();
        let (head, body) = request.into_parts();
        match operation {
            Operation::GetState => get(&store, key, &head).await,
            Operation::DeleteState => delete(&store, key, &head).await,
            Operation::GetBulkState => bulk_get(&store, &head, body).await,
            Operation::ExecuteStateTransaction => transact(&store, &head, body).await,
            Operation::QueryStateAlpha1 => query_documents(&store, &head, body).await,
            _ => save(&store, &head, body).await,
        }
    }
}

async fn get(store: &Open<'_>, key: String, head: &Parts) -> Result<Response, Error> {
    let query = head.uri.query();
    let request = GetRequest {
        key,
        metadata: metadata(query),
        consistency: word(query, "consistency"),
    };
    let found = store.get(request).await?;
    // A value that is nothing is as good as none.
    let Some((data, item)) = found.and_then(|mut item| Some((item.data.take()?, item))) else {
        return Ok(no_content());
    };
    let mut response = json_bytes(data);
    let headers = response.headers_mut();
    if let Some(etag) = item.etag.and_then(|etag| HeaderValue::try_from(etag).ok()) {
        headers.insert(ETAG, etag);
    }
    tell(headers, item.metadata);
    Ok(response)
}

async fn save(store: &Open<'_>, head: &Parts, body: Body) -> Result<Response, Error> {
    let body = read(body).await.map_err(Error::Malformed)?;
    let mut requests = decode::save(&body).map_err(|error| malformed(&error))?;
    // What the values need of it they hold themselves.
    drop(body);
    let more = query::metadata(head.uri.query());
    for request in &mut requests {
        overlay(&mut request.metadata, &more);
    }
    store.save(requests).await.map_err(|error| match error {
        Error::StateKeyEmpty => Error::Malformed("\"key\" is a required field".to_owned()),
        other => other,
    })?;
    Ok(no_content())
}

async fn delete(store: &Open<'_>, key: String, head: &Parts) -> Result<Response, Error> {
    let query = head.uri.query();
    let tag = head.headers.get(IF_MATCH);
    let request = DeleteRequest {
        key,
        etag: etag(tag.map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned())),
        metadata: metadata(query),
        options: Options {
            concurrency: word(query, "concurrency"),
            consistency: word(query, "consistency"),
        },
    };
    store.delete(request).await?;
    Ok(no_content())
}

async fn bulk_get(store: &Open<'_>, head: &Parts, body: Body) -> Result<Response, Error> {
    let body = read(body).await.map_err(Error::MalformedBody)?;
    let mut request = decode::bulk_get(&body).map_err(|error| malformed_body(&error))?;
    drop(body);
    overlay(&mut request.metadata, &query::metadata(head.uri.query()));
    let found = store
        .bulk_get(request.keys, &request.metadata, request.parallelism)
        .await?;
    Ok(json_bytes(encode::found(found)))
}

async fn transact(store: &Open<'_>, head: &Parts, body: Body) -> Result<Response, Error> {
    store.check_transactions()?;
    let body = read(body).await.map_err(Error::MalformedBody)?;
    let mut request = decode::transaction(&body).map_err(|error| malformed_body(&error))?;
    if request.operations.is_empty() {
        return Ok(no_content());
    }
    let more = query::metadata(head.uri.query());
    let mut writes = Vec::with_capacity(request.operations.len());
    for operation in &request.operations {
        let kind = Kind::of(&operation.kind)?;
        let mut write = operation
            .write(kind, &body)
            .map_err(|error| malformed_body(&error))?;
        match &mut write {
            Write::Upsert(request) => overlay(&mut request.metadata, &more),
            Write::Delete(request) => overlay(&mut request.metadata, &more),
        }
        writes.push(write);
    }
    overlay(&mut request.metadata, &more);
    let metadata = request.metadata;
    drop(request.operations);
    drop(body);
    let outcome = store.transact(writes, metadata).await;
    outcome.map_err(|error| match error {
        // The reference has lost the key by the time that it names the field.
        Error::StateKeyIllegal { store, key, .. } => Error::StateKeyIllegal {
            store,
            key,
            field: String::new(),
        },
        other => other,
    })?;
    Ok(no_content())
}

async fn query_documents(store: &Open<'_>, head: &Parts, body: Body) -> Result<Response, Error> {
    store.check_query()?;
    let body = read(body).await.map_err(Error::BodyRead)?;
    let answer = store.query(&body, &metadata(head.uri.query())).await?;
    if answer.items.is_empty() {
        return Ok(no_content());
    }
    Ok(json_bytes(encode::answer(answer)))
}

/// The metadata of a request, from its query.
fn metadata(query: Option<&str>) -> Metadata {
    match query {
        Some(_) => query::metadata(query).into_iter().collect(),
        None => Metadata::new(),
    }
}

fn word<T: for<'a> From<&'a str> + Default>(query: Option<&str>, name: &str) -> T {
    query::first(query, name).map_or_else(T::default, |word| T::from(&word))
}

/// The metadata of the query goes before that of the body.
fn overlay(metadata: &mut Metadata, more: &BTreeMap<String, String>) {
    let more = more.iter().map(|(name, value)| (name.clone(), value.clone()));
    metadata.extend(more);
}

/// Tells what a store says of a value.
fn tell(headers: &mut HeaderMap, metadata: Metadata) {
    for (name, value) in metadata {
        let name = HeaderName::try_from(format!("metadata.{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

fn malformed(error: &ReadError) -> Error {
    Error::Malformed(error.to_string())
}

fn malformed_body(error: &ReadError) -> Error {
    Error::MalformedBody(error.to_string())
}
