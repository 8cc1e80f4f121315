//! Metrics and log records against receivers in the same process, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, exemplar, number_data_point};
use outrigger_svc::{BoxConnection, BoxFuture, Connect};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{BatchLimits, Network, OtlpSettings, Resource};
use crate::log::{LogExport, LogExportSettings, LogSettings, Logger};
use crate::metrics::{Metrics, MetricsSettings, PushSettings};
use crate::trace::{Position, TraceContext};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, std::io::Result<BoxConnection>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as BoxConnection) })
    }
}

/// A request as it came: path, headers, the message in it.
struct Seen {
    path: String,
    headers: HeaderMap,
    message: Bytes,
}

/// Answers every request, by gRPC or HTTP, with the first of `statuses` that is left, else with success.
async fn receiver(statuses: &'static [u16]) -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, received) = mpsc::unbounded_channel();
    let left = Arc::new(std::sync::Mutex::new(statuses.iter()));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (seen, left) = (seen.clone(), left.clone());
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (seen, status) = (seen.clone(), left.lock().unwrap().next().copied());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let grpc = head.headers["content-type"] == "application/grpc";
                    seen.send(Seen {
                        path: head.uri.path().to_owned(),
                        headers: head.headers,
                        message: if grpc { body.slice(5..) } else { body },
                    })
                    .unwrap();
                    Ok::<_, hyper::Error>(match (grpc, status) {
                        (true, Some(status)) => Response::builder()
                            .header("content-type", "application/grpc")
                            .header("grpc-status", status)
                            .body(Full::<Bytes>::default())
                            .unwrap(),
                        (true, None) => {
                            let mut response = Response::new(Full::new(Bytes::from_static(&[0; 5])));
                            let headers = response.headers_mut();
                            headers.insert("content-type", "application/grpc".parse().unwrap());
                            // Trailers cannot be sent by this body; an empty answer with a status can.
                            headers.insert("grpc-status", "0".parse().unwrap());
                            response
                        }
                        (false, status) => Response::builder()
                            .status(status.unwrap_or(200))
                            .body(Full::default())
                            .unwrap(),
                    })
                }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(stream), answer).await.ok();
            });
        }
    });
    (address, received)
}

fn metrics() -> Metrics {
    Metrics::new(&MetricsSettings {
        app_id: "app".into(),
        ..MetricsSettings::default()
    })
    .unwrap()
}

fn network(metrics: &Metrics) -> Network {
    Network {
        connect: Arc::new(Tcp),
        crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        metrics: metrics.clone(),
    }
}

fn otlp(address: SocketAddr, protocol: &str) -> OtlpSettings {
    OtlpSettings {
        endpoint: address.to_string(),
        protocol: protocol.to_owned(),
        secure: false,
        headers: vec![("x-tenant".to_owned(), "t1".to_owned())],
        timeout: Some(Duration::from_secs(5)),
    }
}

fn resource() -> Resource {
    Resource {
        service_name: "app".to_owned(),
        attributes: vec![
            ("service.name".to_owned(), "loses".to_owned()),
            ("zone".to_owned(), "a".to_owned()),
        ],
    }
}

fn push_to(address: SocketAddr, protocol: &str, interval: Duration) -> PushSettings {
    PushSettings {
        receiver: otlp(address, protocol),
        resource: resource(),
        interval,
    }
}

fn logs_to(address: SocketAddr, protocol: &str) -> LogExportSettings {
    LogExportSettings {
        receiver: otlp(address, protocol),
        resource: resource(),
        batch: BatchLimits {
            delay: Duration::from_secs(60),
            ..BatchLimits::LOGS
        },
    }
}

fn pairs(attributes: &[KeyValue]) -> Vec<(&str, Value)> {
    let value = |value: &Option<AnyValue>| value.clone().and_then(|value| value.value).unwrap();
    attributes
        .iter()
        .map(|pair| (pair.key.as_str(), value(&pair.value)))
        .collect()
}

