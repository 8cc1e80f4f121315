//! Calls to an app with several instances, over loopback.

use std::net::SocketAddr;

use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use outrigger_telemetry::trace::Tracer;
use tokio::time::Instant;

use super::testing::{invoker, start_peer};
use crate::app::testing::{channel, echo, start_app, streamed};
use crate::http_api::testing::Api;

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A caller of an app with one instance that is up and some that are down.
async fn caller(down: usize) -> (Api, Metrics) {
    let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
    let app = start_app(echo).await;
    let up = start_peer(
        Some(channel(app.port())),
        Metrics::disabled(),
        Tracer::pass_through(),
    )
    .await;
    let mut apps = vec![("callee", up)];
    apps.extend((0..down).map(|_| ("callee", nobody())));
    (Api::new(Some(invoker(None, &apps, &[], &metrics))), metrics)
}

fn count(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.encode();
    let text = std::str::from_utf8(&text).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_call_to_a_dead_instance_goes_to_a_living_one_at_once() {
    for down in [1, 3] {
        let (api, metrics) = caller(down).await;
        let began = Instant::now();
        for _ in 0..30 {
            assert_eq!(api.get("/v1.0/invoke/callee/method/m").await.status, 200);
        }
        assert!(began.elapsed().as_millis() < 900, "{:?}", began.elapsed());
        assert_eq!(count(&metrics, "outrigger_balance_ejected"), down as f64);
        assert_eq!(count(&metrics, "outrigger_balance_ejections_total"), down as f64);
        let text = metrics.encode();
        assert!(
            std::str::from_utf8(&text)
                .unwrap()
                .contains(r#"dst_app_id="callee""#)
        );
    }
}

#[tokio::test]
async fn a_streaming_call_is_not_made_again() {
    let (api, _) = caller(1).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let request = http::Request::put("/v1.0/invoke/callee/method/m");
        let answer = api.send(request.body(streamed(&["ab", "c"])).unwrap()).await;
        statuses.push(answer.status);
    }
    let failed = statuses.iter().filter(|&&status| status == 500).count();
    assert_eq!(
        failed, 1,
        "one finds out, the others go to the living one: {statuses:?}"
    );
}
