//! The whole stack of the public server, called without a network.

mod blocks;
mod invoke;
mod operations;
mod passthrough;
mod server;
mod state;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use outrigger_api::durabletask::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use outrigger_api::runtime::dapr_client::DaprClient;
use outrigger_api::{Any, common, rpc, runtime as api};
use outrigger_error::Error;
use outrigger_link::{CallError, Invocation, OpenStream, Reply, ReplyStatus, Status, Text};
use outrigger_svc::{Body, BoxedService, CallContext, Request, Response, ServiceExt, Surface};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::{TraceContext, Tracer};
use prost::Message;
use tonic::Code;

use super::{
    ApiLog, Backend, GrpcRule, GrpcRules, GrpcSettings, PREFIX, Shutdown, binary, public, reflection, routes,
};
use crate::app::GrpcApp;
use crate::blocks::BuildingBlocks;
use crate::invoke::Way;
use crate::metadata::{MetadataStore, SidecarMetadata};
use crate::passthrough::Network;

/// A runtime that answers every invocation with what the test has laid down.
#[derive(Clone, Debug)]
struct Fake(Arc<FakeState>);

#[derive(Debug)]
struct FakeState {
    metadata: MetadataStore,
    building_blocks: BuildingBlocks,
    metrics: Metrics,
    app: Option<GrpcApp>,
    replies: Mutex<Vec<Result<Reply, CallError>>>,
    calls: Mutex<Vec<(String, Invocation)>>,
    forwarded: Mutex<Vec<(String, HeaderMap)>>,
    shutdowns: Mutex<Vec<Shutdown>>,
}

// === impl Fake ===

impl Fake {
    fn new() -> Self {
        Self::with_app(None)
    }

    fn with_app(app: Option<GrpcApp>) -> Self {
        Self::with(app, BuildingBlocks::default())
    }

    fn with(app: Option<GrpcApp>, building_blocks: BuildingBlocks) -> Self {
        let metadata = SidecarMetadata {
            id: "app".to_owned(),
            ..SidecarMetadata::default()
        };
        Self(Arc::new(FakeState {
            metadata: MetadataStore::new(metadata),
            building_blocks,
            metrics: Metrics::disabled(),
            app,
            replies: Mutex::default(),
            calls: Mutex::default(),
            forwarded: Mutex::default(),
            shutdowns: Mutex::default(),
        }))
    }

    fn answering(reply: Result<Reply, CallError>) -> Self {
        let fake = Self::new();
        fake.0.replies.lock().unwrap().push(reply);
        fake
    }
}

impl Backend for Fake {
    fn is_ready(&self) -> bool {
        true
    }

    async fn invoke(&self, id: &str, call: Invocation, _: &TraceContext) -> Result<Reply, CallError> {
        self.0.calls.lock().unwrap().push((id.to_owned(), call));
        self.0.replies.lock().unwrap().pop().unwrap()
    }

    fn building_blocks(&self) -> &BuildingBlocks {
        &self.0.building_blocks
    }

    fn metadata(&self) -> &MetadataStore {
        &self.0.metadata
    }

    fn shut_down(&self, forced: Shutdown) {
        self.0.shutdowns.lock().unwrap().push(forced);
    }

    fn has_http_app(&self) -> bool {
        true
    }

    fn app_id(&self) -> &str {
        "app"
    }

    fn namespace(&self) -> &str {
        "default"
    }

    fn count_error(&self, _: &Error) {}
}

impl Network for Fake {
    fn app_id(&self) -> &str {
        "app"
    }

    fn permit(&self, _: Option<&str>, operation: &str) -> Result<(), Status> {
        if operation.ends_with("/Secret") {
            Err(Status::new(7, "denied"))
        } else {
            Ok(())
        }
    }

    fn app(&self) -> Option<&GrpcApp> {
        self.0.app.as_ref()
    }

    async fn open(&self, _: &str, _: http::request::Parts, _: bool) -> Result<OpenStream<Way>, CallError> {
        Err(CallError::text("nobody opens streams here"))
    }

