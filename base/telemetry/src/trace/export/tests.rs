//! Exporters against receivers in the same process, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as SpanStatus};
use outrigger_svc::{BoxConnection, BoxFuture, Connect};
use prost::Message;
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;

use crate::export::http::Poster;
use crate::export::network::Dialer;
use crate::export::{Network, OtlpSettings, Resource};
use crate::log::{LogSettings, Logger};
use crate::metrics::Metrics;
use crate::trace::{SpanKind, TraceContext, TraceSettings, Tracer};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, std::io::Result<BoxConnection>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as BoxConnection) })
    }
}

fn network() -> Network {
    Network {
        connect: Arc::new(Tcp),
        crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        metrics: Metrics::disabled(),
    }
}

/// Makes one failed span and shuts the tracer down.
async fn trace_once(settings: &TraceSettings) {
    let tracer = Tracer::open(settings, &tokio::runtime::Handle::current(), &network()).unwrap();
    let parent = TraceContext::from_traceparent(PARENT.as_bytes())
        .unwrap()
        .with_state("vendor=1");
    let mut span = tracer.start(Some(&parent), SpanKind::Client, "CallLocal/b/m");
    span.set_attribute("net.peer.name", "b");
    span.fail("Code(500): Internal Server Error");
    span.end();
    tracer.shutdown().await;
}

fn settings() -> TraceSettings {
    let resource = Resource {
        service_name: "app".to_owned(),
        attributes: vec![
            ("service.name".to_owned(), "loses".to_owned()),
            ("zone".to_owned(), "a".to_owned()),
        ],
    };
    TraceSettings {
        resource,
        ..TraceSettings::default()
    }
}

fn otlp(address: SocketAddr, protocol: &str) -> TraceSettings {
    let receiver = OtlpSettings {
        endpoint: address.to_string(),
        protocol: protocol.to_owned(),
        secure: false,
        headers: vec![("x-tenant".to_owned(), "t1".to_owned())],
        timeout: Some(Duration::from_secs(5)),
    };
    TraceSettings {
        otlp: Some(receiver),
        ..settings()
    }
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes
        .iter()
        .find(|pair| pair.key == name)
        .and_then(|pair| pair.value.clone());
    match found.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name} is {other:?}"),
    }
}

fn check_otlp(request: &ExportTraceServiceRequest) {
    let [of_resource] = request.resource_spans.as_slice() else {
        panic!("one resource")
    };
    let attributes = &of_resource.resource.as_ref().unwrap().attributes;
    assert_eq!(attributes.len(), 2);
    assert_eq!(
        (text(attributes, "service.name"), text(attributes, "zone")),
        ("app".to_owned(), "a".to_owned())
    );
    let [of_scope] = of_resource.scope_spans.as_slice() else {
        panic!("one scope")
    };
    assert_eq!(of_scope.scope.as_ref().unwrap().name, "dapr-diagnostics");
    let [span] = of_scope.spans.as_slice() else {
        panic!("one span")
    };
    check_span(span);
}

fn check_span(span: &Span) {
    let parent = TraceContext::from_traceparent(PARENT.as_bytes()).unwrap();
    assert_eq!(
        (span.trace_id.as_slice(), span.parent_span_id.as_slice()),
        (&parent.trace_id[..], &parent.span_id[..])
    );
    assert_eq!(
        (span.name.as_str(), span.kind, span.trace_state.as_str()),
        ("CallLocal/b/m", 3, "vendor=1")
    );
    assert_eq!(text(&span.attributes, "net.peer.name"), "b");
    let status = span.status.as_ref().unwrap();
    assert_eq!(
        (status.code, status.message.as_str()),
        (SpanStatus::Error as i32, "Code(500): Internal Server Error")
    );
    assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
}

#[tokio::test]
async fn spans_arrive_by_otlp_over_grpc() {
    struct Receiver(mpsc::UnboundedSender<tonic::Request<ExportTraceServiceRequest>>);

    #[tonic::async_trait]
    impl TraceService for Receiver {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.send(request).unwrap();
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut requests) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Receiver(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    trace_once(&otlp(address, "grpc")).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(request.metadata().get("x-tenant").unwrap(), "t1");
    check_otlp(request.get_ref());
}

/// Answers every request with `status` and hands it on.
async fn http_receiver(status: StatusCode) -> (SocketAddr, mpsc::UnboundedReceiver<Request<Bytes>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(TokioIo::new(stream), status, sender.clone()));
        }
    });
    (address, requests)
}

