//! What the benches measure of the inside of this crate; it exists only with the feature `bench`, and no
//! program may rest on it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Method};
use outrigger_component::Feature;
use outrigger_component::state::{DeleteRequest, GetRequest, Item, SetRequest, StateError, StateStore};
use outrigger_config::configuration::{self, Configuration};
use outrigger_config::daprd::AppProtocol;
use outrigger_link::Verb;
use outrigger_resilience::Policies;
use outrigger_svc::{Body, BoxFuture};
use outrigger_telemetry::metrics::Metrics;

use crate::access::{AccessControl, Protocol, Subject, naive};
use crate::blocks::BuildingBlocks;
use crate::components::Stores;
use crate::crypto::key_name;
use crate::http_api::{ApiRules, Blocks, Operation, Port, Router};
use crate::invoke::Target;
use crate::state::{KeyPrefix, Store};

/// The routes of the HTTP API, all allowed.
#[derive(Debug)]
pub struct ApiRouter(Router);

/// Compiled access control of an HTTP or gRPC app, and the rules that it was compiled from.
#[derive(Debug)]
pub struct Access {
    compiled: AccessControl,
    section: configuration::AccessControl,
    is_http: bool,
    metrics: Metrics,
}

/// The state block behind the HTTP API, with the store `store`, which has one value and takes any.
#[derive(Debug)]
pub struct StateBlock(Blocks);

/// A store that costs nothing.
#[derive(Debug)]
struct Instant(Bytes);

// === impl StateBlock ===

impl StateBlock {
    /// A block whose store has this value under every key.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn new(value: Bytes, metrics: &Metrics) -> Self {
        let stores = Stores::default();
        let store = Store {
            name: "store".to_owned(),
            component: Arc::new(Instant(value)),
            prefix: KeyPrefix::new(None, "store", "caller", "").expect("there is no prefix"),
            keys: None,
        };
        stores.state.insert("store", &Arc::new(store));
        let (app_id, configuration) = ("caller".into(), Configuration::default());
        let policies = Policies::default();
        Self(Blocks {
            building_blocks: BuildingBlocks::new(&app_id, &stores, &configuration, None, &policies, metrics),
            app_id,
            namespace: "default".into(),
        })
    }

    /// Status and number of bytes of the answer to the read of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> (u16, u64) {
        self.answer(
            Operation::GetState,
            vec!["store".to_owned(), key.to_owned()],
            Bytes::new(),
        )
    }

    /// Status and number of bytes of the answer to a save.
    #[must_use]
    pub fn save(&self, body: Bytes) -> (u16, u64) {
        self.answer(Operation::SaveState, vec!["store".to_owned()], body)
    }

    fn answer(&self, operation: Operation, values: Vec<String>, body: Bytes) -> (u16, u64) {
        let request = http::Request::new(Body::from(body));
        let answer = self.0.answer(operation, values, request).now_or_never();
        let response = answer.expect("nothing waits").expect("nothing fails");
        let size = http_body::Body::size_hint(response.body()).lower();
        (response.status().as_u16(), size)
    }
}

// === impl Instant ===

impl StateStore for Instant {
    fn features(&self) -> &[Feature] {
        &[]
    }

    fn get<'a>(&'a self, _: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        let item = Item {
            data: Some(self.0.clone()),
            etag: Some("1".to_owned()),
            ..Item::default()
        };
        Box::pin(std::future::ready(Ok(Some(item))))
    }

    fn set<'a>(&'a self, _: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn delete<'a>(&'a self, _: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

// === impl Access ===

impl Access {
    /// Compiles a section for an app.
    ///
    /// # Panics
    /// If a policy lacks what tells whom it is for.
    #[must_use]
    pub fn new(section: configuration::AccessControl, is_http: bool) -> Self {
        let protocol = if is_http {
            AppProtocol::Http
        } else {
            AppProtocol::Grpc
        };
        Self {
            compiled: AccessControl::compile(Some(&section), protocol).expect("the policies are complete"),
            section,
            is_http,
            metrics: Metrics::disabled(),
        }
    }

    /// Counts decisions as a sidecar does.
    #[must_use]
    pub fn counted(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Whether the peer may call; without a verb the call is one of gRPC.
    #[must_use]
    pub fn permits(&self, peer: Option<&str>, operation: &str, verb: Option<Verb>) -> bool {
        let subject = Subject {
            peer,
            operation,
            protocol: verb.map_or(Protocol::Grpc, Protocol::Http),
        };
        self.compiled.permit(subject, &self.metrics).is_ok()
    }

    /// The same by the slow and simple reading of the rules; the peer by trust domain, namespace and app id.
    #[must_use]
    pub fn permits_naively(
        &self,
        peer: Option<(&str, &str, &str)>,
        operation: &str,
        verb: Option<Verb>,
    ) -> bool {
        naive::allows(&self.section, self.is_http, peer, operation, verb).unwrap_or(true)
    }
}

// === impl ApiRouter ===

impl ApiRouter {
    /// Builds the tree of routes.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "nobody wants the default of a bench")]
    pub fn new() -> Self {
        Self(Router::new(&ApiRules::default(), Port::Api))
    }

    /// Whether a request of this method and cleaned path has a route.
    #[must_use]
    pub fn finds(&self, method: &Method, path: &str) -> bool {
        self.0.find(method, path).is_ok()
    }
}

/// The name of the key that opens a document which comes in pieces of a size.
///
/// # Errors
/// What is wrong with its header.
pub fn document_key_name(document: &[u8], piece: usize) -> Result<String, String> {
    key_name(document, piece).map_err(|error| error.to_string())
}

/// The id and the method that a request names, from its escaped path and its headers.
#[must_use]
pub fn target<'a>(escaped_path: &'a str, headers: &HeaderMap) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let target = Target::of(escaped_path, headers).ok().flatten()?;
    Some((target.id, target.method))
}
