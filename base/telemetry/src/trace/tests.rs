//! Tracers of each kind, and spans on their way to a receiver that keeps them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::{BoxConnection, BoxFuture, Connect};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::export::{Exporter, memory::Memory};
use super::pipeline::Pipeline;
use super::record::SpanRecord;
use super::*;
use crate::export::{BatchLimits, Network, OtlpSettings, Queue, SetupError};
use crate::log::{LogSettings, Logger};
use crate::metrics::{Metrics, MetricsSettings};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A network that nobody can be reached by.
struct Nowhere;

impl Connect for Nowhere {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<BoxConnection>> {
        Box::pin(async { Err(std::io::Error::other("cut off")) })
    }
}

/// A network in which connections are never answered.
struct BlackHole;

impl Connect for BlackHole {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<BoxConnection>> {
        Box::pin(std::future::pending())
    }
}

fn nowhere() -> Network {
    Network {
        connect: Arc::new(Nowhere),
        crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        metrics: Metrics::disabled(),
    }
}

fn open(settings: &TraceSettings) -> Result<Tracer, SetupError> {
    Tracer::open(settings, &Handle::current(), &nowhere())
}

fn parent(text: &str) -> TraceContext {
    TraceContext::from_traceparent(text.as_bytes()).unwrap()
}

fn rate(text: &str, stdout: bool) -> TraceSettings {
    TraceSettings {
        sampling_rate: text.to_owned(),
        stdout,
        ..TraceSettings::default()
    }
}

/// A queue that drains into `memory` in the background.
fn pipeline(limits: BatchLimits, memory: &Memory) -> (Arc<Pipeline>, JoinHandle<()>) {
    let queue = Arc::new(Queue::new(limits));
    let task = tokio::spawn(counted(&queue, memory, &Metrics::disabled()));
    (Arc::new(Pipeline::new(vec![queue])), task)
}

fn counted(
    queue: &Arc<Queue<Arc<SpanRecord>>>,
    memory: &Memory,
    metrics: &Metrics,
) -> impl Future<Output = ()> + Send + use<> {
    let exporter = Exporter::Memory(memory.clone());
    Arc::clone(queue).drain_into(exporter, metrics.clone())
}

fn span(pipeline: &Arc<Pipeline>, name: &str) -> Span {
    Span::recorded(parent(PARENT), [0; 8], SpanKind::Client, name, pipeline.clone())
}

fn spans(pipeline: &Arc<Pipeline>, count: usize) {
    (0..count).for_each(|_| span(pipeline, "work").end());
}

fn only_record(memory: &Memory) -> Arc<SpanRecord> {
    let batches = memory.batches.lock().unwrap();
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 1);
    batches[0][0].clone()
}

#[tokio::test]
async fn the_default_installation_passes_contexts_on() {
    for tracer in [open(&TraceSettings::default()).unwrap(), Tracer::pass_through()] {
        assert!(tracer.is_on());
        let root = tracer.start(None, SpanKind::Client, "x");
        assert_eq!(root.context(), &TraceContext::ZERO);
        assert_eq!(
            root.context().to_string(),
            "00-00000000000000000000000000000000-0000000000000000-00"
        );
        let parent = parent(PARENT).with_state("a=1");
        let child = tracer.start(Some(&parent), SpanKind::Client, "x");
        assert_eq!(child.context(), &parent);
        assert!(!child.is_recording());
    }
}

#[tokio::test]
async fn a_rate_of_zero_turns_tracing_off_whatever_the_exporters() {
    assert!(!Tracer::off().is_on());
    assert!(!open(&rate("0", false)).unwrap().is_on());
    let tracer = open(&rate("0", true)).unwrap();
    assert!(!tracer.is_on());
    assert!(
        !tracer
            .start(Some(&parent(PARENT)), SpanKind::Client, "x")
            .is_recording()
    );
}

#[tokio::test]
async fn a_rate_without_exporters_makes_real_spans_that_are_discarded() {
    for text in ["1", "no number"] {
        let tracer = open(&rate(text, false)).unwrap();
        let span = tracer.start(Some(&parent(PARENT)), SpanKind::Client, "x");
        assert_eq!(span.context().trace_id, parent(PARENT).trace_id);
        assert_ne!(span.context().span_id, parent(PARENT).span_id);
        assert!(!span.is_recording());
        assert!(tracer.start(None, SpanKind::Client, "x").context().is_valid());
    }
}

