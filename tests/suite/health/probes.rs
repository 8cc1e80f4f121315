//! Probes: what they ask, how they are counted, and what becomes of calls.

use outrigger_test_kit::{Daprd, GrpcAnswer, GrpcApp, GrpcCall, Result, free_port, isolated};

use super::{Condition, answers, count, probing};

const HEALTHY: &str = "App entered healthy status";

/// The line of a change to the worse.
async fn worse(daprd: &Daprd, reason: &str) -> Result<()> {
    let line = daprd
        .process
        .wait_for_line(&format!("App entered un-healthy status: {reason}"))
        .await?;
    assert!(
        line.contains("level=warning") && line.contains("scope=dapr.apphealth "),
        "{line}"
    );
    Ok(())
}

#[test]
fn an_app_is_unhealthy_until_its_first_good_answer_and_nothing_is_told_of_that() {
    isolated!(async {
        let condition = Condition::new(503);
        let app = condition.app(0).await?;
        let daprd = probing(app.port())?
            .env("APP_API_TOKEN", "secret")
            .start()
            .await?;
        let probes = app.wait_for_requests("/healthz", 1).await?;
        assert_eq!(probes[0].method, "GET");
        for absent in ["dapr-api-token", "dapr-app-id", "traceparent"] {
            assert_eq!(probes[0].headers.get(absent), None, "{absent}");
        }
        let reply = daprd.invoke("a", "x").await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (
                500,
                "{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed to invoke, id: a, err: rpc error: code = \
                 Internal desc = app is not in a healthy state\"}"
            )
        );
        assert_eq!(app.requests_for("/dapr/config").len(), 0, "nobody is asked yet");
        // The sidecar's own health is another matter.
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);

        condition.set(204);
        daprd.process.wait_for_line(HEALTHY).await?;
        answers(&daprd, 200).await?;
        app.wait_for_requests("/dapr/config", 1).await?;
        assert_eq!(daprd.process.lines_with("un-healthy").len(), 0);
        Ok(())
    });
}

#[test]
fn an_app_is_asked_for_its_settings_once_however_often_its_health_changes() {
    isolated!(async {
        let condition = Condition::new(200);
        let app = condition.app(0).await?;
        let daprd = probing(app.port())?.start().await?;
        for round in 1..=2 {
            condition.set(200);
            daprd.process.wait_for_lines(HEALTHY, round).await?;
            answers(&daprd, 200).await?;
            // A redirect is no good answer either.
            condition.set(302);
            worse(&daprd, "Health check failed with status code: 302").await?;
            answers(&daprd, 500).await?;
            daprd
                .process
                .wait_for_lines("App entered un-healthy status: ", round)
                .await?;
        }
        assert_eq!(app.requests_for("/dapr/config").len(), 1);
        assert_eq!(count(&daprd, "Application configuration loaded"), 1);
        Ok(())
    });
}

#[test]
fn failures_need_not_follow_each_other_to_reach_the_threshold() {
    isolated!(async {
        let condition = Condition::new(200);
        let app = condition.app(0).await?;
        let daprd = probing(app.port())?
            .flag("app-health-threshold", 2)
            .start()
            .await?;
        daprd.process.wait_for_line(HEALTHY).await?;
        let probed = async |status| {
            app.clear();
            condition.set(status);
            // The second probe that is seen from now on was answered so in any case.
            app.wait_for_requests("/healthz", 1).await
        };
        probed(500).await?;
        probed(200).await?;
        probed(200).await?;
        assert_eq!(daprd.process.lines_with("un-healthy").len(), 0);
        probed(500).await?;
        worse(&daprd, "Health check failed with status code: 500").await?;
        answers(&daprd, 500).await
    });
}

#[test]
fn an_app_that_hangs_or_goes_away_is_told_with_its_cause() {
    isolated!(async {
        let port = free_port()?;
        let (release, released) = tokio::sync::watch::channel(true);
        let app = outrigger_test_kit::HttpApp::start_as(
            outrigger_test_kit::http::Flavor::Http,
            port,
            move |_: outrigger_test_kit::HttpRequest| {
                let mut released = released.clone();
                async move {
                    released.wait_for(|released| *released).await.ok();
                    outrigger_test_kit::HttpResponse::ok("")
                }
            },
        )
        .await?;
        let daprd = probing(port)?
            .flag("app-health-check-path", "healthz")
            .flag("app-health-probe-timeout", 200)
            .start()
            .await?;
        daprd.process.wait_for_line(HEALTHY).await?;
        release.send(false)?;
        let url = format!("http://127.0.0.1:{port}/healthz");
        let quoted = format!("Network error: Get \\\"{url}\\\": ");
        worse(&daprd, &format!("{quoted}context deadline exceeded")).await?;
        release.send(true)?;
        daprd.process.wait_for_lines(HEALTHY, 2).await?;
        app.stop();
        drop(app);
        daprd
            .process
            .wait_for_lines("App entered un-healthy status: Network error: ", 2)
            .await?;
        answers(&daprd, 500).await
    });
}

#[test]
fn grpc_apps_are_probed_by_their_health_service() {
    isolated!(async {
        let condition = Condition::new(0);
        let shown = std::sync::Arc::clone(&condition.0);
        let app = GrpcApp::start(move |call: GrpcCall| {
            let status = shown.load(std::sync::atomic::Ordering::SeqCst);
            async move {
                match call.path.as_str() {
                    "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck" if status > 0 => {
                        GrpcAnswer::status(status.into(), "not now")
                    }
                    _ => GrpcAnswer::bytes([""]),
                }
            }
        })
        .await?;
        let daprd = probing(app.port())?.flag("app-protocol", "grpc").start().await?;
        daprd.process.wait_for_line(HEALTHY).await?;
        answers(&daprd, 200).await?;
        condition.set(14);
        worse(
            &daprd,
            "Probe error: rpc error: code = Unavailable desc = not now",
        )
        .await?;
        let line = daprd
            .process
            .wait_for_line(
                "App health probe could not complete with error: rpc error: code = Unavailable desc = not now",
            )
            .await?;
        assert!(line.contains("level=error"), "{line}");
        answers(&daprd, 500).await?;
        let health = daprd.get("/v1.0/metadata").await?.json()?["appConnectionProperties"]["health"].clone();
        assert_eq!(health.get("healthCheckPath"), None, "{health}");
        Ok(())
    });
}
