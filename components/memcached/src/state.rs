//! `state.memcached`. Source: specification, state stores 13.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::try_join_all;
use outrigger_component::state::{
    BulkItem, DeleteRequest, GetRequest, Item, Metadata, SetRequest, StateError, StateStore, TTL_IN_SECONDS,
};
use outrigger_component::{Feature, Init};
use outrigger_kit::number;
use outrigger_svc::{BoxError, BoxFuture};

use crate::servers::{Call, CallError, Servers};
use crate::settings::Settings;

/// Values in memcached.
#[derive(Debug)]
pub struct MemcachedStore(Servers);

static FEATURES: [Feature; 1] = [Feature::TTL];

/// From this on a number of seconds is a moment for the server.
const THIRTY_DAYS: i64 = 30 * 24 * 60 * 60;

/// Asks all servers whether they are there.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let store = MemcachedStore(Servers::new(&Settings::parse(&init.properties)?));
    store.ping_all().await?;
    Ok(Arc::new(store))
}

// === impl MemcachedStore ===

impl MemcachedStore {
    async fn ping_all(&self) -> Result<(), CallError> {
        try_join_all(self.0.all().iter().map(|server| server.call(Call::Version))).await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Option<Item>, StateError> {
        let values = self.0.of(key)?.call(Call::Get(&[key])).await?;
        let found = values.into_iter().find(|(found, _)| found == key);
        Ok(found.map(|(_, value)| item(value)))
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let call = Call::Set {
            key: &request.key,
            value: &request.value.to_plain_bytes(),
            expiry: expiry(&request.metadata)?,
        };
        self.0.of(&request.key)?.call(call).await?;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<(), StateError> {
        self.0.of(key)?.call(Call::Delete(key)).await?;
        Ok(())
    }

    /// Reads several values, in one call of each server that has some of them.
    async fn read_several(&self, requests: &[GetRequest]) -> Result<Vec<BulkItem>, StateError> {
        let mut keys: Vec<Vec<&str>> = vec![Vec::new(); self.0.all().len()];
        for request in requests {
            if self.0.of(&request.key).is_ok() {
                keys[self.0.number_of(&request.key)].push(&request.key);
            }
        }
        let asked = self
            .0
            .all()
            .iter()
            .zip(&keys)
            .filter(|(_, keys)| !keys.is_empty());
        let answers = try_join_all(asked.map(|(server, keys)| server.call(Call::Get(keys)))).await?;
        let found: HashMap<_, _> = answers.into_iter().flatten().collect();
        let answers = requests.iter().map(|request| BulkItem {
            key: request.key.clone(),
            outcome: match self.0.of(&request.key) {
                Ok(_) => Ok(found.get(&request.key).cloned().map(item)),
                Err(error) => Err(error.into()),
            },
        });
        Ok(answers.collect())
    }
}

impl StateStore for MemcachedStore {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.read(&request.key))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.remove(&request.key))
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(self.read_several(requests))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async { Ok(self.ping_all().await?) })
    }
}

fn item(value: Bytes) -> Item {
    Item {
        data: Some(value),
        etag: None,
        metadata: Metadata::new(),
        content_type: None,
    }
}

/// When a value expires in the server's own terms: 0 is never, a month or more is a moment.
fn expiry(metadata: &Metadata) -> Result<i64, StateError> {
    let Some(text) = metadata.get(TTL_IN_SECONDS).filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let seconds = number::atoi(text).map_err(|error| {
        StateError::other(format!(
            "error parsing TTL: incorrect value for metadata '{TTL_IN_SECONDS}': {error}"
        ))
    })?;
    Ok(match seconds {
        ..=0 => 0,
        1..THIRTY_DAYS => seconds,
        _ => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            seconds.saturating_add(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
        }
    })
}

#[cfg(test)]
mod tests {
    use outrigger_component::conformance::{self, state::Traits, state::run};
    use outrigger_test_kit::servers::Memcached;
    use outrigger_test_kit::{free_port, until};
    use serde_json::json;

    use super::*;

    fn timed(seconds: &str) -> Metadata {
        Metadata::from([(TTL_IN_SECONDS.to_owned(), seconds.to_owned())])
    }

    fn is_carried(key: &str) -> bool {
        key.len() <= 250 && key.bytes().all(|byte| byte > b' ' && byte != 0x7f)
    }

    fn plain(text: &str) -> String {
        text.replace("\\u003c", "<")
            .replace("\\u003e", ">")
            .replace("\\u0026", "&")
    }

    fn traits() -> Traits {
        Traits {
            features: &["TTL"],
            accepts_key: is_carried,
            json: plain,
            checks_options: false,
            shows_expiry: false,
            ..Traits::new("state.memcached")
        }
    }

    #[tokio::test]
    async fn it_is_a_state_store_on_one_server_and_on_several() {
        let Some(first) = Memcached::start().await.unwrap() else {
            return;
        };
        let Some(second) = Memcached::start().await.unwrap() else {
            return;
        };
        let (first, second) = (first.server.address(), second.server.address());
        let several = format!("{first},{second}");
        for hosts in [first.as_str(), several.as_str()] {
            let store = make(conformance::init([("hosts", hosts)])).await.unwrap();
            run(store, traits()).await;
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_is_replaced() {
        let Some(mut memcached) = Memcached::start().await.unwrap() else {
            return;
        };
        let address = memcached.server.address();
        let store = make(conformance::init([("hosts", address.as_str())]))
            .await
            .unwrap();
        store.set(&SetRequest::new("k", json!(1))).await.unwrap();
        memcached.server.kill().await.unwrap();
        let error = store.get(&GetRequest::new("k")).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{address}: ")), "{error}");
        memcached.server.restart().await.unwrap();
        let empty = until("the server to be used again", async || {
            store.get(&GetRequest::new("k")).await.ok()
        });
        assert_eq!(empty.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_store_needs_its_servers() {
        let closed = format!("127.0.0.1:{}", free_port().unwrap());
        let error = make(conformance::init([("hosts", closed.as_str())]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }

    #[test]
    fn a_month_or_more_is_a_moment() {
        for (text, expected) in [("1", 1), ("0", 0), ("-1", 0), ("-99", 0), ("2591999", 2_591_999)] {
            assert_eq!(expiry(&timed(text)).unwrap(), expected, "{text}");
        }
        assert_eq!(expiry(&Metadata::new()).unwrap(), 0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let moment = expiry(&timed("2592000")).unwrap();
        assert!((now + THIRTY_DAYS..now + THIRTY_DAYS + 60).contains(&moment));
        assert_eq!(
            expiry(&timed("soon")).unwrap_err().to_string(),
            "error parsing TTL: incorrect value for metadata 'ttlInSeconds': \
             strconv.Atoi: parsing \"soon\": invalid syntax"
        );
    }
}
