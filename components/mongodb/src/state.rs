//! The store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, IndexOptions, ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession, Collection, IndexModel};
use outrigger_component::state::{
    BulkItem, DeleteRequest, GetRequest, Item, KeysLike, KeysPage, Listing, Metadata, Operation, Queries,
    Query, QueryAnswer, QueryItem, SetRequest, StateError, StateStore, TTL_EXPIRE_TIME, Transaction,
    Transactions, ttl_in_seconds,
};
use outrigger_component::{Feature, Init};
use outrigger_kit::{id, time};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::time::{timeout, timeout_at};

use crate::query;
use crate::settings::Settings;
use crate::values::{to_bson, to_bson_by_type, to_bytes};

/// A state store in a collection of a MongoDB server.
#[derive(Debug)]
pub(crate) struct MongoState {
    client: Client,
    collection: Collection<Document>,
    has_transactions: bool,
    timeout: Duration,
}

/// A write that is ready to be sent.
#[derive(Clone, Debug)]
enum Write {
    /// Changes or inserts.
    Set { filter: Document, update: Update },
    /// Deletes, and whether there must be something to delete.
    Delete { filter: Document, must_exist: bool },
}

/// How a document is changed.
#[derive(Clone, Debug)]
enum Update {
    /// Its members are set.
    Members(Document),
    /// They are set to what the server computes.
    Computed(Document),
}

/// Of a transaction: somebody else was first.
#[derive(Debug)]
struct Mismatch;

const FEATURES: &[Feature] = &[
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::QUERY_API,
    Feature::TTL,
    Feature::KEYS_LIKE,
];

/// The server's code for a key that is there already.
const DUPLICATE_KEY: i32 = 11000;

/// How the server's log names this client.
const APP_NAME: &str = concat!("dapr-", env!("CARGO_PKG_VERSION"));

/// Opens a store; the index that lets documents expire is there when it returns.
pub(crate) async fn open(init: Init) -> Result<Arc<MongoState>, BoxError> {
    let settings = Settings::read(&init.properties.fields()?)?;
    // The text may hold a password, and errors show it.
    let options = timeout_at(init.deadline, ClientOptions::parse(&settings.uri)).await;
    let mut options = options
        .map_err(|_| "context deadline exceeded")?
        .map_err(|_| "error in creating mongodb client: the connection string cannot be used")?;
    options.app_name = Some(APP_NAME.to_owned());
    options.server_selection_timeout.get_or_insert(settings.timeout);
    options.connect_timeout.get_or_insert(settings.timeout);
    options.read_concern = Some(settings.read_concern.clone());
    options.write_concern = Some(settings.write_concern.clone());
    let client = Client::with_options(options).map_err(|error| text(&error))?;
    let collection = client
        .database(&settings.database)
        .collection(&settings.collection);
    let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
    let index = IndexModel::builder()
        .keys(doc! { "_ttl": 1 })
        .options(expiry)
        .build();
    let created = timeout_at(init.deadline, collection.create_index(index)).await;
    created
        .map_err(|_| "error in creating the index of expiry: context deadline exceeded")?
        .map_err(|error| format!("error in creating the index of expiry: {}", text(&error)))?;
    Ok(Arc::new(MongoState {
        client,
        collection,
        has_transactions: settings.has_replicas(),
        timeout: settings.timeout,
    }))
}

// === impl MongoState ===

impl MongoState {
    /// Waits for an operation as long as it may take.
    async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, StateError> {
        timeout(self.timeout, operation)
            .await
            .map_err(|_| StateError::other("context deadline exceeded"))
    }

    async fn get_one(&self, request: &GetRequest) -> Result<Option<Item>, StateError> {
        let filter = alive(doc! { "_id": &request.key });
        let found = self
            .within(async { self.collection.find_one(filter).await })
            .await?;
        Ok(found
            .map_err(|error| other(&error))?
            .map(|document| item(&document)))
    }

    async fn get_all(&self, requests: &[GetRequest]) -> Result<Vec<BulkItem>, StateError> {
        let keys: Vec<_> = requests.iter().map(|request| request.key.as_str()).collect();
        let filter = alive(doc! { "_id": { "$in": keys } });
        let documents = self.find(self.collection.find(filter)).await?;
        let mut found: HashMap<_, _> = documents
            .iter()
            .filter_map(|document| Some((document.get_str("_id").ok()?, item(document))))
            .collect();
        let items = requests.iter().map(|request| BulkItem {
            key: request.key.clone(),
            outcome: Ok(found.remove(request.key.as_str())),
        });
        Ok(items.collect())
    }

