//! Values that the state block reads and saves, on a store that costs nothing.

use std::hint::black_box;

use bytes::Bytes;
use outrigger_component::state::Json;
use outrigger_kit::json;
use outrigger_proxy::bench_support::StateBlock;
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};

use crate::Meter;

const STAGE: &str = "state";

pub(crate) fn measure(meter: &mut impl Meter) {
    let settings = MetricsSettings {
        app_id: "caller".into(),
        ..MetricsSettings::default()
    };
    let metrics = Metrics::new(&settings).expect("there are no rules to be wrong");
    let text = format!("\"{}\"", "x".repeat(1022));
    let block = StateBlock::new(Bytes::from(text.clone()), &metrics);
    assert_eq!(block.get("order-17"), (200, 1024));
    meter.measure(STAGE, "get 1 KiB over HTTP", || block.get(black_box("order-17")));

    let bodies = [
        ("save a text of 1 KiB over HTTP", text),
        ("save an object of 1 KiB over HTTP", sorted()),
        ("save 1 KiB in another form over HTTP", reversed()),
    ];
    for (name, value) in bodies {
        let body = Bytes::from(format!(r#"[{{"key":"order-17","value":{value}}}]"#));
        assert_eq!(block.save(body.clone()), (204, 0), "{name}");
        meter.measure(STAGE, name, || block.save(black_box(body.clone())));
    }
    forms(meter);
}

/// The form of a value alone, and of the same value in another order.
fn forms(meter: &mut impl Meter) {
    let text = Bytes::from(sorted());
    meter.measure(STAGE, "read JSON of 1 KiB that has its form", || {
        Json::parse(black_box(&text))
    });
    let other = Bytes::from(reversed());
    meter.measure(STAGE, "bring JSON of 1 KiB into its form", || {
        Json::parse(black_box(&other))
    });
    let mut out = Vec::with_capacity(2048);
    meter.measure(STAGE, "embed JSON of 1 KiB in an answer", || {
        out.clear();
        json::compact(&mut out, black_box(&text))
    });
}

/// An object in its one form.
fn sorted() -> String {
    let members: Vec<_> = (0..48)
        .map(|number| format!("\"name{number:02}\":\"value {number:03}\""))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// An object with spaces whose members are in no order.
fn reversed() -> String {
    let members: Vec<_> = (0..40)
        .rev()
        .map(|number| format!("\"name{number:02}\" : \"value {number:03}\""))
        .collect();
    format!("{{ {} }}", members.join(" , "))
}
