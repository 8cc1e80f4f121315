//! From a request's path to what it asks for.

use std::hint::black_box;

use http::{HeaderMap, HeaderValue, Method};
use outrigger_kit::{method, path};
use outrigger_proxy::bench_support::{ApiRouter, target};

use crate::Meter;
use crate::samples::INVOKE_PATH;

const STAGE: &str = "routing";

pub(crate) fn measure(meter: &mut impl Meter) {
    meter.measure(STAGE, "clean a path that is clean", || {
        path::clean(black_box(INVOKE_PATH))
    });
    meter.measure(STAGE, "clean a path that is not", || {
        path::clean(black_box("/v1.0//invoke/./a/../callee/method/x/"))
    });
    meter.measure(STAGE, "normalise a method that is normal", || {
        method::normalise(black_box("api/orders/17"))
    });
    meter.measure(STAGE, "normalise a method that is not", || {
        method::normalise(black_box("../api//orders/./17/"))
    });
    routes(meter);
    targets(meter);
}

fn routes(meter: &mut impl Meter) {
    let router = ApiRouter::new();
    let cases = [
        ("find the invocation of an app", Method::GET, INVOKE_PATH),
        (
            "find a key of a state store",
            Method::GET,
            "/v1.0/state/statestore/order-17",
        ),
        (
            "find the deepest route",
            Method::POST,
            "/v1.0-beta1/workflows/dapr/i-1/raiseEvent/approved",
        ),
    ];
    for (name, verb, path) in cases {
        assert!(router.finds(&verb, path), "{path} has a route");
        meter.measure(STAGE, name, || router.finds(black_box(&verb), black_box(path)));
    }
    let path = "/api/orders/17";
    assert!(!router.finds(&Method::GET, path), "{path} has no route");
    meter.measure(STAGE, "find no route", || {
        router.finds(&Method::GET, black_box(path))
    });
}

fn targets(meter: &mut impl Meter) {
    let mut headers = HeaderMap::new();
    meter.measure(STAGE, "target named by the path", || {
        target(black_box(INVOKE_PATH), &headers)
    });
    headers.insert("dapr-app-id", HeaderValue::from_static("callee"));
    meter.measure(STAGE, "target named by a header", || {
        target(black_box("/neworder"), &headers)
    });
}