    async fn find(&self, find: mongodb::action::Find<'_, Document>) -> Result<Vec<Document>, StateError> {
        let found = self.within(async { find.await?.try_collect().await }).await?;
        found.map_err(|error| other(&error))
    }

    async fn write(&self, write: Write) -> Result<(), StateError> {
        let outcome = self.within(write.send(&self.collection, None)).await?;
        outcome.map_err(|error| judged(&error))
    }

    async fn write_all(&self, transaction: &Transaction) -> Result<(), StateError> {
        if !self.has_transactions {
            return Err(StateError::other(
                "using transactions with MongoDB requires connecting to a replica set",
            ));
        }
        let writes = transaction.operations.iter().map(|operation| match operation {
            Operation::Set(request) => {
                let value = to_bson_by_type(request).map_err(StateError::other)?;
                Write::set(request, value)
            }
            Operation::Delete(request) => Ok(Write::delete(request)),
        });
        let writes: Vec<Write> = writes.collect::<Result<_, _>>()?;
        let collection = self.collection.clone();
        let send = async move |session: &mut ClientSession| {
            for write in &writes {
                write.send(&collection, Some(session)).await?;
            }
            Ok(())
        };
        let sent = self.within(async {
            let mut session = self.client.start_session().await?;
            session
                .start_transaction()
                .read_concern(ReadConcern::snapshot())
                .write_concern(WriteConcern::majority())
                .and_run2(send)
                .await
        });
        sent.await?.map_err(|error| {
            let reason = judged(&error);
            StateError::other(format!(
                "error during transaction, aborting the transaction: {reason}"
            ))
        })
    }

    async fn find_documents(&self, wanted: &Query) -> Result<QueryAnswer, StateError> {
        let filter = wanted.filter.as_ref().map(query::filter).unwrap_or_default();
        let skip = query::skip(wanted)?;
        let mut find = self.collection.find(filter).skip(skip);
        if let Some(sort) = query::sort(wanted) {
            find = find.sort(sort);
        }
        if wanted.page.limit > 0 {
            find = find.limit(wanted.page.limit.into());
        }
        let documents = self.find(find).await?;
        let next = skip.saturating_add(u64::try_from(documents.len()).unwrap_or(u64::MAX));
        let items = documents.iter().map(|document| QueryItem {
            key: document.get_str("_id").unwrap_or_default().to_owned(),
            data: to_bytes(document.get("value").unwrap_or(&Bson::Null)),
            etag: document.get_str("_etag").ok().map(str::to_owned),
            ..QueryItem::default()
        });
        Ok(QueryAnswer {
            items: items.collect(),
            token: (wanted.page.limit != 0).then(|| next.to_string()),
            metadata: Metadata::new(),
        })
    }

    async fn list(&self, request: &KeysLike) -> Result<KeysPage, StateError> {
        let mut like = doc! { "$regex": query::expression(&request.pattern)?, "$options": "s" };
        if let Some(token) = request.token.as_deref().filter(|token| !token.is_empty()) {
            like.insert("$gt", token);
        }
        let size = request.page_size.filter(|&size| size > 0);
        let mut find = self
            .collection
            .find(alive(doc! { "_id": like }))
            .sort(doc! { "_id": 1 })
            .projection(doc! { "_id": 1 });
        if let Some(size) = size {
            // One more than wanted says whether there are more.
            find = find.limit(i64::from(size) + 1);
        }
        let documents = self.find(find).await?;
        let mut keys: Vec<_> = documents
            .iter()
            .filter_map(|document| Some(document.get_str("_id").ok()?.to_owned()))
            .collect();
        let size = size.and_then(|size| usize::try_from(size).ok());
        let has_more = size.is_some_and(|size| keys.len() > size);
        if let Some(size) = size {
            keys.truncate(size);
        }
        let token = keys.last().filter(|_| has_more).cloned();
        Ok(KeysPage { keys, token })
    }
}

