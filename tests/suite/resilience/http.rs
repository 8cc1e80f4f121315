//! Invocation over HTTP.

use std::time::Duration;

use outrigger_test_kit::http::Piece;
use outrigger_test_kit::{HttpRequest, HttpResponse, isolated};
use tokio::time::Instant;

use super::super::invoke::{app, assert_failure};
use super::{flaky, post, sidecars};

const RETRIES: &str = "{policies: {retries: {r: {duration: 10ms, maxRetries: 3, matching: {httpStatusCodes: \
                       '302,429,500-599'}}}}, targets: {apps: {callee: {retry: r}, caller: {retry: r}}}}";

#[test]
fn failed_answers_are_tried_again_until_one_succeeds() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), RETRIES).await?;
        let long = "0123456789".repeat(10_000);
        let reply = post(&caller, "callee", "fail/2/503/a", long.clone()).await?;
        assert_eq!((reply.status, reply.text() == long), (200, true));
        let requests = app.requests_for("/fail/2/503/a");
        assert_eq!(requests.len(), 3);
        for request in &requests {
            assert_eq!(request.body.len(), long.len(), "each attempt has the whole body");
            assert_eq!(request.headers.all("x-forwarded-for").count(), 1);
        }
        caller
            .process
            .wait_for_line(
                "level=warning msg=\"Error processing operation endpoint[callee, callee:fail/2/503/a]. Retrying in \
                 10ms…\"",
            )
            .await?;
        let recovered = caller
            .process
            .wait_for_line(
                "level=info msg=\"Recovered processing operation endpoint[callee, callee:fail/2/503/a] after 3 \
                 attempts\"",
            )
            .await?;
        assert!(recovered.contains(" scope=dapr.runtime "), "{recovered}");
        assert_eq!(caller.process.lines_with("Error processing operation").len(), 1);

        // The own app is a target like any other.
        assert_eq!(post(&caller, "caller", "fail/1/500/own", "x").await?.status, 200);
        assert_eq!(attempts.of("/fail/1/500/own"), 2);
        Ok(())
    });
}

#[test]
fn the_last_answer_is_the_one_that_the_client_gets() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), RETRIES).await?;
        let table = [
            ("fail/9/503/listed", 503, 4),
            ("fail/9/429/listed", 429, 4),
            ("fail/9/404/not-listed", 404, 1),
            ("fail/9/302/no-failure", 302, 1),
            ("fail/9/101/not-listed", 101, 1),
        ];
        for (method, status, count) in table {
            let reply = post(&caller, "callee", method, "x").await?;
            assert_eq!(reply.status, status, "{method}");
            assert_eq!(attempts.of(&format!("/{method}")), count, "{method}");
            assert_eq!(reply.header("x-attempt"), Some(count.to_string().as_str()));
            if status != 101 {
                assert_eq!(reply.text(), format!("attempt {count}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_body_of_unknown_length_is_never_sent_twice() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), RETRIES).await?;
        let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/fail/1/500/chunked")
            .body("hello")
            .chunked([3]);
        let reply = caller.send(&request).await?;
        assert_eq!((reply.status, reply.text().as_str()), (500, "attempt 1"));
        assert_eq!(attempts.of("/fail/1/500/chunked"), 1);
        Ok(())
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let spec = "{policies: {timeouts: {t: 300ms}, retries: {r: {duration: 10ms, maxRetries: 2}}}, targets: {apps: \
                    {callee: {timeout: t, retry: r}, caller: {timeout: t}}}}";
        let (caller, _callee) = sidecars("http", app.port(), spec).await?;
        assert_eq!(post(&caller, "callee", "hang/1/a", "x").await?.text(), "x");
        assert_eq!(attempts.of("/hang/1/a"), 2);

        let begin = Instant::now();
        let reply = post(&caller, "callee", "hang/9/b", "x").await?;
        assert_failure(&reply, "callee", "context deadline exceeded");
        assert_eq!(attempts.of("/hang/9/b"), 3);
        assert!(begin.elapsed() >= Duration::from_millis(900));
        let reply = post(&caller, "caller", "hang/9/c", "x").await?;
        assert_failure(&reply, "caller", "context deadline exceeded");
        assert_eq!(attempts.of("/hang/9/c"), 1);

        let labels = |policy| [("policy", policy), ("target", "app_callee"), ("status", "")];
        let count = |name, policy| {
            let caller = &caller;
            async move { caller.metric(name, &labels(policy)).await }
        };
        assert_eq!(count("dapr_resiliency_count", "timeout").await?, Some(2.0));
        assert_eq!(count("dapr_resiliency_count", "retry").await?, Some(2.0));
        assert_eq!(
            count("dapr_resiliency_activations_total", "timeout").await?,
            Some(2.0)
        );
        assert_eq!(
            count("dapr_resiliency_activations_total", "retry").await?,
            Some(2.0)
        );
        Ok(())
    });
}

#[test]
fn a_timeout_covers_the_body_of_the_answer() {
    isolated!(async {
        let app = app(async |_| {
            let (response, sender) = HttpResponse::stream(200);
            tokio::spawn(async move {
                sender.send(Piece::Data("part".into())).await.ok();
                sender.closed().await;
            });
            response
        })
        .await?;
        let spec = "{policies: {timeouts: {t: 300ms}}, targets: {apps: {callee: {timeout: t}}}}";
        let (caller, _callee) = sidecars("http", app.port(), spec).await?;
        assert!(
            caller.invoke("callee", "x").await.is_err(),
            "the answer breaks off"
        );
        caller
            .process
            .wait_for_line(
                "level=warning msg=\"HTTP service invocation failed to complete with error: context deadline exceeded\"",
            )
            .await?;
        Ok(())
    });
}

#[test]
fn default_policies_apply_to_apps_that_no_resource_names() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let spec = "{policies: {retries: {DefaultAppRetryPolicy: {duration: 1ms, maxRetries: 2}, DefaultRetryPolicy: \
                    {duration: 1ms, maxRetries: 7}}}, targets: {apps: {caller: {}}}}";
        let (caller, _callee) = sidecars("http", app.port(), spec).await?;
        assert_eq!(post(&caller, "callee", "fail/9/500/x", "x").await?.status, 500);
        assert_eq!(attempts.of("/fail/9/500/x"), 3);
        assert_eq!(post(&caller, "caller", "fail/9/500/y", "x").await?.status, 500);
        assert_eq!(attempts.of("/fail/9/500/y"), 1);
        Ok(())
    });
}
