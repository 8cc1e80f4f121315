//! From HTTP headers and gRPC metadata to the map that travels between sidecars, and back.

use std::hint::black_box;

use outrigger_kit::header;
use outrigger_link::Metadata;
use outrigger_telemetry::trace::TraceContext;

use crate::{Meter, samples};

const STAGE: &str = "headers";

pub(crate) fn measure(meter: &mut impl Meter) {
    meter.measure(STAGE, "canonical form of a well-known name", || {
        header::canonical(black_box("content-type"))
    });
    meter.measure(STAGE, "canonical form of another name", || {
        header::canonical(black_box("x-order-number"))
    });

    let (client, grpc, app) = (
        samples::client_headers(),
        samples::grpc_headers(),
        samples::app_headers(),
    );
    meter.measure(STAGE, "request from an HTTP client", || {
        Metadata::from_http(black_box(&client))
    });
    meter.measure(STAGE, "request from a gRPC client", || {
        Metadata::from_grpc(black_box(&grpc), Some("callee:50001"))
    });
    meter.measure(STAGE, "answer from an HTTP app", || {
        Metadata::from_http_response(black_box(&app))
    });

    let (call, reply) = (samples::received_call(), samples::received_reply());
    let trace = TraceContext::ZERO;
    meter.measure(STAGE, "request to an HTTP app", || {
        black_box(&call.metadata).to_http_headers(&trace)
    });
    meter.measure(STAGE, "request to a gRPC app", || {
        black_box(&call.metadata).to_grpc_metadata(&trace)
    });
    meter.measure(STAGE, "answer to an HTTP client", || {
        black_box(&reply.headers).to_http_headers(&trace)
    });
}