impl StateStore for MongoState {
    fn features(&self) -> &[Feature] {
        FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.get_one(request))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.write(Write::set(request, to_bson(&request.value))?).await })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            request.options.check()?;
            self.write(Write::delete(request)).await
        })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(self.get_all(requests))
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn queries(&self) -> Option<&dyn Queries> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let database = self.client.database("admin");
            let pong = self
                .within(async { database.run_command(doc! { "ping": 1 }).await })
                .await?;
            Ok(pong.map(drop).map_err(|error| text(&error))?)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            self.client.clone().shutdown().await;
            Ok(())
        })
    }
}

impl Transactions for MongoState {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write_all(transaction))
    }
}

impl Queries for MongoState {
    fn query<'a>(
        &'a self,
        query: &'a Query,
        _: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>> {
        Box::pin(self.find_documents(query))
    }
}

impl Listing for MongoState {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(self.list(request))
    }
}

// === impl Write ===

impl Write {
    fn set(request: &SetRequest, value: Bson) -> Result<Self, StateError> {
        request.options.check()?;
        let ttl = ttl_in_seconds(&request.metadata)?.filter(|&seconds| seconds > 0);
        let etag = id::uuid();
        let update = match ttl {
            None => Update::Members(doc! { "value": value, "_etag": etag, "_ttl": Bson::Null }),
            // The server's clock counts. What is computed would read a text with `$` as an expression.
            Some(seconds) => Update::Computed(doc! {
                "value": { "$literal": value },
                "_etag": etag,
                "_ttl": { "$add": ["$$NOW", i64::from(seconds) * 1000] },
            }),
        };
        let mut filter = doc! { "_id": &request.key };
        match &request.etag {
            Some(etag) => {
                filter.insert("_etag", etag);
            }
            // No document has it, so one that is there is in the way of the insert.
            None if request.options.is_first_write() => {
                filter.insert("_etag", id::uuid());
            }
            None => {}
        }
        Ok(Self::Set { filter, update })
    }

    fn delete(request: &DeleteRequest) -> Self {
        let mut filter = doc! { "_id": &request.key };
        if let Some(etag) = &request.etag {
            filter.insert("_etag", etag);
        }
        Self::Delete {
            filter,
            must_exist: request.etag.is_some(),
        }
    }

    async fn send(
        &self,
        collection: &Collection<Document>,
        session: Option<&mut ClientSession>,
    ) -> Result<(), Error> {
        match self {
            Self::Set { filter, update } => {
                let sent = match update {
                    Update::Members(members) => {
                        collection.update_one(filter.clone(), doc! { "$set": members.clone() })
                    }
                    Update::Computed(members) => {
                        collection.update_one(filter.clone(), vec![doc! { "$set": members.clone() }])
                    }
                };
                let sent = sent.upsert(true);
                match session {
                    Some(session) => sent.session(session).await?,
                    None => sent.await?,
                };
                Ok(())
            }
            Self::Delete { filter, must_exist } => {
                let sent = collection.delete_one(filter.clone());
                let outcome = match session {
                    Some(session) => sent.session(session).await?,
                    None => sent.await?,
                };
                match outcome.deleted_count {
                    0 if *must_exist => Err(Error::custom(Mismatch)),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// A filter that leaves out what has expired, by the server's clock.
fn alive(mut filter: Document) -> Document {
    let later = doc! { "$expr": { "$gt": ["$_ttl", "$$NOW"] } };
    filter.insert(
        "$or",
        [
            doc! { "_ttl": { "$exists": false } },
            doc! { "_ttl": Bson::Null },
            later,
        ],
    );
    filter
}

fn item(document: &Document) -> Item {
    let mut metadata = Metadata::new();
    if let Some(expiry) = document
        .get_datetime("_ttl")
        .ok()
        .copied()
        .map(DateTime::to_system_time)
    {
        metadata.insert(TTL_EXPIRE_TIME.to_owned(), time::rfc3339(expiry));
    }
    Item {
        data: Some(to_bytes(document.get("value").unwrap_or(&Bson::Null))),
        etag: document.get_str("_etag").ok().map(str::to_owned),
        metadata,
        content_type: None,
    }
}

fn other(error: &Error) -> StateError {
    StateError::other(text(error))
}

/// What an error of a write means.
fn judged(error: &Error) -> StateError {
    let is_duplicate = match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => error.get_custom::<Mismatch>().is_some(),
    };
    if is_duplicate {
        return StateError::EtagMismatch(None);
    }
    other(error)
}

/// What happened, without the answer of the server in full.
fn text(error: &Error) -> String {
    error.kind.to_string()
}
