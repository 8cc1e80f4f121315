//! Service invocation and the two APIs, by processes: what apps and their callers see.

mod api;
mod api_access;
mod calls_grpc;
mod channels;
mod contracts;
mod external;
mod failures;
mod headers;
mod invoke_service;
mod paths;
mod proxying;
mod statuses;
mod streams;

use outrigger_test_kit::{
    Cluster, Daprd, DaprdBuilder, HttpApp, HttpReply, HttpRequest, HttpResponse, Result,
};
use serde_json::{Value, json};

/// An app that answers calls by a function, and knows nothing of what sidecars ask for themselves.
pub(super) async fn app<F>(handler: impl Fn(HttpRequest) -> F + Send + Sync + 'static) -> Result<HttpApp>
where
    F: Future<Output = HttpResponse> + Send + 'static,
{
    let handler = std::sync::Arc::new(handler);
    HttpApp::start(move |request| {
        let handler = std::sync::Arc::clone(&handler);
        async move {
            match request.path().starts_with("/dapr/") {
                true => HttpResponse::new(404, ""),
                false => handler(request).await,
            }
        }
    })
    .await
}

/// A sidecar `caller` with an echo, and a sidecar `callee` with this app; plain connections.
///
/// What the sidecars asked for themselves is forgotten.
async fn pair(app: HttpApp) -> Result<Cluster> {
    let cluster = Cluster::builder()
        .without_mtls()
        .app("caller", HttpApp::echo().await?)
        .app("callee", app)
        .start()
        .await?;
    for (_, member) in cluster.members() {
        member.app.wait_for_requests("/dapr/config", 1).await?;
        member.app.clear();
    }
    Ok(cluster)
}

/// Two sidecars that start at the same time.
pub(super) async fn both(one: DaprdBuilder, other: DaprdBuilder) -> Result<(Daprd, Daprd)> {
    let (one, other) = (one.spawn()?, other.spawn()?);
    one.ready().await?;
    other.ready().await?;
    Ok((one, other))
}

/// The body of an invocation that failed.
pub(super) fn failure(app_id: &str, cause: &str) -> Value {
    json!({
        "errorCode": "ERR_DIRECT_INVOKE",
        "message": format!("failed to invoke, id: {app_id}, err: {cause}"),
    })
}

/// Holds the reply of an invocation against status 500 and the cause.
#[track_caller]
pub(super) fn assert_failure(reply: &HttpReply, app_id: &str, cause: &str) {
    assert_eq!(reply.text(), failure(app_id, cause).to_string());
    assert_eq!(reply.status, 500, "{cause}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
}