async fn answer<I>(io: I, status: StatusCode, sender: mpsc::UnboundedSender<Request<Bytes>>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            sender.send(Request::from_parts(head, body)).unwrap();
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = status;
            Ok::<_, hyper::Error>(response)
        }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(io, service)
        .await
        .ok();
}

#[tokio::test]
async fn spans_arrive_by_otlp_over_http() {
    let (address, mut requests) = http_receiver(StatusCode::OK).await;
    trace_once(&otlp(address, "http")).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(
        (request.method().as_str(), request.uri().path()),
        ("POST", "/v1/traces")
    );
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("host"), address.to_string());
    assert_eq!(
        (header("content-type").as_str(), header("x-tenant").as_str()),
        ("application/x-protobuf", "t1")
    );
    check_otlp(&ExportTraceServiceRequest::decode(request.into_body()).unwrap());
}

#[tokio::test]
async fn spans_arrive_as_zipkin_json() {
    let (address, mut requests) = http_receiver(StatusCode::ACCEPTED).await;
    let zipkin = Some(format!("http://{address}/api/v2/spans?x=1"));
    trace_once(&TraceSettings { zipkin, ..settings() }).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(request.uri(), "/api/v2/spans?x=1");
    assert_eq!(request.headers()["content-type"], "application/json");
    let mut spans: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    let span = spans[0].as_object_mut().unwrap();
    assert_eq!(span.remove("id").unwrap().as_str().unwrap().len(), 16);
    assert!(span.remove("timestamp").unwrap().as_u64().unwrap() > 1_700_000_000_000_000);
    assert!(span.remove("duration").unwrap().as_u64().unwrap() >= 1);
    assert_eq!(
        spans,
        serde_json::json!([{
            "traceId": "0af7651916cd43dd8448eb211c80319c",
            "parentId": "b7ad6b7169203331",
            "kind": "CLIENT",
            "name": "CallLocal/b/m",
            "localEndpoint": {"serviceName": "app"},
            "remoteEndpoint": {"serviceName": "b"},
            "tags": {
                "net.peer.name": "b",
                "otel.scope.name": "dapr-diagnostics",
                "otel.status_code": "ERROR",
                "error": "Code(500): Internal Server Error",
            },
        }])
    );
}

#[tokio::test]
async fn spans_are_printed_to_the_log() {
    let (logger, lines) = Logger::in_memory(&LogSettings {
        app_id: Some("app".into()),
        ..LogSettings::default()
    });
    let _guard = tracing::subscriber::set_default(logger);
    trace_once(&TraceSettings {
        stdout: true,
        ..settings()
    })
    .await;
    let lines = lines.lines();
    assert_eq!(lines.len(), 1);
    let text = "msg=\"[CallLocal/b/m] Trace: 0af7651916cd43dd8448eb211c80319c Span: b7ad6b7169203331/";
    assert!(lines[0].contains(text), "{lines:?}");
    assert!(
        lines[0].contains(" scope=dapr.runtime.trace ") && !lines[0].contains("app_id"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_receiver_that_refuses_or_is_gone_is_reported() {
    let (refusing, _requests) = http_receiver(StatusCode::BAD_REQUEST).await;
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for (address, reason) in [
        (refusing, "the receiver answered 400 Bad Request"),
        (gone, "connection failed: "),
    ] {
        let (logger, lines) = Logger::in_memory(&LogSettings::default());
        let _guard = tracing::subscriber::set_default(logger);
        trace_once(&TraceSettings {
            zipkin: Some(format!("http://{address}/")),
            ..settings()
        })
        .await;
        let lines = lines.lines();
        assert!(
            lines
                .iter()
                .any(|line| line.contains("failed to export 1 spans to zipkin") && line.contains(reason)),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn tls_receivers_are_verified_by_the_trusted_roots() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(network().crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(answer(TokioIo::new(stream), StatusCode::OK, sender.clone()));
            }
        }
    });

    let post = |roots: RootCertStore| {
        let dialer = Dialer::trusting(&network(), roots, b"http/1.1").unwrap();
        let request = Request::post(format!("https://localhost:{port}/x"))
            .body(Bytes::from_static(b"hi"))
            .unwrap();
        async move { Poster::new(dialer, HeaderMap::new()).post(request).await }
    };
    let mut trusted = RootCertStore::empty();
    trusted.add(issued.cert.der().clone()).unwrap();
    assert_eq!(post(trusted).await.unwrap().status(), StatusCode::OK);
    assert_eq!(requests.recv().await.unwrap().body(), "hi");

    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut stranger = RootCertStore::empty();
    stranger.add(other.cert.der().clone()).unwrap();
    assert!(post(stranger).await.is_err());
}
