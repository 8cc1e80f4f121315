//! State in a container of Cosmos DB: one document a key.
//!
//! The partition of a value is that of the request metadata `partitionKey`, else its key. Transactions are of one
//! partition, that of their own metadata.
//!
//! Source: specification, state stores 9.

mod client;
mod document;
mod query;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use outrigger_component::state::{
    BulkItem, Consistency, DeleteRequest, GetRequest, Item, Metadata, Operation, Queries, Query, QueryAnswer,
    QueryItem, SetRequest, StateError, StateStore, Transaction, Transactions,
};
use outrigger_component::{Feature, Fields, Init};
use outrigger_svc::{BoxError, BoxFuture};
use serde_json::{Value, json};
use tokio::time::timeout_at;

use self::client::{Access, Client, ClientError, Scope};
use self::document::Content;
use crate::credential::{Login, LoginSettings};

/// Keeps state in a container of Cosmos DB.
#[derive(Debug)]
pub struct CosmosDb {
    client: Client,
    content: Content,
}

/// The most operations of a transaction.
const MAX_OPERATIONS: usize = 100;

/// The most keys of one question for many.
const MAX_KEYS: usize = 1000;

static FEATURES: [Feature; 5] = [
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::QUERY_API,
    Feature::TTL,
    Feature::PARTITION_KEY,
];

/// Name of the metadata that say the partition.
const PARTITION: &str = "partitionKey";

/// Status of an operation that was not done because another failed.
const DEPENDENT: u16 = 424;

/// Reads the settings, and asks for the container.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let connect = CosmosDb::connect(&init);
    let store = timeout_at(init.deadline, connect).await;
    Ok(Arc::new(store.map_err(|_| "context deadline exceeded")??))
}

// === impl CosmosDb ===

impl CosmosDb {
    async fn connect(init: &Init) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let required = |name: &str| {
            let found = fields.text(name).filter(|text| !text.is_empty());
            found.ok_or_else(|| format!("{name} is required"))
        };
        let (url, database, collection) = (required("url")?, required("database")?, required("collection")?);
        let access = access(&fields, url, init)?;
        let store = Self {
            client: Client::new(init.http.clone(), url, database, collection, access),
            content: Content::of(fields.text("contentType").unwrap_or_default()),
        };
        let seen = store.client.container().await;
        seen.map_err(|error| format!("failed to read the container {collection}: {error}"))?;
        Ok(store)
    }

    async fn read(&self, request: &GetRequest) -> Result<Option<Item>, StateError> {
        let partition = partition(&request.metadata, &request.key);
        let found = self
            .client
            .read(&request.key, partition, &request.consistency)
            .await;
        Ok(found.map_err(failed)?.as_ref().map(document::decode))
    }

    /// Many values by a query, which sees all partitions; in the order of the requests.
    async fn read_many(&self, requests: &[GetRequest]) -> Result<Vec<BulkItem>, StateError> {
        let mut found: HashMap<String, Item> = HashMap::with_capacity(requests.len());
        let is_strong = |request: &GetRequest| request.consistency == Consistency::Strong;
        let consistency = requests.iter().any(is_strong).then_some("Strong");
        for part in requests.chunks(MAX_KEYS) {
            let query = query::of_keys(part.iter().map(|request| request.key.as_str()));
            let (documents, _) = self.pages(&query, Scope::All, 0, None, consistency).await?;
            let wanted: HashMap<_, _> = part
                .iter()
                .map(|request| (request.key.as_str(), partition(&request.metadata, &request.key)))
                .collect();
            for document in documents {
                let key = document::key(&document).to_owned();
                // A key may be in other partitions too.
                let is_exact = document[PARTITION].as_str() == wanted.get(key.as_str()).copied();
                if is_exact || !found.contains_key(&key) {
                    found.insert(key, document::decode(&document));
                }
            }
        }
        let items = requests.iter().map(|request| BulkItem {
            key: request.key.clone(),
            outcome: Ok(found.get(&request.key).cloned()),
        });
        Ok(items.collect())
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        request.options.check()?;
        let partition = partition(&request.metadata, &request.key);
        let document = document::encode(request, self.content, partition)?;
        let etag = condition(request.etag.as_deref(), request.options.is_first_write());
        let consistency = &request.options.consistency;
        let written = self
            .client
            .upsert(&document, partition, etag.as_deref(), consistency);
        written.await.map_err(judged)
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        request.options.check()?;
        let partition = partition(&request.metadata, &request.key);
        let (etag, consistency) = (request.etag.as_deref(), &request.options.consistency);
        let deleted = self.client.delete(&request.key, partition, etag, consistency);
        deleted.await.map_err(judged)
    }

    /// A deletion of what is not there would undo all; it is left out then, and the rest is done again.
    async fn write_together(&self, transaction: &Transaction) -> Result<(), StateError> {
        let partition = transaction.metadata.get(PARTITION).map_or("", String::as_str);
        let operations = transaction.operations.iter().enumerate();
        let mut left: Vec<_> = operations
            .map(|(place, operation)| Ok((place, self.part(operation, partition)?)))
            .collect::<Result<_, StateError>>()?;
        while !left.is_empty() {
            let parts: Vec<_> = left.iter().map(|(_, part)| part.clone()).collect();
            let statuses = self.client.batch(&parts, partition).await.map_err(failed)?;
            let failure = statuses
                .iter()
                .position(|status| !(200..300).contains(status) && *status != DEPENDENT);
            let Some((failure, &status)) = failure.and_then(|at| Some((at, statuses.get(at)?))) else {
                return Ok(());
            };
            let (place, part) = left
                .get(failure)
                .ok_or_else(|| StateError::other("transaction failed"))?;
            if status != 404 || part["operationType"] != "Delete" || part.get("ifMatch").is_some() {
                return Err(StateError::other(format!(
                    "transaction failed due to operation {place} which failed with status code {status}"
                )));
            }
            left.remove(failure);
        }
        Ok(())
    }

    fn part(&self, operation: &Operation, partition: &str) -> Result<Value, StateError> {
        let (mut part, etag) = match operation {
            Operation::Set(request) => {
                request.options.check()?;
                let document = document::encode(request, self.content, partition)?;
                let etag = condition(request.etag.as_deref(), request.options.is_first_write());
                (
                    json!({ "operationType": "Upsert", "resourceBody": document }),
                    etag,
                )
            }
            Operation::Delete(request) => {
                request.options.check()?;
                let part = json!({ "operationType": "Delete", "id": request.key });
                (part, request.etag.clone())
            }
        };
        if let Some(etag) = etag {
            part["ifMatch"] = etag.into();
        }
        Ok(part)
    }

    async fn ask(&self, query: &Query, metadata: &Metadata) -> Result<QueryAnswer, StateError> {
        let translated = query::translate(query)?;
        let scope = match metadata.get(PARTITION) {
            Some(partition) => Scope::Partition(partition),
            None => Scope::All,
        };
        let (limit, token) = (query.page.limit, query.page.token.clone());
        let (documents, token) = self.pages(&translated, scope, limit, token, None).await?;
        let items = documents.into_iter().map(|document| {
            let key = document::key(&document).to_owned();
            let item = document::decode(&document);
            QueryItem {
                key,
                data: item.data.unwrap_or_default(),
                etag: item.etag,
                ..QueryItem::default()
            }
        });
        Ok(QueryAnswer {
            items: items.collect(),
            token,
            metadata: Metadata::new(),
        })
    }

    /// The documents of a query, page by page until there are `limit` of them (0 is all), and where the rest begins.
    async fn pages(
        &self,
        query: &Value,
        scope: Scope<'_>,
        limit: u32,
        token: Option<String>,
        consistency: Option<&'static str>,
    ) -> Result<(Vec<Value>, Option<String>), StateError> {
        let mut documents = Vec::new();
        let mut token = token.filter(|token| !token.is_empty());
        loop {
            let missing = limit.saturating_sub(u32::try_from(documents.len()).unwrap_or(u32::MAX));
            let page = self
                .client
                .query(query, scope, missing, token.as_deref(), consistency)
                .await
                .map_err(failed)?;
            documents.extend(page.documents);
            token = page.continuation;
            let is_full = limit > 0 && u32::try_from(documents.len()).is_ok_and(|count| count >= limit);
            if is_full || token.is_none() {
                return Ok((documents, token));
            }
        }
    }
}

