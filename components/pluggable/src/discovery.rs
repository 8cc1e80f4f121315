//! The sockets of a folder, and what is behind them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_component::Catalogue;
use outrigger_kit::system;
use tonic::Status;
use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;

use crate::SCOPE;
use crate::link::{Link, origin};
use crate::refusal::RpcError;
use crate::secrets::PluggableSecrets;
use crate::state::PluggableState;

/// Why the folder of sockets was not searched to its end. Nothing is registered then.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The folder cannot be read.
    #[error("open {}: {}", folder.display(), system::text(error))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// A process does not say what it serves, or nobody listens at its socket.
    #[error("unable to list services: {0}")]
    Services(#[source] outrigger_svc::BoxError),
}

/// What a component can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    StateStore,
    SecretStore,
    /// One of a family that this sidecar has no use for yet.
    PubSub,
    InputBinding,
    OutputBinding,
}

/// A socket, and what the process behind it serves.
struct Found {
    name: String,
    socket: Arc<Path>,
    services: BTreeSet<String>,
}

/// How long a process has to say what it serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Adds to the catalogue what the processes behind the sockets of a folder serve: `state.<name>` for a state store
/// behind `<name>.sock`, in lower case, in place of a type of that name that is there already.
///
/// A folder that is not there is an empty one. Files that are no sockets are told of in the log.
///
/// # Errors
/// If the folder cannot be read or a process does not answer; the catalogue is as it was then.
///
/// Source: specification, components 7.1.
pub async fn discover(folder: &Path, catalogue: &mut Catalogue) -> Result<(), DiscoveryError> {
    let mut found = Vec::new();
    for socket in sockets(folder)? {
        let socket: Arc<Path> = socket.into();
        found.push(Found {
            name: component_name(&socket),
            services: services(&socket).await?,
            socket,
        });
    }
    for component in found {
        component.register(catalogue);
    }
    Ok(())
}

// === impl Found ===

impl Found {
    fn register(&self, catalogue: &mut Catalogue) {
        let name = &self.name;
        for service in &self.services {
            let Some(known) = Service::of(service) else {
                continue;
            };
            let socket = Arc::clone(&self.socket);
            match known {
                Service::StateStore => catalogue.state.register(&format!("state.{name}"), move |init| {
                    PluggableState::open(Arc::clone(&socket), init)
                }),
                Service::SecretStore => catalogue
                    .secret_stores
                    .register(&format!("secretstores.{name}"), move |init| {
                        PluggableSecrets::open(Arc::clone(&socket), init)
                    }),
                Service::PubSub | Service::InputBinding | Service::OutputBinding => {
                    tracing::warn!(
                        target: SCOPE,
                        "pluggable component '{name}' serves '{service}', which is not supported yet"
                    );
                    continue;
                }
            }
            tracing::info!(
                target: SCOPE,
                "pluggable component '{name}' was successfully registered for '{service}'"
            );
        }
    }
}

// === impl Service ===

impl Service {
    fn of(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("dapr.proto.components.v1.")? {
            "StateStore" => Self::StateStore,
            "SecretStore" => Self::SecretStore,
            "PubSub" => Self::PubSub,
            "InputBinding" => Self::InputBinding,
            "OutputBinding" => Self::OutputBinding,
            _ => return None,
        })
    }
}

/// The sockets of a folder, sorted by their names.
fn sockets(folder: &Path) -> Result<Vec<PathBuf>, DiscoveryError> {
    let unreadable = |error| DiscoveryError::Folder {
        folder: folder.to_owned(),
        error,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let (kind, path) = (entry.file_type().map_err(unreadable)?, entry.path());
        if kind.is_socket() {
            sockets.push(path);
        } else if !kind.is_dir() {
            tracing::warn!(target: SCOPE, "could not use socket for file {}", path.display());
        }
    }
    sockets.sort();
    Ok(sockets)
}

/// The name of a file without its last extension.
fn component_name(socket: &Path) -> String {
    let name = socket.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
    stem.to_owned()
}

/// The services of the process behind a socket.
async fn services(socket: &Arc<Path>) -> Result<BTreeSet<String>, DiscoveryError> {
    let asked = tokio::time::timeout(PATIENCE, list_services(socket)).await;
    let listed = asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded")));
    listed.map_err(|status| DiscoveryError::Services(RpcError::from(status).into()))
}

async fn list_services(socket: &Arc<Path>) -> Result<BTreeSet<String>, Status> {
    let (link, _) = Link::open(socket, None).await?;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices("*".to_owned())),
    };
    let mut client = ServerReflectionClient::with_origin(link, origin());
    let answers = client.server_reflection_info(tokio_stream::once(request));
    let answer = answers.await?.into_inner().message().await?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        Some(MessageResponse::ErrorResponse(error)) => {
            Err(Status::new(error.error_code.into(), error.error_message))
        }
        _ => Err(Status::internal("no list of services")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_has_the_name_of_its_socket_without_the_last_extension() {
        for (path, name) in [
            ("/s/store.sock", "store"),
            ("/s/my.store.sock", "my.store"),
            ("/s/store", "store"),
            ("/s/Store.sock", "Store"),
        ] {
            assert_eq!(component_name(Path::new(path)), name);
        }
    }

    #[test]
    fn services_are_known_by_their_full_names() {
        assert_eq!(
            Service::of("dapr.proto.components.v1.StateStore"),
            Some(Service::StateStore)
        );
        assert_eq!(
            Service::of("dapr.proto.components.v1.TransactionalStateStore"),
            None
        );
        assert_eq!(Service::of("grpc.health.v1.Health"), None);
    }
}
