//! Circuit breakers.

use outrigger_api::common::InvokeRequest;
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::http::Flavor;
use outrigger_test_kit::{Daprd, HttpApp, HttpRequest, HttpResponse, Result, isolated, until};
use prost::Message as _;
use tokio::sync::watch;

use super::super::invoke::assert_failure;
use super::{flaky, post, sidecars};

const SPEC: &str = "{policies: {circuitBreakers: {b: {trip: consecutiveFailures >= 2, timeout: 500ms}}, \
                    retries: {r: {duration: 1ms, maxRetries: 9}}}, \
                    targets: {apps: {callee: {circuitBreaker: b}, caller: {circuitBreaker: b, retry: r}}}}";

/// The state of the breaker of an app as the metrics show it.
async fn shown(caller: &Daprd, target: &str) -> Result<Vec<&'static str>> {
    let mut shown = Vec::new();
    for state in ["closed", "half-open", "open", "unknown"] {
        let labels = [
            ("target", target),
            ("status", state),
            ("policy", "circuitbreaker"),
        ];
        if caller.metric("dapr_resiliency_cb_state", &labels).await? == Some(1.0) {
            shown.push(state);
        }
    }
    Ok(shown)
}

#[test]
fn a_method_that_keeps_failing_is_left_alone_and_tried_again_later() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), SPEC).await?;
        for _ in 0..2 {
            assert_eq!(post(&caller, "callee", "fail/2/500/a", "x").await?.status, 500);
        }
        assert_eq!(shown(&caller, "app_callee").await?, ["open"]);
        let reply = post(&caller, "callee", "fail/2/500/a", "x").await?;
        assert_failure(&reply, "callee", "circuit breaker is open");
        assert_eq!(attempts.of("/fail/2/500/a"), 2);
        caller
            .process
            .wait_for_line(
                "level=info msg=\"Circuit breaker \\\"callee:fail/2/500/a\\\" changed state from closed to open\"",
            )
            .await?;
        // Another surface meets the same breaker, another method another one.
        let request = InvokeServiceRequest {
            id: "callee".to_owned(),
            message: Some(InvokeRequest {
                method: "fail/2/500/a".to_owned(),
                ..InvokeRequest::default()
            }),
        };
        let path = "/dapr.proto.runtime.v1.Dapr/InvokeService";
        let client = caller.grpc().await?;
        let reply = client
            .call(path, http::HeaderMap::new(), [request.encode_to_vec()])
            .await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (2, "circuit breaker is open")
        );
        assert_eq!(post(&caller, "callee", "other", "x").await?.status, 200);

        let reply = until("the breaker to try again", async || {
            let reply = post(&caller, "callee", "fail/2/500/a", "x").await.ok()?;
            (reply.status == 200).then_some(reply)
        })
        .await?;
        assert_eq!(reply.text(), "x");
        assert_eq!(attempts.of("/fail/2/500/a"), 3);
        for change in ["open to half-open", "half-open to closed"] {
            caller
                .process
                .wait_for_line(&format!("changed state from {change}\""))
                .await?;
        }
        assert_eq!(shown(&caller, "app_callee").await?, ["closed"]);
        let activations = |status| {
            let labels = [
                ("policy", "circuitbreaker"),
                ("target", "app_callee"),
                ("status", status),
            ];
            let caller = &caller;
            async move { caller.metric("dapr_resiliency_activations_total", &labels).await }
        };
        assert_eq!(activations("open").await?, Some(1.0));
        assert_eq!(activations("closed").await?, Some(1.0));
        assert_eq!(activations("half-open").await?, None);
        Ok(())
    });
}

#[test]
fn an_open_breaker_ends_retries_at_once() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), SPEC).await?;
        let reply = post(&caller, "caller", "fail/9/500/a", "x").await?;
        assert_failure(&reply, "caller", "circuit breaker is open");
        assert_eq!(attempts.of("/fail/9/500/a"), 2);
        Ok(())
    });
}

#[test]
fn answers_to_bodies_of_unknown_length_count_too() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), SPEC).await?;
        let request = HttpRequest::new("POST", "/v1.0/invoke/caller/method/fail/9/500/a")
            .body("hello")
            .chunked([3]);
        for count in 1..=2 {
            let reply = caller.send(&request).await?;
            assert_eq!((reply.status, reply.text()), (500, format!("attempt {count}")));
        }
        assert_failure(&caller.send(&request).await?, "caller", "circuit breaker is open");
        assert_eq!(attempts.of("/fail/9/500/a"), 2);
        Ok(())
    });
}

#[test]
fn while_a_breaker_is_half_open_one_call_tries() {
    isolated!(async {
        let (release, released) = watch::channel(false);
        let (is_up, up) = watch::channel(false);
        let app = HttpApp::start_as(Flavor::Http, 0, move |_: HttpRequest| {
            let (up, mut released) = (up.clone(), released.clone());
            async move {
                if !*up.borrow() {
                    return HttpResponse::new(503, "down");
                }
                released.wait_for(|released| *released).await.ok();
                HttpResponse::ok("up")
            }
        })
        .await?;
        let spec = "{policies: {circuitBreakers: {b: {trip: consecutiveFailures > 0, timeout: 200ms}}}, targets: \
                    {apps: {callee: {circuitBreaker: b}}}}";
        let (caller, _callee) = sidecars("http", app.port(), spec).await?;
        app.clear();
        assert_eq!(caller.invoke("callee", "x").await?.status, 503);
        is_up.send(true)?;
        let trying = async {
            until("the breaker to let a call through", async || {
                let reply = caller.invoke("callee", "x").await.ok()?;
                (reply.status == 200).then_some(reply)
            })
            .await
        };
        let refused = async {
            app.wait_for_requests("/x", 2).await?;
            let reply = caller.invoke("callee", "x").await?;
            assert_failure(&reply, "callee", "too many requests");
            release.send(true)?;
            Ok::<_, anyhow::Error>(())
        };
        let (tried, refused) = tokio::join!(trying, refused);
        refused?;
        assert_eq!(tried?.text(), "up");
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        Ok(())
    });
}
