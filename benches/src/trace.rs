//! Trace contexts on the wire, and spans.

use std::hint::black_box;
use std::io;
use std::sync::Arc;

use http::HeaderMap;
use outrigger_svc::{BoxConnection, BoxFuture, Connect};
use outrigger_telemetry::export::{BatchLimits, Network};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::{SpanKind, TraceContext, TraceSettings, Tracer, baggage};

use crate::{Meter, samples};

const STAGE: &str = "trace";

/// A network that nobody is on: exporters that never run need none.
struct Nowhere;

pub(crate) fn measure(meter: &mut impl Meter) {
    contexts(meter);
    spans(meter);
}

fn contexts(meter: &mut impl Meter) {
    let context = samples::trace();
    let binary = context.to_grpc_bin();
    let headers = samples::client_headers();
    let parent = samples::TRACEPARENT.as_bytes();
    meter.measure(STAGE, "read traceparent", || {
        TraceContext::from_traceparent(black_box(parent))
    });
    meter.measure(STAGE, "read it out of the headers", || {
        TraceContext::from_headers(black_box(&headers))
    });
    meter.measure(STAGE, "write traceparent", || {
        black_box(&context).write_traceparent()
    });
    let mut written = HeaderMap::with_capacity(4);
    meter.measure(STAGE, "write it into headers", || {
        black_box(&context).write_headers(&mut written)
    });
    meter.measure(STAGE, "read grpc-trace-bin", || {
        TraceContext::from_grpc_bin(black_box(&binary))
    });
    meter.measure(STAGE, "write grpc-trace-bin", || {
        black_box(&context).to_grpc_bin()
    });
    meter.measure(STAGE, "check baggage", || {
        baggage::validate(black_box("tenant=blue,userId=17;ttl=60"))
    });
}

fn spans(meter: &mut impl Meter) {
    let control = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let network = Network {
        connect: Arc::new(Nowhere),
        crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        metrics: Metrics::disabled(),
    };
    let open = |sampling_rate: &str| {
        let settings = TraceSettings {
            sampling_rate: sampling_rate.to_owned(),
            stdout: true,
            // Nothing drives the exporter: the queue is always full, and the work is that of the request alone.
            batch: BatchLimits {
                queue: 1,
                ..BatchLimits::default()
            },
            ..TraceSettings::default()
        };
        Tracer::open(&settings, control.handle(), &network).expect("a tracer")
    };
    let sampled = samples::trace();
    let unsampled = TraceContext {
        flags: 0,
        ..samples::trace()
    };
    let tracers = [
        ("start and end a span, tracing off", Tracer::off(), &sampled),
        (
            "start and end a span, passed through",
            Tracer::pass_through(),
            &sampled,
        ),
        ("start and end a span, not sampled", open("0.000001"), &unsampled),
        ("start and end a span, sampled", open("1"), &sampled),
    ];
    for (name, tracer, parent) in tracers {
        meter.measure(STAGE, name, || {
            tracer.start(Some(black_box(parent)), SpanKind::Client, samples::INVOKE_PATH)
        });
    }
}

// === impl Nowhere ===

impl Connect for Nowhere {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<BoxConnection>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::NetworkUnreachable.into())))
    }
}
