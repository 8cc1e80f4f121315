//! Many values at a time.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::stream::{self, StreamExt as _};
use outrigger_component::state::{BulkItem, Consistency, GetRequest, StateError, StateStore as _};

use super::{DynamoDb, failed};

/// The most keys of one question.
const MAX_KEYS: usize = 100;

/// How often what the service left out is asked for again.
const ROUNDS: usize = 10;

/// Items by key; none if the service may not be asked for many at a time.
type Found = Option<HashMap<String, HashMap<String, AttributeValue>>>;

impl DynamoDb {
    /// Reads many values, a hundred a round trip, in the order of the requests.
    ///
    /// Who may read items but not in batches reads each by itself.
    pub(super) async fn read_many(
        &self,
        requests: &[GetRequest],
        parallelism: usize,
    ) -> Result<Vec<BulkItem>, StateError> {
        let mut items = Vec::with_capacity(requests.len());
        for part in requests.chunks(MAX_KEYS) {
            match self.batch(part).await? {
                Some(mut found) => items.extend(part.iter().map(|request| {
                    let item = found.remove(&request.key);
                    BulkItem {
                        key: request.key.clone(),
                        outcome: item.map_or(Ok(None), |item| self.layout.decode(item)),
                    }
                })),
                None => items.extend(self.each(part, parallelism).await),
            }
        }
        Ok(items)
    }

    async fn batch(&self, requests: &[GetRequest]) -> Result<Found, StateError> {
        let mut found = HashMap::with_capacity(requests.len());
        let mut missing = self.question(requests)?;
        for _ in 0..ROUNDS {
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, missing)
                .send()
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if error.code() == Some("AccessDeniedException") => return Ok(None),
                Err(error) => return Err(failed("BatchGetItem", &error)),
            };
            let items = answer.responses.unwrap_or_default().remove(&self.table);
            for item in items.unwrap_or_default() {
                if let Some(key) = self.layout.key_of(&item).map(str::to_owned) {
                    found.insert(key, item);
                }
            }
            let left = answer.unprocessed_keys.unwrap_or_default().remove(&self.table);
            match left.filter(|left| !left.keys().is_empty()) {
                None => return Ok(Some(found)),
                Some(left) => missing = left,
            }
        }
        Err(StateError::other(
            "the service leaves keys of a batch out again and again",
        ))
    }

    fn question(&self, requests: &[GetRequest]) -> Result<KeysAndAttributes, StateError> {
        let keys: HashSet<_> = requests.iter().map(|request| request.key.as_str()).collect();
        let keys = keys.into_iter().map(|key| self.layout.key(key)).collect();
        let is_strong = |request: &GetRequest| request.consistency == Consistency::Strong;
        KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(requests.iter().any(is_strong))
            .build()
            .map_err(StateError::other)
    }

    async fn each(&self, requests: &[GetRequest], parallelism: usize) -> Vec<BulkItem> {
        let answers: Vec<_> = requests.iter().map(|request| self.alone(request)).collect();
        let at_once = if parallelism == 0 { MAX_KEYS } else { parallelism };
        stream::iter(answers).buffered(at_once).collect().await
    }

    async fn alone(&self, request: &GetRequest) -> BulkItem {
        BulkItem {
            key: request.key.clone(),
            outcome: self.get(request).await,
        }
    }
}
