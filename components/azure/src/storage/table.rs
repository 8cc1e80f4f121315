//! State in the entities of a table: one a key.
//!
//! Source: specification, state stores 13.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH};
use http::{HeaderValue, Method, StatusCode};
use outrigger_component::state::{DeleteRequest, GetRequest, Item, SetRequest, StateError, StateStore};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use serde_json::{Value, json};
use tokio::time::timeout_at;

use super::account::{Account, Place};
use super::names::{encoded, failed, parts, told};
use crate::service::{Answer, Ask, Patience};

/// Keeps state in the entities of a table.
#[derive(Debug)]
pub struct TableStorage {
    account: Account,
    endpoint: String,
    table: String,
    /// What the row of a key of one part is: Cosmos DB has no empty names.
    empty_row: &'static str,
}

static FEATURES: [Feature; 1] = [Feature::ETAG];

const TABLE: &[&str] = &["tableName", "table", "storageAccountTable"];

/// The property with the value.
const VALUE: &str = "Value";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN_JSON: HeaderValue = HeaderValue::from_static("application/json;odata=nometadata");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Reads the settings, and makes the table unless they say otherwise.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let connect = TableStorage::connect(&init);
    let store = timeout_at(init.deadline, connect).await;
    Ok(Arc::new(store.map_err(|_| "context deadline exceeded")??))
}

// === impl TableStorage ===

impl TableStorage {
    pub(super) async fn connect(init: &Init) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let table = fields.text_of(TABLE).filter(|text| !text.is_empty());
        let table = table.ok_or("missing or empty tableName field from metadata")?;
        let place = Place::read(&fields, init, "table", Patience::default())?;
        let is_cosmos = fields.boolean("cosmosDbMode") == Some(true);
        let store = Self {
            endpoint: place.endpoint,
            account: place.account,
            table: table.to_owned(),
            empty_row: if is_cosmos {
                "_dapr_empty_row_key_value_"
            } else {
                ""
            },
        };
        if fields.boolean("skipCreateTable") != Some(true) {
            store.create().await?;
        }
        Ok(store)
    }

    /// Makes the table; one that is there is left as it is.
    async fn create(&self) -> Result<(), BoxError> {
        let body = json!({ "TableName": self.table });
        let answer = self.send(Method::POST, "Tables", Some(&body), None).await?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            _ => Err(format!("error creating the table: {}", told(&answer)).into()),
        }
    }

    async fn read(&self, request: &GetRequest) -> Result<Option<Item>, StateError> {
        let answer = self
            .send(Method::GET, &self.entity(&request.key), None, None)
            .await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(failed(&answer));
        }
        let mut entity: Value = serde_json::from_slice(answer.body()).map_err(StateError::other)?;
        let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
        let data = match entity[VALUE].take() {
            Value::Null => None,
            Value::String(text) => Some(Bytes::from(text)),
            other => Some(Bytes::from(other.to_string())),
        };
        Ok(Some(Item {
            data,
            etag: etag.map(str::to_owned),
            ..Item::default()
        }))
    }

    /// Adds the entity; where there is one already, replaces it as the request allows.
    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let (partition, row) = self.names(&request.key);
        let value = String::from_utf8_lossy(request.value.as_bytes());
        let entity = json!({ "PartitionKey": partition, "RowKey": row, VALUE: value });
        let answer = self.send(Method::POST, &self.table, Some(&entity), None).await?;
        match answer.status() {
            status if status.is_success() => return Ok(()),
            StatusCode::CONFLICT => {}
            _ => return Err(failed(&answer)),
        }
        let condition = match &request.etag {
            Some(etag) => tag(etag)?,
            None if request.options.is_first_write() => {
                return Err(StateError::mismatch(
                    "update with Concurrency.FirstWrite without ETag",
                ));
            }
            None => ANY,
        };
        let entity = Some(&entity);
        let answer = self
            .send(Method::PUT, &self.entity(&request.key), entity, Some(condition))
            .await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND if request.etag.is_some() => {
                Err(StateError::mismatch(told(&answer)))
            }
            _ => Err(failed(&answer)),
        }
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        let condition = request.etag.as_deref().map_or(Ok(ANY), tag)?;
        let answer = self
            .send(Method::DELETE, &self.entity(&request.key), None, Some(condition))
            .await?;
        match (answer.status(), &request.etag) {
            (status, _) if status.is_success() => Ok(()),
            (_, Some(_)) => Err(StateError::mismatch(told(&answer))),
            (StatusCode::NOT_FOUND, None) => Ok(()),
            _ => Err(failed(&answer)),
        }
    }

    /// Partition and row of a key.
    fn names<'a>(&self, key: &'a str) -> (&'a str, &'a str) {
        match parts(key) {
            (partition, Some(row)) if !row.is_empty() => (partition, row),
            (partition, _) => (partition, self.empty_row),
        }
    }

    /// The path of a key's entity.
    fn entity(&self, key: &str) -> String {
        let (partition, row) = self.names(key);
        let quoted = |text: &str| encoded(&text.replace('\'', "''"));
        let (partition, row) = (quoted(partition), quoted(row));
        format!("{}(PartitionKey='{partition}',RowKey='{row}')", self.table)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        condition: Option<HeaderValue>,
    ) -> Result<Answer, StateError> {
        let mut ask = Ask::new(method, format!("{}/{path}", self.endpoint));
        ask.headers.insert(ACCEPT, PLAIN_JSON);
        if let Some(body) = body {
            ask.headers.insert(CONTENT_TYPE, JSON);
            ask.body = Bytes::from(body.to_string());
        }
        if let Some(condition) = condition {
            ask.headers.insert(IF_MATCH, condition);
        }
        self.account.send(ask).await.map_err(StateError::Other)
    }
}

impl StateStore for TableStorage {
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

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let path = format!("{}?$top=1", self.table);
            let answer = self.send(Method::GET, &path, None, None).await?;
            match answer.status().is_success() {
                true => Ok(()),
                false => Err(told(&answer).into()),
            }
        })
    }
}

/// A tag as the service writes them; it takes others for a malformed request.
fn tag(etag: &str) -> Result<HeaderValue, StateError> {
    let is_quoted = etag.trim_start_matches("W/").starts_with('"') && etag.ends_with('"');
    let value = HeaderValue::from_str(etag)
        .ok()
        .filter(|_| is_quoted || etag == "*");
    value.ok_or_else(|| StateError::mismatch("the etag is none of the table"))
}
