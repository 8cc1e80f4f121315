//! State as apps meet it: real sidecars, real stores.

mod encryption;
mod grpc;
mod http;
mod keys;
mod memory;
mod policies;
mod redis;
mod reload;
mod transactions;

use ::http::HeaderMap;
use outrigger_test_kit::{Daprd, DaprdBuilder, GrpcClient, GrpcReply, HttpReply, HttpRequest, Result};
use prost::Message;

/// A Component of this type with these settings.
pub(super) fn component(name: &str, kind: &str, settings: &[(&str, &str)]) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{{name: {name}, value: {}}}", serde_json::Value::from(*value)))
        .collect();
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  version: \
         v1\n  metadata: [{}]\n",
        settings.join(", ")
    )
}

/// A store in memory.
fn in_memory(name: &str) -> String {
    component(name, "state.in-memory", &[])
}

/// A sidecar with the store `mem`.
fn with_memory(app_id: &str) -> Result<DaprdBuilder> {
    Daprd::builder(app_id)?.resource("mem.yaml", &in_memory("mem"))
}

/// Sends a request without a body.
async fn send(daprd: &Daprd, method: &str, path: &str) -> Result<HttpReply> {
    daprd.send(&HttpRequest::new(method, path)).await
}

/// Saves items and expects it to succeed.
async fn save(daprd: &Daprd, store: &str, items: &str) -> Result<()> {
    let reply = daprd
        .post(&format!("/v1.0/state/{store}"), items.to_owned())
        .await?;
    assert_eq!((reply.status, reply.text().as_str()), (204, ""), "{items}");
    Ok(())
}

/// Status and text of the value of a key.
async fn read(daprd: &Daprd, store: &str, key: &str) -> Result<(u16, String)> {
    let reply = daprd.get(&format!("/v1.0/state/{store}/{key}")).await?;
    Ok((reply.status, reply.text()))
}

/// Calls a method of the gRPC API.
async fn call(client: &GrpcClient, method: &str, request: &impl Message) -> Result<GrpcReply> {
    let path = format!("/dapr.proto.runtime.v1.Dapr/{method}");
    client
        .call(&path, HeaderMap::new(), [request.encode_to_vec()])
        .await
}
