//! `state.zookeeper`. Source: specification, state stores 13.

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::state::{
    Concurrency, DeleteRequest, GetRequest, Item, Metadata, SetRequest, StateError, StateStore,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::time::timeout;
use zookeeper_client::{Acls, CreateMode, CreateOptions, Error};

use crate::session::Session;
use crate::settings::Settings;

/// Values in nodes of ZooKeeper.
#[derive(Debug)]
pub struct ZooKeeperStore {
    session: Arc<Session>,
    prefix: String,
}

static FEATURES: [Feature; 1] = [Feature::ETAG];

/// How long an answer of the servers may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Which version of a node a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Whatever is there, or nothing.
    Any,
    /// Nothing.
    None,
    /// This one.
    Version(i32),
}

/// Begins a session and makes the node below which the values are.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let settings = Settings::parse(&init.properties)?;
    let prefix = settings.prefix.clone();
    let session = Session::begin(settings, init.condition.clone()).await?;
    if !prefix.is_empty() {
        session.client().await?.mkdir(&prefix, &persistent()).await?;
    }
    Ok(Arc::new(ZooKeeperStore { session, prefix }))
}

const fn persistent() -> CreateOptions<'static> {
    CreateMode::Persistent.with_acls(Acls::anyone_all())
}

// === impl ZooKeeperStore ===

impl ZooKeeperStore {
    fn path(&self, key: &str) -> String {
        format!("{}/{}", self.prefix, key.trim_start_matches('/'))
    }

    async fn read(&self, key: &str) -> Result<Option<Item>, Error> {
        match self.session.client().await?.get_data(&self.path(key)).await {
            Ok((data, stat)) => Ok(Some(Item {
                data: Some(data.into()),
                etag: Some(stat.version.to_string()),
                metadata: Metadata::new(),
                content_type: None,
            })),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, key: &str, value: &[u8], wanted: Wanted) -> Result<(), Error> {
        let (client, path) = (self.session.client().await?, self.path(key));
        loop {
            let written = match wanted {
                Wanted::None => Err(Error::NoNode),
                Wanted::Any => client.set_data(&path, value, None).await.map(drop),
                Wanted::Version(version) => {
                    return client.set_data(&path, value, Some(version)).await.map(drop);
                }
            };
            let Err(Error::NoNode) = written else {
                return written;
            };
            if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| *parent != self.prefix) {
                client.mkdir(parent, &persistent()).await?;
            }
            match client.create(&path, value, &persistent()).await {
                // Somebody was faster: it is overwritten, if it may be.
                Err(Error::NodeExists) if wanted == Wanted::Any => {}
                created => return created.map(drop),
            }
        }
    }

    async fn remove(&self, key: &str, version: Option<i32>) -> Result<(), Error> {
        match self
            .session
            .client()
            .await?
            .delete(&self.path(key), version)
            .await
        {
            Err(Error::NoNode) if version.is_none() => Ok(()),
            deleted => deleted,
        }
    }
}

impl StateStore for ZooKeeperStore {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(async move { in_time(self.read(&request.key)).await })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            request.options.check()?;
            let wanted = match (
                version(request.etag.as_deref(), &request.options.concurrency)?,
                &request.options,
            ) {
                (Some(version), _) => Wanted::Version(version),
                (None, options) if options.is_first_write() => Wanted::None,
                (None, _) => Wanted::Any,
            };
            let value = request.value.to_plain_bytes();
            in_time(self.write(&request.key, &value, wanted)).await
        })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            request.options.check()?;
            let version = version(request.etag.as_deref(), &request.options.concurrency)?;
            in_time(self.remove(&request.key, version)).await
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            timeout(ANSWER, async {
                self.session.client().await?.check_stat("/").await
            })
            .await??;
            Ok(())
        })
    }
}

/// The version that a request names; whoever wants to be the last names none.
fn version(etag: Option<&str>, concurrency: &Concurrency) -> Result<Option<i32>, StateError> {
    let Some(etag) = etag.filter(|_| *concurrency != Concurrency::LastWrite) else {
        return Ok(None);
    };
    let version = etag.parse().ok().filter(|version| *version >= 0);
    version.map(Some).ok_or(StateError::EtagInvalid(None))
}

/// Waits for an answer as long as a caller may wait, and says what it means for the tag.
async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, StateError> {
    match timeout(ANSWER, call).await.unwrap_or(Err(Error::Timeout)) {
        Ok(done) => Ok(done),
        Err(error @ (Error::BadVersion | Error::NodeExists | Error::NoNode)) => {
            Err(StateError::mismatch(error))
        }
        Err(error) => Err(StateError::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::conformance::{
        self,
        state::{Refusal, Traits, run},
    };
    use outrigger_test_kit::servers::ZooKeeper;
    use outrigger_test_kit::until;
    use serde_json::json;
    use zookeeper_client::Client;

    use super::*;

    async fn store(server: &ZooKeeper, prefix: &str) -> Arc<dyn StateStore> {
        let address = server.server.address();
        let settings = [
            ("servers", address.as_str()),
            ("sessionTimeout", "5s"),
            ("keyPrefixPath", prefix),
        ];
        make(conformance::init(settings)).await.unwrap()
    }

    /// What a path may have.
    fn is_carried(key: &str) -> bool {
        // No control characters, and none that take two units in UTF-16.
        let refused = |character: char| character.is_control() || character > '\u{efff}';
        !key.contains(refused)
            && !key.contains("//")
            && !key.ends_with('/')
            && key.split('/').all(|part| part != "." && part != "..")
    }

    fn plain(text: &str) -> String {
        text.replace("\\u003c", "<")
            .replace("\\u003e", ">")
            .replace("\\u0026", "&")
    }

    #[tokio::test]
    async fn it_is_a_state_store() {
        let Some(server) = ZooKeeper::start().await.unwrap() else {
            return;
        };
        let traits = Traits {
            features: &["ETAG"],
            accepts_key: is_carried,
            // A request is at most 1 MiB, its head included.
            largest_value: 512 << 10,
            json: plain,
            unreadable_etag: Refusal::Invalid,
            shows_expiry: false,
            ..Traits::new("state.zookeeper")
        };
        for prefix in ["", "dapr/states"] {
            run(store(&server, prefix).await, traits.clone()).await;
        }
    }

    #[tokio::test]
    async fn a_key_is_a_node_and_its_version_the_tag() {
        let Some(server) = ZooKeeper::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "/dapr").await;
        for text in ["first", "second"] {
            store.set(&SetRequest::new("app||k", json!(text))).await.unwrap();
        }
        let client = Client::connect(&server.server.address()).await.unwrap();
        let (data, stat) = client.get_data("/dapr/app||k").await.unwrap();
        assert_eq!(data, b"\"second\"");
        let item = store.get(&GetRequest::new("app||k")).await.unwrap().unwrap();
        assert_eq!(item.etag.unwrap(), stat.version.to_string());
    }

    #[tokio::test]
    async fn a_session_that_is_over_is_begun_anew() {
        let Some(mut server) = ZooKeeper::start().await.unwrap() else {
            return;
        };
        let store = store(&server, "").await;
        store.set(&SetRequest::new("k", json!("kept"))).await.unwrap();
        server.server.kill().await.unwrap();
        server.server.restart().await.unwrap();
        let item = until("the value to be read again", async || {
            store.get(&GetRequest::new("k")).await.ok().flatten()
        });
        assert_eq!(item.await.unwrap().data.unwrap(), "\"kept\"");
    }
}