fn texts<const N: usize>(pairs: [(&'static str, &str); N]) -> Vec<(&'static str, Value)> {
    pairs
        .map(|(name, value)| (name, Value::StringValue(value.to_owned())))
        .into()
}

fn count(metrics: &Metrics, series: &str) -> Option<String> {
    let text = String::from_utf8(metrics.encode().into()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map(|value| value.trim().to_owned())
}

#[tokio::test]
async fn metrics_are_pushed_at_intervals_and_at_the_end() {
    for protocol in ["grpc", "http"] {
        let (address, mut received) = receiver(&[]).await;
        let metrics = metrics();
        let settings = push_to(address, protocol, Duration::from_millis(20));
        let push = metrics
            .push(&settings, &Handle::current(), &network(&metrics))
            .unwrap();
        received.recv().await.unwrap();
        let traced = Position::from(&TraceContext::from_traceparent(PARENT.as_bytes()).unwrap());
        traced.during(|| {
            metrics
                .http_server()
                .record("GET", "/x", 200, 3, 2_000, Duration::from_millis(7));
        });
        push.shut_down().await;
        let mut last = received.recv().await.unwrap();
        while let Ok(next) = received.try_recv() {
            last = next;
        }
        let path = match protocol {
            "grpc" => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            _ => "/v1/metrics",
        };
        assert_eq!(
            (last.path.as_str(), &last.headers["x-tenant"]),
            (path, &"t1".parse().unwrap())
        );
        check_metrics(ExportMetricsServiceRequest::decode(last.message).unwrap());
        let sent = count(
            &metrics,
            "outrigger_export_sent_total{app_id=\"app\",signal=\"metrics\"}",
        );
        assert!(sent.is_some_and(|sent| sent.parse::<u32>().unwrap() >= 2));
    }
}

fn check_metrics(mut request: ExportMetricsServiceRequest) {
    let of_resource = request.resource_metrics.remove(0);
    assert_eq!(
        pairs(&of_resource.resource.unwrap().attributes),
        texts([("zone", "a"), ("service.name", "app")])
    );
    let [of_scope] = of_resource.scope_metrics.as_slice() else {
        panic!("one scope")
    };
    assert_eq!(of_scope.scope.as_ref().unwrap().name, "dapr-diagnostics");
    let find = |name: &str| -> &Metric {
        let found = of_scope.metrics.iter().find(|metric| metric.name == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let labels = texts([
        ("app_id", "app"),
        ("method", "GET"),
        ("path", "/x"),
        ("status", "200"),
    ]);
    let Some(Data::Sum(sum)) = &find("dapr_http_server_request_count").data else {
        panic!("a counter is a sum")
    };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let point = &sum.data_points[0];
    assert_eq!(pairs(&point.attributes), labels);
    assert_eq!(point.value, Some(number_data_point::Value::AsDouble(1.0)));
    assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano < point.time_unix_nano);

    let Some(Data::Histogram(latency)) = &find("dapr_http_server_latency").data else {
        panic!("a latency is a histogram")
    };
    let point = &latency.data_points[0];
    assert_eq!((point.count, point.sum), (1, Some(7.0)));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.explicit_bounds[..7], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]);
    assert_eq!(point.bucket_counts[..8], [0, 0, 0, 0, 0, 0, 1, 0]);
    let [exemplar] = point.exemplars.as_slice() else {
        panic!("one exemplar")
    };
    assert_eq!(exemplar.value, Some(exemplar::Value::AsDouble(7.0)));
    assert_eq!(exemplar.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(exemplar.trace_id.len(), 16);
    let Some(Data::Gauge(_)) = &find("process_resident_memory_bytes").data else {
        panic!("figures of the process are among them")
    };
}

#[tokio::test]
async fn lines_are_exported_with_their_fields_and_trace() {
    for protocol in ["grpc", "http"] {
        let (address, mut received) = receiver(&[]).await;
        let metrics = metrics();
        let log = LogSettings {
            app_id: Some("app".into()),
            instance: "vm".to_owned(),
            version: "1.0".to_owned(),
            ..LogSettings::default()
        };
        let (logger, lines) = Logger::in_memory(&log);
        let _guard = tracing::subscriber::set_default(logger);
        tracing::info!(target: "dapr.runtime", "before");
        let settings = logs_to(address, protocol);
        let export = LogExport::open(&settings, &Handle::current(), &network(&metrics)).unwrap();
        let traced = Position::from(&TraceContext::from_traceparent(PARENT.as_bytes()).unwrap());
        traced.during(|| {
            tracing::warn!(target: "dapr.runtime.http-info", code = 200, ok = true, ratio = 0.5, "said <hi>");
        });
        tracing::debug!(target: "dapr.runtime", "not printed, not exported");
        tracing::error!(target: "dapr.runtime", component = "x (y/v1)", "no trace");
        export.shut_down().await;
        tracing::info!(target: "dapr.runtime", "after");
        assert_eq!(lines.lines().len(), 4);
        assert!(!lines.lines().join("").contains("0af76519"));

        let seen = received.recv().await.unwrap();
        assert_eq!(seen.headers["x-tenant"], "t1");
        if protocol == "http" {
            assert_eq!(seen.path, "/v1/logs");
        }
        let mut request = ExportLogsServiceRequest::decode(seen.message).unwrap();
        let of_resource = request.resource_logs.remove(0);
        let [runtime, http] = of_resource.scope_logs.as_slice() else {
            panic!("two scopes: {:?}", of_resource.scope_logs)
        };
        assert_eq!(runtime.scope.as_ref().unwrap().name, "dapr.runtime");
        assert_eq!(http.scope.as_ref().unwrap().name, "dapr.runtime.http-info");
        let record = &http.log_records[0];
        assert_eq!(
            record.body.clone().unwrap().value,
            Some(Value::StringValue("said <hi>".to_owned()))
        );
        assert_eq!(
            (record.severity_number, record.severity_text.as_str()),
            (13, "warning")
        );
        let mut expected = texts([("app_id", "app")]);
        expected.push(("code", Value::IntValue(200)));
        expected.extend(texts([("instance", "vm")]));
        expected.push(("ok", Value::BoolValue(true)));
        expected.push(("ratio", Value::DoubleValue(0.5)));
        expected.extend(texts([("ver", "1.0")]));
        assert_eq!(pairs(&record.attributes), expected);
        assert_eq!((record.trace_id.len(), record.flags), (16, 1));
        assert_eq!(record.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        let [record] = runtime.log_records.as_slice() else {
            panic!("one record: {:?}", runtime.log_records)
        };
        assert!(record.trace_id.is_empty() && record.span_id.is_empty());
        let sent = count(
            &metrics,
            "outrigger_export_sent_total{app_id=\"app\",signal=\"logs\"}",
        );
        assert_eq!(sent.as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn a_receiver_that_is_busy_is_asked_again() {
    for (protocol, statuses) in [("grpc", &[14_u16, 14][..]), ("http", &[503, 429][..])] {
        let (address, mut received) = receiver(statuses).await;
        let metrics = metrics();
        let settings = push_to(address, protocol, Duration::from_millis(1));
        let _push = metrics
            .push(&settings, &Handle::current(), &network(&metrics))
            .unwrap();
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(received.recv().await.unwrap().message.len());
        }
        assert!(sizes[0] == sizes[1] && sizes[1] == sizes[2], "{sizes:?}");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_receiver_that_is_away_and_the_loss_is_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    for protocol in ["grpc", "http"] {
        let metrics = metrics();
        let (logger, lines) = Logger::in_memory(&LogSettings::default());
        let _guard = tracing::subscriber::set_default(logger);
        let network = network(&metrics);
        let hour = push_to(address, protocol, Duration::from_secs(3_600));
        let push = metrics.push(&hour, &Handle::current(), &network).unwrap();
        let export = LogExport::open(&logs_to(address, protocol), &Handle::current(), &network).unwrap();
        tracing::info!(target: "dapr.runtime", "lost");
        let began = tokio::time::Instant::now();
        push.shut_down().await;
        export.shut_down().await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        let dropped = |signal: &str| {
            let series = "outrigger_export_dropped_total{app_id=\"app\",reason=\"failed\",signal=";
            count(&metrics, &format!("{series}\"{signal}\"}}"))
        };
        assert_eq!(dropped("metrics").as_deref(), Some("1"));
        // The line about the metrics is a record as well.
        assert_eq!(dropped("logs").as_deref(), Some("2"));
        let said = lines.lines().join("\n");
        assert!(
            said.contains(&format!("failed to export metrics to {address}: ")),
            "{said}"
        );
        assert!(
            said.contains(&format!("failed to export 2 log records to {address}: ")),
            "{said}"
        );
    }
}
