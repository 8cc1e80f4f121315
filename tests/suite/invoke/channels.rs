//! How sidecars speak to their app: protocols, limits, health, tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_api::common::InvokeResponse;
use outrigger_test_kit::http::{Flavor, get, send};
use outrigger_test_kit::{
    Authority, Daprd, GrpcAnswer, GrpcApp, GrpcCall, HttpApp, HttpRequest, HttpResponse, Leaf, isolated, tls,
    until,
};
use tokio::sync::Semaphore;

use super::{app, assert_failure};

/// A certificate that nobody has a reason to believe.
fn self_made() -> outrigger_test_kit::Result<outrigger_test_kit::Certificate> {
    Authority::new()?.issue(&Leaf {
        dns_names: vec!["elsewhere".to_owned()],
        ..Leaf::default()
    })
}

#[test]
fn http_apps_are_reached_in_tls_that_is_not_verified_and_in_http2() {
    isolated!(async {
        let answer = async |request: HttpRequest| {
            HttpResponse::new(201, request.body).header("x-target", request.target)
        };
        let config = tls::server_config(&self_made()?, &["http/1.1"])?;
        let secure = HttpApp::start_as(Flavor::Https(config), 0, answer).await?;
        let plain2 = HttpApp::start_as(Flavor::H2c, 0, answer).await?;
        for (protocol, app) in [("https", &secure), ("h2c", &plain2)] {
            let sidecar = Daprd::builder(protocol)?
                .app(protocol, app.port())
                .env("APP_API_TOKEN", "secret")
                .start()
                .await?;
            let path = format!("/v1.0/invoke/{protocol}/method/a%20b?x=1");
            let long = vec![b'x'; 1_000_000];
            for request in [
                HttpRequest::new("POST", &path).body("hello"),
                HttpRequest::new("PUT", &path).body(long).chunked([70_000]),
                HttpRequest::new("GET", &path),
            ] {
                let reply = sidecar.send(&request).await?;
                assert_eq!((reply.status, &reply.body), (201, &request.body), "{protocol}");
                assert_eq!(reply.header("x-target"), Some("/a%20b?x=1"));
            }
            let received = &app.requests_for("/a%20b")[0];
            assert_eq!(received.headers.get("dapr-api-token"), Some("secret"));
            assert_eq!(received.headers.get("dapr-caller-app-id"), Some(protocol));

            let metadata = sidecar.get("/v1.0/metadata").await?.json()?;
            assert_eq!(metadata["appConnectionProperties"]["protocol"], protocol);
            app.stop();
            let reply = until("the app to be gone", async || {
                let reply = sidecar.invoke(protocol, "x").await.ok()?;
                reply.text().contains("refused").then_some(reply)
            })
            .await?;
            let scheme = if protocol == "https" { "https" } else { "http" };
            let port = app.port();
            let expected = format!(
                "Get \"{scheme}://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            );
            assert_failure(&reply, protocol, &expected);
        }
        Ok(())
    });
}

#[test]
fn grpc_apps_are_reached_in_tls_that_is_not_verified() {
    isolated!(async {
        let config = tls::server_config(&self_made()?, &["h2"])?;
        let app = GrpcApp::start_with(Some(config), async |_| {
            GrpcAnswer::message(&InvokeResponse {
                content_type: "text/plain".to_owned(),
                ..InvokeResponse::default()
            })
        })
        .await?;
        let sidecar = Daprd::builder("secure")?.app("grpcs", app.port()).start().await?;
        let reply = sidecar.invoke("secure", "x").await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
        let client = sidecar.grpc().await?;
        let metadata = outrigger_test_kit::grpc::metadata([("dapr-app-id", "secure")]);
        assert_eq!(client.call("/a.B/C", metadata, ["x"]).await?.status, 0);
        Ok(())
    });
}

#[test]
fn no_more_requests_than_allowed_are_at_the_app_at_once() {
    isolated!(async {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Semaphore::new(0));
        let (inside, peak, wait) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&gate));
        let app = app(move |_| {
            let (inside, peak, wait) = (Arc::clone(&inside), Arc::clone(&peak), Arc::clone(&wait));
            async move {
                peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                wait.acquire().await.expect("it stays open").forget();
                inside.fetch_sub(1, Ordering::SeqCst);
                HttpResponse::ok("x")
            }
        })
        .await?;
        let sidecar = Daprd::builder("few")?
            .app("http", app.port())
            .flag("app-max-concurrency", 2)
            .start()
            .await?;
        let url = sidecar.url("/v1.0/invoke/few/method/x");
        let calls: Vec<_> = (0..6).map(|_| tokio::spawn(get(url.clone()))).collect();
        until("two requests at the app", async || {
            (now.load(Ordering::SeqCst) == 2).then_some(())
        })
        .await?;
        gate.add_permits(6);
        for call in calls {
            assert_eq!(call.await??.status, 200);
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        let metadata = sidecar.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata["appConnectionProperties"]["maxConcurrency"], 2);
        Ok(())
    });
}

