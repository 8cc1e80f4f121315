//! `state.etcd`. Source: specification, state stores 12.

mod listing;
#[cfg(test)]
mod tests;
mod value;
mod write;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use outrigger_component::state::{
    BulkItem, DeleteRequest, GetRequest, Item, KeysLike, KeysPage, Like, Listing, SetRequest, StateError,
    StateStore, Transaction, Transactions,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};

use self::listing::Token;
use self::value::Layout;
use self::write::Write;
use crate::client::{Client, key_request};
use crate::generated::etcdserverpb::request_op::Request;
use crate::generated::etcdserverpb::response_op::Response;
use crate::generated::etcdserverpb::{RangeRequest, RequestOp, TxnRequest};
use crate::settings::Settings;

/// Values in etcd.
#[derive(Debug)]
pub struct EtcdStore {
    client: Client,
    layout: Layout,
    /// What all keys begin with, the slash behind it included.
    prefix: String,
    max_operations: usize,
}

static FEATURES: [Feature; 4] = [
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::TTL,
    Feature::KEYS_LIKE,
];

/// A store of the first version; nothing is asked of etcd yet.
pub(crate) async fn make_v1(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    Ok(Arc::new(EtcdStore::new(&init, Layout::V1)?))
}

/// A store of the second version; nothing is asked of etcd yet.
pub(crate) async fn make_v2(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    Ok(Arc::new(EtcdStore::new(&init, Layout::V2)?))
}

// === impl EtcdStore ===

impl EtcdStore {
    fn new(init: &Init, layout: Layout) -> Result<Self, BoxError> {
        let settings = Settings::parse(&init.properties)?;
        Ok(Self {
            client: Client::new(&settings)?,
            layout,
            prefix: format!("{}/", settings.key_prefix),
            max_operations: settings.max_operations,
        })
    }

    fn stored_key(&self, key: &str) -> Bytes {
        Bytes::from(format!("{}{key}", self.prefix))
    }

    async fn read(&self, key: &str) -> Result<Option<Item>, StateError> {
        let answer = self.client.range(key_request(self.stored_key(key))).await?;
        let found = answer.kvs.into_iter().next();
        found.map(|found| self.layout.item(found)).transpose()
    }

    /// Reads several keys in one call.
    async fn read_several(&self, requests: &[GetRequest]) -> Result<Vec<BulkItem>, StateError> {
        let looks = requests.iter().map(|request| RequestOp {
            request: Some(Request::RequestRange(key_request(self.stored_key(&request.key)))),
        });
        let transaction = TxnRequest {
            success: looks.collect(),
            ..TxnRequest::default()
        };
        let answer = self.client.transact(transaction).await?;
        let found = answer
            .responses
            .into_iter()
            .map(|response| match response.response {
                Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
                _ => None,
            });
        let answers = requests.iter().zip(found).map(|(request, found)| BulkItem {
            key: request.key.clone(),
            outcome: found.map(|found| self.layout.item(found)).transpose(),
        });
        Ok(answers.collect())
    }

    /// Does all writes or none.
    async fn write(&self, writes: &[Write<'_>]) -> Result<(), StateError> {
        let leases = self.grant(writes).await?;
        let encode = |value: &_, seconds| self.layout.encode(value, seconds);
        let request = write::transaction(writes, |key| self.stored_key(key), encode, &leases);
        let answer = self.client.transact(request).await?;
        if answer.succeeded {
            return Ok(());
        }
        // One that cannot be given back ends by itself.
        join_all(leases.into_values().map(|lease| self.client.revoke(lease))).await;
        Err(write::conflict(writes, answer))
    }

    /// A lease for each of the times that values live.
    async fn grant(&self, writes: &[Write<'_>]) -> Result<HashMap<i64, i64>, StateError> {
        let mut leases = HashMap::new();
        for seconds in writes.iter().filter_map(|write| write.seconds) {
            if let Entry::Vacant(entry) = leases.entry(seconds) {
                entry.insert(self.client.grant(seconds).await?);
            }
        }
        Ok(leases)
    }

    async fn list(&self, request: &KeysLike) -> Result<KeysPage, StateError> {
        let like = Like::parse(&request.pattern)?;
        let token = request.token.as_deref().filter(|token| !token.is_empty());
        let token = token.map(Token::parse).transpose()?;
        let begin = format!("{}{}", self.prefix, like.prefix());
        let answer = self
            .client
            .range(RangeRequest {
                range_end: end_of(begin.as_bytes()),
                keys_only: true,
                revision: token.map_or(0, |token| token.snapshot),
                min_create_revision: token.map_or(0, |token| token.first()),
                ..key_request(begin.into())
            })
            .await?;
        let now = answer.header.map_or(0, |header| header.revision);
        let snapshot = token.map_or(now, |token| token.snapshot);
        let found = answer.kvs.into_iter().filter_map(|found| {
            let name = std::str::from_utf8(&found.key).ok()?;
            let name = name.strip_prefix(&self.prefix)?.to_owned();
            like.matches(&name).then_some((found, name))
        });
        Ok(listing::page(found.collect(), token, snapshot, request.page_size))
    }
}

impl StateStore for EtcdStore {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.read(&request.key))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.write(&[Write::set(request)?]).await })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.write(&[Write::delete(request)?]).await })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(async {
            let mut answers = Vec::with_capacity(requests.len());
            for chunk in requests.chunks(self.max_operations) {
                answers.extend(self.read_several(chunk).await?);
            }
            Ok(answers)
        })
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let request = RangeRequest {
                count_only: true,
                ..key_request(self.stored_key("ping"))
            };
            self.client.range(request).await?;
            Ok(())
        })
    }
}

impl Transactions for EtcdStore {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            let writes = transaction.operations.iter().map(Write::operation);
            let writes: Vec<_> = writes.collect::<Result<_, _>>()?;
            match writes.is_empty() {
                true => Ok(()),
                false => self.write(&writes).await,
            }
        })
    }

    fn max_operations(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(std::future::ready(Some(self.max_operations)))
    }
}

impl Listing for EtcdStore {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(self.list(request))
    }
}

/// The first key behind all that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end.into();
        }
    }
    // There is none: to the end of all keys.
    Bytes::from_static(b"\0")
}