    async fn forward(&self, id: &str, request: Request) -> Result<Response, CallError> {
        let (head, body) = request.into_parts();
        self.0
            .forwarded
            .lock()
            .unwrap()
            .push((id.to_owned(), head.headers));
        let mut trailers = HeaderMap::new();
        Status::new(20, "odd").write_to(&mut trailers);
        trailers.insert("x-trailer", HeaderValue::from_static("t"));
        let echoed = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        let mut response = Response::new(Body::new(echoed));
        response
            .headers_mut()
            .insert("x-head", HeaderValue::from_static("h"));
        Ok(response)
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

type Stack = BoxedService<Request, Response, Infallible>;

fn settings() -> GrpcSettings {
    GrpcSettings {
        app_id: "app".into(),
        max_message_size: 1000,
        api_token: None,
        rules: Arc::default(),
        log: ApiLog::Off,
    }
}

fn stack_of(fake: &Fake, settings: &GrpcSettings, tracer: Tracer) -> Stack {
    public(fake.clone(), fake.clone(), settings, tracer, Metrics::disabled())
}

fn plain(fake: &Fake) -> Stack {
    stack_of(fake, &settings(), Tracer::off())
}

/// Calls a stack as a listener does.
fn listener(stack: Stack) -> BoxedService<http::Request<tonic::body::Body>, Response, Infallible> {
    BoxedService::new(tower::service_fn(
        move |request: http::Request<tonic::body::Body>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(CallContext {
                surface: Surface::Api,
                remote: None,
                peer: None,
            });
            stack.clone().oneshot(request)
        },
    ))
}

/// A client of the API.
fn dapr(stack: Stack) -> DaprClient<BoxedService<http::Request<tonic::body::Body>, Response, Infallible>> {
    DaprClient::new(listener(stack))
}

async fn raw(stack: Stack, path: &str, metadata: &[(&'static str, &str)], messages: &[&[u8]]) -> Raw {
    let mut body = Vec::new();
    for message in messages {
        body.push(0);
        body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend_from_slice(message);
    }
    let mut request = http::Request::post(path).header("content-type", "application/grpc");
    for (name, value) in metadata {
        request = request.header(*name, *value);
    }
    let request = request
        .body(tonic::body::Body::new(http_body_util::Full::new(Bytes::from(
            body,
        ))))
        .unwrap();
    let Ok(response) = listener(stack).oneshot(request).await;
    let (head, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Raw {
        head: head.headers,
        trailers,
        body: collected.to_bytes(),
    }
}

/// What came back, bytes and all.
#[derive(Debug)]
struct Raw {
    head: HeaderMap,
    trailers: HeaderMap,
    body: Bytes,
}

// === impl Raw ===

impl Raw {
    fn status(&self) -> (i32, String) {
        let status = Status::from_trailers(&self.trailers)
            .or_else(|| Status::from_trailers(&self.head))
            .unwrap();
        (status.code, status.message)
    }
}

fn info(status: &tonic::Status) -> rpc::ErrorInfo {
    let decoded = rpc::Status::decode(status.details()).unwrap();
    decoded.details.last().unwrap().unpack().unwrap().unwrap()
}

fn invocation_request() -> api::InvokeServiceRequest {
    let data = Any {
        type_url: "t/x".to_owned(),
        value: Bytes::from("hello"),
    };
    let extension = common::HttpExtension {
        verb: 3,
        querystring: "a=1".to_owned(),
    };
    api::InvokeServiceRequest {
        id: "callee".to_owned(),
        message: Some(common::InvokeRequest {
            method: "m".to_owned(),
            data: Some(data),
            content_type: "text/plain".to_owned(),
            http_extension: Some(extension),
        }),
    }
}

fn http_reply(status: i32, body: &str) -> Reply {
    Reply {
        status: ReplyStatus::new(status),
        headers: [("X-Some", "1"), ("Content-Type", "text/html")]
            .into_iter()
            .collect(),
        content_type: Text::from_static("text/html"),
        body: Body::from(body.to_owned()),
        ..Reply::default()
    }
}