#[test]
fn an_unhealthy_http_app_gets_no_calls_until_it_is_healthy_again() {
    isolated!(async {
        let healthy = Arc::new(AtomicBool::new(true));
        let shown = Arc::clone(&healthy);
        let app = app(move |request: HttpRequest| {
            let is_healthy = shown.load(Ordering::SeqCst) || request.path() != "/healthz-mine";
            async move { HttpResponse::new(if is_healthy { 200 } else { 500 }, "") }
        })
        .await?;
        let callee = Daprd::builder("callee")?
            .app("http", app.port())
            .env("APP_API_TOKEN", "secret")
            .flag("enable-app-health-check", true)
            .flag("app-health-check-path", "/healthz-mine")
            .flag("app-health-probe-interval", 1)
            .flag("app-health-probe-timeout", 500)
            .flag("app-health-threshold", 1);
        let (caller, callee) = super::both(Daprd::builder("caller")?, callee).await?;
        until("the app to be healthy", async || {
            (caller.invoke("callee", "x").await.ok()?.status == 200).then_some(())
        })
        .await?;
        let probe = &app.requests_for("/healthz-mine")[0];
        assert_eq!(probe.method, "GET");
        assert_eq!(probe.headers.get("dapr-api-token"), None, "probes carry no token");

        healthy.store(false, Ordering::SeqCst);
        let reply = until("the app to be unhealthy", async || {
            let reply = caller.invoke("callee", "x").await.ok()?;
            (reply.status == 500).then_some(reply)
        })
        .await?;
        let text = "rpc error: code = Internal desc = app is not in a healthy state";
        let remote = format!("rpc error: code = Internal desc = error invoking app channel: {text}");
        assert_failure(&reply, "callee", &remote);
        assert_failure(&callee.invoke("callee", "x").await?, "callee", text);
        // The sidecar itself is healthy all the same.
        assert_eq!(callee.get("/v1.0/healthz").await?.status, 204);

        healthy.store(true, Ordering::SeqCst);
        until("the app to be healthy again", async || {
            (caller.invoke("callee", "x").await.ok()?.status == 200).then_some(())
        })
        .await?;
        let health = callee.get("/v1.0/metadata").await?.json()?["appConnectionProperties"]["health"].clone();
        assert_eq!(
            health,
            serde_json::json!({
                "healthCheckPath": "/healthz-mine",
                "healthProbeInterval": "1s",
                "healthProbeTimeout": "500ms",
                "healthThreshold": 1,
            })
        );
        Ok(())
    });
}

#[test]
fn an_unhealthy_grpc_app_gets_no_calls() {
    isolated!(async {
        let healthy = Arc::new(AtomicBool::new(true));
        let shown = Arc::clone(&healthy);
        let app = GrpcApp::start(move |call: GrpcCall| {
            let is_healthy = shown.load(Ordering::SeqCst);
            async move {
                match call.path.as_str() {
                    "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck" if !is_healthy => {
                        GrpcAnswer::status(14, "not now")
                    }
                    _ => GrpcAnswer::bytes([""]),
                }
            }
        })
        .await?;
        let sidecar = Daprd::builder("callee")?
            .app("grpc", app.port())
            .flag("enable-app-health-check", true)
            .flag("app-health-probe-interval", 1)
            .flag("app-health-threshold", 1)
            .start()
            .await?;
        until("the app to be healthy", async || {
            (sidecar.invoke("callee", "x").await.ok()?.status == 200).then_some(())
        })
        .await?;
        healthy.store(false, Ordering::SeqCst);
        let reply = until("the app to be unhealthy", async || {
            let reply = sidecar.invoke("callee", "x").await.ok()?;
            (reply.status == 500).then_some(reply)
        })
        .await?;
        assert_failure(
            &reply,
            "callee",
            "rpc error: code = Internal desc = app is not in a healthy state",
        );
        Ok(())
    });
}

#[test]
fn a_caller_that_waits_for_its_turn_can_go_away() {
    isolated!(async {
        let gate = Arc::new(Semaphore::new(0));
        let wait = Arc::clone(&gate);
        let app = app(move |_| {
            let wait = Arc::clone(&wait);
            async move {
                wait.acquire().await.expect("it stays open").forget();
                HttpResponse::ok("x")
            }
        })
        .await?;
        let sidecar = Daprd::builder("few")?
            .app("http", app.port())
            .flag("app-max-concurrency", 1)
            .start()
            .await?;
        let url = sidecar.url("/v1.0/invoke/few/method");
        let first = tokio::spawn(get(format!("{url}/first")));
        app.wait_for_requests("/first", 1).await?;
        let gone = HttpRequest::new("GET", format!("{url}/gone"));
        let left = tokio::time::timeout(Duration::from_millis(200), send(&gone)).await;
        assert!(left.is_err(), "the turn has not come");
        let last = tokio::spawn(get(format!("{url}/last")));
        gate.add_permits(2);
        assert_eq!(first.await??.status, 200);
        assert_eq!(last.await??.status, 200);
        assert!(app.requests_for("/gone").is_empty());
        Ok(())
    });
}