#[tokio::test]
async fn an_exporter_makes_real_spans_even_without_a_rate() {
    let tracer = open(&rate("", true)).unwrap();
    assert!(
        tracer
            .start(Some(&parent(PARENT)), SpanKind::Client, "x")
            .is_recording()
    );
}

#[tokio::test]
async fn the_sender_decides_and_its_other_flags_travel_on() {
    let tracer = open(&rate("1", true)).unwrap();
    let sampled = TraceContext {
        flags: 0x03,
        ..parent(PARENT).with_state("a=1")
    };
    let child = tracer.start(Some(&sampled), SpanKind::Server, "x");
    assert_eq!(
        (child.context().flags, child.context().state_to_send()),
        (0x03, Some("a=1"))
    );
    assert!(child.is_recording());
    let child = tracer.start(Some(&parent(UNSAMPLED)), SpanKind::Server, "x");
    assert_eq!(child.context().flags, 0);
    assert!(!child.is_recording());
}

#[tokio::test]
async fn a_zero_context_is_the_root_of_a_new_trace() {
    let tracer = open(&rate("1", true)).unwrap();
    let roots: HashSet<_> = (0..10)
        .map(|_| {
            tracer
                .start(Some(&TraceContext::ZERO), SpanKind::Client, "x")
                .context()
                .trace_id
        })
        .collect();
    assert_eq!(roots.len(), 10);
    assert!(!roots.contains(&[0; 16]));
}