impl StateStore for CosmosDb {
    fn features(&self) -> &[Feature] {
        &FEATURES
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
        _parallelism: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(async move {
            let [request] = requests else {
                return self.read_many(requests).await;
            };
            let outcome = self.read(request).await;
            let key = request.key.clone();
            Ok(vec![BulkItem { key, outcome }])
        })
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn queries(&self) -> Option<&dyn Queries> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async { Ok(self.client.container().await?) })
    }
}

impl Transactions for CosmosDb {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write_together(transaction))
    }

    fn max_operations(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(std::future::ready(Some(MAX_OPERATIONS)))
    }
}

impl Queries for CosmosDb {
    fn query<'a>(
        &'a self,
        query: &'a Query,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>> {
        Box::pin(self.ask(query, metadata))
    }
}

fn access(fields: &Fields<'_>, url: &str, init: &Init) -> Result<Access, BoxError> {
    if let Some(key) = fields.text("masterKey").filter(|key| !key.is_empty()) {
        let key = STANDARD.decode(key).map_err(|_| "masterKey is not base64")?;
        return Ok(Access::Key(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key))));
    }
    let settings = LoginSettings::read(fields, |name| std::env::var(name).ok())?;
    let uri: http::Uri = url.parse()?;
    let host = uri.host().ok_or("url has no host")?;
    Ok(Access::Login {
        login: Login::new(settings, init.http.clone()),
        scope: format!("https://{host}/.default"),
    })
}

/// Where a value is.
fn partition<'a>(metadata: &'a Metadata, key: &'a str) -> &'a str {
    metadata.get(PARTITION).map_or(key, String::as_str)
}

/// The tag that is asked for. A tag that nothing has is what a first write asks for: the service creates a document
/// whatever its tag.
fn condition(etag: Option<&str>, is_first_write: bool) -> Option<String> {
    match etag {
        Some(etag) => Some(etag.to_owned()),
        None => is_first_write.then(outrigger_kit::id::uuid),
    }
}

fn failed(error: ClientError) -> StateError {
    StateError::other(error)
}

fn judged(error: ClientError) -> StateError {
    if error.is(StatusCode::PRECONDITION_FAILED) {
        StateError::mismatch(error)
    } else {
        StateError::other(error)
    }
}

/// Reads a document; for fuzzing.
pub(crate) fn read_document(bytes: &[u8]) {
    if let Ok(document) = serde_json::from_slice(bytes) {
        drop(document::decode(&document));
    }
}

#[cfg(test)]
mod tests;
