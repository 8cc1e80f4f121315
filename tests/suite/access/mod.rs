//! Access control: what callers are let through to, by every way into a sidecar.

mod bypass;
mod entries;
mod start;
mod vectors;

use std::collections::HashMap;

use http::HeaderMap;
use outrigger_api::common::http_extension::Verb;
use outrigger_api::common::{HttpExtension, InvokeRequest};
use outrigger_api::internals::{InternalInvokeRequest, ListStringValue};
use outrigger_test_kit::tls::client_config;
use outrigger_test_kit::{
    Daprd, DaprdBuilder, GrpcClient, GrpcReply, HttpApp, HttpRequest, HttpResponse, Leaf, Result, Sentry,
};
use prost::Message as _;

const CALL_LOCAL: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";
const INVOKE_SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";

/// A Configuration with a section of access control.
fn configuration(access_control: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: acl}}\nspec:\n  accessControl: {access_control}\n"
    )
}

/// Lets `myapp` do one thing, and nobody else anything.
fn only(operation: &str) -> String {
    configuration(&format!(
        "{{defaultAction: deny, trustDomain: public, policies: [{{appId: myapp, defaultAction: deny, \
         trustDomain: public, namespace: default, operations: [{{name: {operation}, httpVerb: ['*'], \
         action: allow}}]}}]}}"
    ))
}

/// A peer that speaks to the internal port of a sidecar with a certificate of its own making.
struct Peer(GrpcClient);

// === impl Peer ===

impl Peer {
    /// Connects as the workload of this SPIFFE id.
    async fn connect(sentry: &Sentry, callee: &Daprd, id: &str) -> Result<Self> {
        let certificate = sentry.authority.issue(&Leaf::of(id))?;
        let config = client_config(Some(&certificate))?;
        Ok(Self(GrpcClient::connect_tls(callee.internal_port, config).await?))
    }

    /// Calls a method of the app; the call brings metadata unless `metadata` is empty.
    async fn call(&self, verb: Verb, method: &str, metadata: &[(&str, &str)]) -> Result<GrpcReply> {
        let metadata: HashMap<_, _> = metadata
            .iter()
            .map(|(name, value)| {
                let values = vec![(*value).to_owned()];
                ((*name).to_owned(), ListStringValue { values })
            })
            .collect();
        let request = InternalInvokeRequest {
            ver: 1,
            metadata,
            message: Some(InvokeRequest {
                method: method.to_owned(),
                http_extension: Some(HttpExtension {
                    verb: verb.into(),
                    querystring: String::new(),
                }),
                ..InvokeRequest::default()
            }),
            actor: None,
        };
        self.0
            .call(CALL_LOCAL, HeaderMap::new(), [request.encode_to_vec()])
            .await
    }
}

/// An HTTP app that answers everything with the path that it saw.
async fn http_app() -> Result<HttpApp> {
    HttpApp::start(async |request: HttpRequest| HttpResponse::ok(request.path().to_owned())).await
}

/// A sidecar with mTLS and these rules.
fn callee(sentry: &Sentry, yaml: &str) -> Result<DaprdBuilder> {
    Daprd::builder("callee")?.mtls(sentry).configuration(yaml)
}

/// The text of a refusal.
fn denial(id: &str, operation: &str, verb: &str) -> String {
    format!("access control policy has denied access to id: {id} operation: {operation} verb: {verb}")
}