#[tokio::test]
async fn exporters_are_made_only_of_whole_settings() {
    let otlp = |endpoint: &str, protocol: &str| TraceSettings {
        otlp: Some(OtlpSettings {
            endpoint: endpoint.to_owned(),
            protocol: protocol.to_owned(),
            secure: false,
            ..OtlpSettings::default()
        }),
        ..TraceSettings::default()
    };
    let real = |settings: &TraceSettings| {
        let tracer = open(settings).unwrap();
        tracer
            .start(Some(&parent(PARENT)), SpanKind::Client, "x")
            .is_recording()
    };
    assert!(real(&otlp("collector:4317", "grpc")) && real(&otlp("collector:4318", "http")));
    assert!(!real(&otlp("", "grpc")) && !real(&otlp("collector:4317", "")));
    let error = open(&otlp("collector:4317", "thrift")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid protocol thrift provided for Otel endpoint"
    );
    let zipkin = TraceSettings {
        zipkin: Some("collector:9411".to_owned()),
        ..TraceSettings::default()
    };
    assert!(matches!(
        open(&zipkin),
        Err(SetupError::Address {
            exporter: "zipkin",
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_span_records_what_it_is_told() {
    let memory = Memory::with_permits(1);
    let (pipeline, task) = pipeline(BatchLimits::default(), &memory);
    let mut span = span(&pipeline, "/v1.0/invoke/b/method/m");
    tokio::time::advance(Duration::from_millis(7)).await;
    span.set_name("CallLocal/b/m");
    span.set_attribute("dapr.api", "GET /old");
    span.set_attribute("dapr.api", "GET /v1.0/invoke/b/method/m");
    span.set_attribute("empty", "");
    span.set_attribute("__dapr.internal", "x");
    span.set_attribute(format!("dapr-{}", "header"), "y");
    (0..200).for_each(|number| span.set_attribute(format!("a{number}"), "v"));
    span.set_http_status(http::StatusCode::NOT_FOUND);
    span.end();
    pipeline.close();
    task.await.unwrap();
    let record = only_record(&memory);
    assert_eq!(record.name, "CallLocal/b/m");
    assert_eq!(
        record.attributes[0],
        ("dapr.api".into(), "GET /v1.0/invoke/b/method/m".to_owned())
    );
    assert_eq!(record.attributes[1], ("dapr-header".into(), "y".to_owned()));
    assert_eq!((record.attributes.len(), record.dropped_attributes), (128, 74));
    assert_eq!(record.failure.as_deref(), Some("Code(404): Not Found"));
    assert_eq!(
        record.end.duration_since(record.start).unwrap(),
        Duration::from_millis(7)
    );
}

#[tokio::test]
async fn statuses_below_400_are_no_failure() {
    let memory = Memory::with_permits(1);
    let (pipeline, task) = pipeline(BatchLimits::default(), &memory);
    let mut span = span(&pipeline, "x");
    span.set_http_status(http::StatusCode::NO_CONTENT);
    drop(span);
    pipeline.close();
    task.await.unwrap();
    assert_eq!(only_record(&memory).failure, None);
}

#[tokio::test(start_paused = true)]
async fn spans_wait_for_company_until_the_delay_is_over() {
    let memory = Memory::with_permits(10);
    let (pipeline, _task) = pipeline(BatchLimits::default(), &memory);
    spans(&pipeline, 3);
    tokio::time::sleep(Duration::from_millis(4_900)).await;
    spans(&pipeline, 1);
    assert_eq!(memory.sizes(), [0; 0]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(memory.sizes(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let memory = Memory::with_permits(10);
    let limits = BatchLimits {
        batch: 4,
        ..BatchLimits::default()
    };
    let (pipeline, _task) = pipeline(limits, &memory);
    spans(&pipeline, 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    spans(&pipeline, 9);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(memory.sizes(), [4, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_the_queue_is_dropped_and_said() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let memory = Memory::with_permits(0);
    let limits = BatchLimits {
        queue: 10,
        batch: 5,
        ..BatchLimits::default()
    };
    let (pipeline, _task) = pipeline(limits, &memory);
    spans(&pipeline, 25);
    memory.permits.add_permits(10);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(memory.sizes(), [5, 5]);
    let warnings = lines.lines();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("15 spans dropped: the queue of the memory exporter was full"),
        "{warnings:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_exports_what_is_left_and_takes_nothing_more() {
    let memory = Memory::with_permits(10);
    let (pipeline, task) = pipeline(
        BatchLimits {
            batch: 4,
            ..BatchLimits::default()
        },
        &memory,
    );
    spans(&pipeline, 6);
    pipeline.close();
    task.await.unwrap();
    assert_eq!(memory.sizes(), [4, 2]);
    spans(&pipeline, 1);
    assert_eq!(memory.sizes(), [4, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_receiver_that_hangs() {
    let zipkin = Some("http://collector:9411/".to_owned());
    let batch = BatchLimits {
        batch: 1,
        ..BatchLimits::default()
    };
    let settings = TraceSettings {
        zipkin,
        batch,
        ..rate("1", false)
    };
    let network = Network {
        connect: Arc::new(BlackHole),
        ..nowhere()
    };
    let tracer = Tracer::open(&settings, &Handle::current(), &network).unwrap();
    (0..100).for_each(|_| tracer.start(None, SpanKind::Client, "x").end());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = tokio::time::Instant::now();
    tracer.shutdown().await;
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_makes_one_line() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let memory = Memory {
        refuses: true,
        ..Memory::with_permits(10)
    };
    let (pipeline, task) = pipeline(
        BatchLimits {
            batch: 1,
            ..BatchLimits::default()
        },
        &memory,
    );
    spans(&pipeline, 5);
    pipeline.close();
    task.await.unwrap();
    assert_eq!(memory.sizes().len(), 5);
    let lines = lines.lines();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("failed to export 1 spans to memory: the receiver answered 503"),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_spans_is_counted() {
    let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
    let limits = BatchLimits {
        queue: 4,
        ..BatchLimits::default()
    };
    for refuses in [false, true] {
        let memory = Memory {
            refuses,
            ..Memory::with_permits(10)
        };
        let queue = Arc::new(Queue::new(limits));
        let task = tokio::spawn(counted(&queue, &memory, &metrics));
        let pipeline = Arc::new(Pipeline::new(vec![queue]));
        spans(&pipeline, 7);
        pipeline.close();
        task.await.unwrap();
    }
    let text = String::from_utf8(metrics.encode().into()).unwrap();
    for line in [
        "outrigger_export_dropped_total{reason=\"failed\",signal=\"traces\"} 4",
        "outrigger_export_dropped_total{reason=\"queue_full\",signal=\"traces\"} 6",
        "outrigger_export_sent_total{signal=\"traces\"} 4",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
}
