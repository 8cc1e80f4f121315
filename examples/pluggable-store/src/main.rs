//! A state store in a process of its own: a complete pluggable component, to start others from.
//!
//! It listens on `shelf.sock` in the folder of sockets, so sidecars that start later know the type `state.shelf`.
//! Values are kept in memory, with tags (`ETAG`) and transactions (`TRANSACTIONAL`).
//!
//! ```text
//! cargo run -p outrigger-example-store
//! outrigger daprd --app-id reader --resources-path examples/pluggable-store/resources
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_api::components::state_store_server::{StateStore, StateStoreServer};
use outrigger_api::components::transactional_state_operation::Request as Operation;
use outrigger_api::components::transactional_state_store_server::{
    TransactionalStateStore, TransactionalStateStoreServer,
};
use outrigger_api::components::{self as wire, TransactionalStateRequest as Transaction};
use outrigger_api::rpc::{self, BadRequest, bad_request::FieldViolation};
use outrigger_api::{Any, DESCRIPTORS};
use prost::Message as _;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

/// Values and the numbers of their writes, by component and key. Clones share them.
#[derive(Clone, Debug, Default)]
struct Shelves(Arc<Mutex<HashMap<String, Shelf>>>);

#[derive(Clone, Debug, Default)]
struct Shelf {
    items: HashMap<String, (tonic::codegen::Bytes, u64)>,
    writes: u64,
}

type Answer<T> = Result<Response<T>, Status>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::var_os("DAPR_COMPONENTS_SOCKETS_FOLDER")
        .map_or_else(|| PathBuf::from("/tmp/dapr-components-sockets"), PathBuf::from);
    let socket = folder.join("shelf.sock");
    std::fs::create_dir_all(&folder)?;
    std::fs::remove_file(&socket).ok(); // Of an earlier run.
    let listener = UnixListener::bind(&socket)?;
    println!("listening on {}", socket.display());

    // Sidecars ask by this version of reflection what a component serves.
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .with_service_name("dapr.proto.components.v1.StateStore")
        .with_service_name("dapr.proto.components.v1.TransactionalStateStore")
        .build_v1alpha()?;
    let shelves = Shelves::default();
    Server::builder()
        .add_service(reflection)
        .add_service(StateStoreServer::new(shelves.clone()))
        .add_service(TransactionalStateStoreServer::new(shelves))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await?;
    Ok(())
}

// === impl Shelves ===

impl Shelves {
    /// Works on the shelf of the component that a call is meant for.
    fn with<M, T>(&self, request: Request<M>, work: impl FnOnce(&mut Shelf, M) -> T) -> T {
        let name = request.metadata().get("x-component-instance");
        let name = name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shelf = shelves.entry(name.unwrap_or_default()).or_default();
        work(shelf, request.into_inner())
    }

    fn change<M, T: Default>(&self, request: Request<M>, to: impl FnOnce(M) -> Vec<Operation>) -> Answer<T> {
        self.with(request, |shelf, message| shelf.change(to(message)))?;
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl StateStore for Shelves {
    async fn init(&self, _: Request<wire::InitRequest>) -> Answer<wire::InitResponse> {
        // The settings of the component are in `metadata.properties`; this store has no use for them.
        Ok(Response::new(wire::InitResponse {}))
    }

    async fn features(&self, _: Request<wire::FeaturesRequest>) -> Answer<wire::FeaturesResponse> {
        let features = ["ETAG", "TRANSACTIONAL"].map(str::to_owned).into();
        Ok(Response::new(wire::FeaturesResponse { features }))
    }

    async fn get(&self, request: Request<wire::GetRequest>) -> Answer<wire::GetResponse> {
        Ok(Response::new(
            self.with(request, |shelf, get| shelf.get(&get.key)),
        ))
    }

    async fn set(&self, request: Request<wire::SetRequest>) -> Answer<wire::SetResponse> {
        self.change(request, |set| vec![Operation::Set(set)])
    }

    async fn delete(&self, request: Request<wire::DeleteRequest>) -> Answer<wire::DeleteResponse> {
        self.change(request, |delete| vec![Operation::Delete(delete)])
    }

    async fn ping(&self, _: Request<wire::PingRequest>) -> Answer<wire::PingResponse> {
        Ok(Response::new(wire::PingResponse {}))
    }

    async fn bulk_get(&self, request: Request<wire::BulkGetRequest>) -> Answer<wire::BulkGetResponse> {
        let items = self.with(request, |shelf, bulk| {
            let item = |get: wire::GetRequest| wire::BulkStateItem {
                data: shelf.get(&get.key).data,
                etag: shelf.get(&get.key).etag,
                key: get.key,
                ..Default::default()
            };
            bulk.items.into_iter().map(item).collect()
        });
        Ok(Response::new(wire::BulkGetResponse { items }))
    }

    async fn bulk_set(&self, request: Request<wire::BulkSetRequest>) -> Answer<wire::BulkSetResponse> {
        self.change(request, |bulk| {
            bulk.items.into_iter().map(Operation::Set).collect()
        })
    }

    async fn bulk_delete(
        &self,
        request: Request<wire::BulkDeleteRequest>,
    ) -> Answer<wire::BulkDeleteResponse> {
        self.change(request, |bulk| {
            bulk.items.into_iter().map(Operation::Delete).collect()
        })
    }
}

#[tonic::async_trait]
impl TransactionalStateStore for Shelves {
    async fn transact(&self, request: Request<Transaction>) -> Answer<wire::TransactionalStateResponse> {
        self.change(request, |transaction| {
            let operations = transaction.operations.into_iter();
            operations.filter_map(|operation| operation.request).collect()
        })
    }
}

// === impl Shelf ===

impl Shelf {
    fn get(&self, key: &str) -> wire::GetResponse {
        let Some((data, write)) = self.items.get(key) else {
            return wire::GetResponse::default();
        };
        let etag = Some(wire::Etag {
            value: write.to_string(),
        });
        wire::GetResponse {
            data: data.clone(),
            etag,
            ..Default::default()
        }
    }

    /// Does all operations, or none if a tag is not that of the value.
    fn change(&mut self, operations: Vec<Operation>) -> Result<(), Status> {
        let mut next = self.clone();
        for operation in operations {
            let (key, etag, value) = match operation {
                Operation::Set(set) => (set.key, set.etag, Some(set.value)),
                Operation::Delete(delete) => (delete.key, delete.etag, None),
            };
            if etag.is_some() && etag != next.get(&key).etag {
                return Err(etag_mismatch());
            }
            next.writes += 1;
            match value {
                Some(value) => next.items.insert(key, (value, next.writes)),
                None => next.items.remove(&key),
            };
        }
        *self = next;
        Ok(())
    }
}

/// The status that sidecars understand as a tag that does not match: 409 for HTTP callers.
fn etag_mismatch() -> Status {
    let violation = FieldViolation {
        field: "etag".to_owned(),
        description: "the value has changed".to_owned(),
        ..Default::default()
    };
    let mut details = rpc::Status::default();
    details.details.push(Any::pack(&BadRequest {
        field_violations: vec![violation],
    }));
    Status::with_details(
        Code::FailedPrecondition,
        "etag mismatch",
        details.encode_to_vec().into(),
    )
}
