//! Recording on series that exist.

use std::hint::black_box;
use std::time::Duration;

use outrigger_telemetry::metrics::{HttpLabels, Kind, Metrics, MetricsSettings};

use crate::Meter;
use crate::samples::INVOKE_PATH;

const STAGE: &str = "metrics";

const ELAPSED: Duration = Duration::from_micros(300);

pub(crate) fn measure(meter: &mut impl Meter) {
    let metrics = with_labels(HttpLabels::default());
    let off = Metrics::disabled();
    let templates = vec![
        "/neworder".to_owned(),
        "/orders/{id}".to_owned(),
        "/orders/{id}/items".to_owned(),
    ];
    let matching = with_labels(HttpLabels {
        path_matching: templates,
        ..HttpLabels::default()
    });
    let (path, grpc) = (
        black_box(INVOKE_PATH),
        "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream",
    );

    meter.measure(STAGE, "HTTP request, metrics off", || {
        off.http_server().record("GET", path, 200, 0, 1024, ELAPSED);
    });
    meter.measure(STAGE, "HTTP request", || {
        metrics.http_server().record("GET", path, 200, 0, 1024, ELAPSED);
    });
    meter.measure(STAGE, "HTTP request, path templates", || {
        matching.http_server().record("GET", path, 200, 0, 1024, ELAPSED);
    });
    let series = metrics.http_client().series("GET", "/neworder", 200);
    meter.measure(STAGE, "HTTP request, series at hand", || {
        series.record(0, 1024, ELAPSED)
    });
    meter.measure(STAGE, "gRPC call", || {
        metrics.grpc_server().record(grpc, 0, 1024, 1024, ELAPSED)
    });
    let target = metrics.invocation().target("callee");
    meter.measure(STAGE, "call to another app", || {
        target.request_sent(Kind::Unary);
        target.response_received(200, Kind::Unary);
        target.response_latency(200, ELAPSED);
    });
    meter.measure(STAGE, "call of another app", || {
        let caller = metrics.invocation().caller(black_box("caller"));
        caller.request_received();
        caller.response_sent(200);
    });
}

fn with_labels(http: HttpLabels) -> Metrics {
    let settings = MetricsSettings {
        app_id: "caller".into(),
        http,
        ..MetricsSettings::default()
    };
    Metrics::new(&settings).expect("there are no rules")
}
