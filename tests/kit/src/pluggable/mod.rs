//! A pluggable component: a process's worth of stores behind a Unix socket, in the test program.
//!
//! It keeps values in memory, one set for each component that calls it, with tags and transactions, and secrets that
//! the test gives it. Any method can be told to fail. It describes itself by server reflection v1alpha, which is
//! what the SDKs for components serve.

mod refusal;
mod secrets;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use outrigger_api::DESCRIPTORS;
use outrigger_api::components::QueryResponse;
use outrigger_api::components::queriable_state_store_server::QueriableStateStoreServer;
use outrigger_api::components::secret_store_server::SecretStoreServer;
use outrigger_api::components::state_store_server::StateStoreServer;
use outrigger_api::components::transactional_state_store_server::TransactionalStateStoreServer;
use outrigger_api::components::transactional_store_multi_max_size_server::TransactionalStoreMultiMaxSizeServer;
use prost::Message;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::{Request, Status};
use tonic_reflection::server::Builder;

pub use self::refusal::Refusal;
use crate::Result;

/// A running component.
#[derive(Debug)]
pub struct PluggableComponent {
    socket: PathBuf,
    books: Books,
    /// The server; none while it is stopped.
    task: Option<AbortOnDropHandle<()>>,
}

/// A call that a component received.
#[derive(Clone, Debug)]
pub struct PluggableCall {
    /// `<Service>/<Method>`.
    pub method: &'static str,
    /// The component that the call was meant for, if it said so.
    pub instance: Option<String>,
    message: Vec<u8>,
}

/// All that a component knows. Clones share it.
#[derive(Clone, Debug)]
struct Books(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    features: Vec<String>,
    max_size: Option<i64>,
    /// Values of the components that call, by component and key.
    values: BTreeMap<String, BTreeMap<String, Stored>>,
    written: u64,
    secrets: HashMap<String, HashMap<String, String>>,
    found: QueryResponse,
    refusals: HashMap<&'static str, Refusal>,
    calls: Vec<PluggableCall>,
}

#[derive(Clone, Debug, Default)]
struct Stored {
    value: bytes::Bytes,
    etag: String,
    content_type: String,
}

const SERVICES: [&str; 6] = [
    "dapr.proto.components.v1.StateStore",
    "dapr.proto.components.v1.TransactionalStateStore",
    "dapr.proto.components.v1.QueriableStateStore",
    "dapr.proto.components.v1.TransactionalStoreMultiMaxSize",
    "dapr.proto.components.v1.SecretStore",
    "grpc.reflection.v1alpha.ServerReflection",
];

// === impl PluggableComponent ===

impl PluggableComponent {
    /// Starts a component whose socket is `<name>.sock` in a folder. It says that it has tags and transactions.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(folder: &Path, name: &str) -> Result<Self> {
        let features = ["ETAG", "TRANSACTIONAL"].map(str::to_owned).to_vec();
        let ledger = Ledger {
            features,
            ..Ledger::default()
        };
        let mut component = Self {
            socket: folder.join(format!("{name}.sock")),
            books: Books(Arc::new(Mutex::new(ledger))),
            task: None,
        };
        component.restart()?;
        Ok(component)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it says it can do from now on.
    pub fn set_features(&self, features: &[&str]) {
        self.books.lock().features = features.iter().map(|feature| (*feature).to_owned()).collect();
    }

    /// The most operations of a transaction that it states; without it the method is not implemented.
    pub fn set_max_size(&self, max_size: i64) {
        self.books.lock().max_size = Some(max_size);
    }

    /// A secret that it knows.
    pub fn set_secret(&self, name: &str, values: &[(&str, &str)]) {
        let values = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.books
            .lock()
            .secrets
            .insert(name.to_owned(), values.collect());
    }

    /// What every query finds.
    pub fn set_found(&self, found: QueryResponse) {
        self.books.lock().found = found;
    }

    /// Has a method, such as `StateStore/Get`, fail from now on.
    pub fn refuse(&self, method: &'static str, refusal: Refusal) {
        self.books.lock().refusals.insert(method, refusal);
    }

    /// Nothing fails any more.
    pub fn forgive(&self) {
        self.books.lock().refusals.clear();
    }

    /// The calls of a method so far.
    #[must_use]
    pub fn calls(&self, method: &str) -> Vec<PluggableCall> {
        let books = self.books.lock();
        let calls = books.calls.iter().filter(|call| call.method == method);
        calls.cloned().collect()
    }

    /// Ends it as a crash does: connections break, the socket stays where it is.
    pub fn stop(&mut self) {
        self.task = None;
    }

    /// Starts it anew behind a new socket; it has its values still.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        std::fs::remove_file(&self.socket).ok();
        let listener = UnixListener::bind(&self.socket)?;
        let reflection = SERVICES.iter().fold(
            Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS),
            |builder, name| builder.with_service_name(*name),
        );
        let books = &self.books;
        let routes = Routes::new(reflection.build_v1alpha()?)
            .add_service(StateStoreServer::new(books.clone()))
            .add_service(TransactionalStateStoreServer::new(books.clone()))
            .add_service(QueriableStateStoreServer::new(books.clone()))
            .add_service(TransactionalStoreMultiMaxSizeServer::new(books.clone()))
            .add_service(SecretStoreServer::new(books.clone()))
            .prepare();
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(serve(listener, routes))));
        Ok(())
    }
}

// === impl PluggableCall ===

impl PluggableCall {
    /// The message of the call.
    ///
    /// # Errors
    /// If it is of another type.
    pub fn message<M: Message + Default>(&self) -> Result<M> {
        Ok(M::decode(self.message.as_slice())?)
    }
}

// === impl Books ===

impl Books {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a call down, and fails if it is to fail; else whom it is meant for, and its message.
    fn receive<M: Message>(&self, method: &'static str, request: Request<M>) -> Result<(String, M), Status> {
        let instance = request.metadata().get("x-component-instance");
        let instance = instance.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        let message = request.into_inner();
        let mut books = self.lock();
        books.calls.push(PluggableCall {
            method,
            instance: instance.clone(),
            message: message.encode_to_vec(),
        });
        match books.refusals.get(method) {
            Some(refusal) => Err(refusal.status()),
            None => Ok((instance.unwrap_or_default(), message)),
        }
    }
}

/// Serves connections, which end with it.
async fn serve(listener: UnixListener, routes: Routes) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(routes.clone());
        let connection = http2::Builder::new(TokioExecutor::new());
        connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}
