//! Components in other processes: a sidecar, a socket, and the API on top.

mod discovery;
mod errors;
mod example;
mod secrets;
mod state;

use http::HeaderMap;
use outrigger_api::rpc;
use outrigger_test_kit::{
    Daprd, DaprdBuilder, Directory, GrpcReply, HttpReply, HttpRequest, PluggableComponent, Result,
};
use prost::Message;

/// A sidecar with the store `mystore` of type `state.mystore`, and the component behind it.
struct Rig {
    _folder: Directory,
    component: PluggableComponent,
    daprd: Daprd,
}

/// A Component resource of a type.
fn resource(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  version: \
         v1\n  metadata: [{{name: colour, value: red}}]\n"
    )
}

/// A sidecar that looks for sockets in a folder.
fn sidecar(folder: &Directory) -> Result<DaprdBuilder> {
    let folder = folder.path().display().to_string();
    Ok(Daprd::builder("app")?.env("DAPR_COMPONENTS_SOCKETS_FOLDER", &folder))
}

// === impl Rig ===

impl Rig {
    async fn start() -> Result<Self> {
        let folder = Directory::new()?;
        let component = PluggableComponent::start(folder.path(), "mystore")?;
        let daprd = sidecar(&folder)?.resource("store.yaml", &resource("mystore", "state.mystore"))?;
        Ok(Self {
            daprd: daprd.start().await?,
            _folder: folder,
            component,
        })
    }

    /// Sends a request to a path of the state API.
    async fn http(&self, method: &str, path: &str, body: &str) -> Result<HttpReply> {
        let request = HttpRequest::new(method, path).body(body.to_owned());
        self.daprd.send(&request).await
    }

    /// Calls a method of the gRPC API.
    async fn grpc(&self, method: &str, request: &impl Message) -> Result<GrpcReply> {
        let path = format!("/dapr.proto.runtime.v1.Dapr/{method}");
        let client = self.daprd.grpc().await?;
        client
            .call(&path, HeaderMap::new(), [request.encode_to_vec()])
            .await
    }
}

/// The details of a status.
fn details(reply: &GrpcReply) -> rpc::Status {
    let encoded = reply
        .trailers
        .get("grpc-status-details-bin")
        .map_or(&b""[..], |value| value.as_bytes());
    let encoded = String::from_utf8_lossy(encoded).trim_end_matches('=').to_owned();
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, encoded).expect("base64");
    rpc::Status::decode(&bytes[..]).expect("a status")
}
