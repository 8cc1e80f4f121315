//! SIGHUP: the runtime starts again in the same process.

use outrigger_test_kit::http::HttpConnection;
use outrigger_test_kit::{
    Authority, Daprd, HttpApp, HttpRequest, Process, Result, Sentry, Signal, free_port, isolated, until,
};

use super::{message, messages};

/// Waits until the runtime has been initialized `count` times.
async fn initialized(process: &Process, count: usize) -> Result<()> {
    process
        .wait_for_lines("dapr initialized. Status: Running.", count)
        .await?;
    Ok(())
}

#[test]
fn it_comes_back_on_the_same_ports_any_number_of_times() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let public_port = free_port()?;
        let mut daprd = Daprd::builder("a")?
            .app("http", app.port())
            .flag("dapr-public-port", public_port)
            .start()
            .await?;
        for restarts in 1..=4 {
            // A connection of the run before must not hold the ports.
            let mut connection = HttpConnection::open(daprd.http_port).await?;
            let health = HttpRequest::new("GET", "/v1.0/healthz");
            assert_eq!(connection.send(&health).await?.status, 204);
            daprd.process.signal(Signal::Hangup).await?;
            initialized(&daprd.process, restarts + 1).await?;
            daprd.ready().await?;
            assert_eq!(daprd.invoke("a", "x").await?.status, 200);
            assert!(daprd.metrics().await?.contains("dapr_http_server_request_count"));
            assert_eq!(
                daprd
                    .grpc()
                    .await?
                    .call("/x.Y/Z", http::HeaderMap::new(), [""])
                    .await?
                    .messages
                    .len(),
                0
            );
            let public = format!("http://127.0.0.1:{public_port}/v1.0/healthz");
            assert_eq!(outrigger_test_kit::http::get(public).await?.status, 204);
        }
        let told = messages(&daprd.process);
        let count = |text: &str| told.iter().filter(|line| line.as_str() == text).count();
        assert_eq!(count("Received signal 'hangup'; restarting"), 4);
        assert_eq!(count("app id: a"), 5);
        assert_eq!(count("standalone mode configured"), 5);
        assert_eq!(count("Log level set to: info"), 1);
        assert_eq!(count("Daprd shutdown gracefully"), 0);
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn files_are_read_again() {
    isolated!(async {
        let first = "spec: {features: [{name: First, enabled: true}]}";
        let second = "spec: {features: [{name: Second, enabled: true}]}";
        let daprd = Daprd::builder("a")?.configuration(first)?.start().await?;
        let features = async || -> Result<String> {
            Ok(daprd.get("/v1.0/metadata").await?.json()?["enabledFeatures"].to_string())
        };
        assert!(features().await?.contains("First"));
        daprd.directory().write("configuration.yaml", second)?;
        daprd.process.signal(Signal::Hangup).await?;
        until("the new feature", async || {
            let features = features().await.ok()?;
            (features.contains("Second") && !features.contains("First")).then_some(())
        })
        .await
    });
}

#[test]
fn a_burst_of_signals_is_harmless_and_never_counts_as_a_stop() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?.start().await?;
        for _ in 0..6 {
            daprd.process.signal(Signal::Hangup).await?;
        }
        initialized(&daprd.process, 2).await?;
        daprd.ready().await?;
        daprd.process.signal(Signal::Hangup).await?;
        daprd.process.signal(Signal::Interrupt).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        assert_eq!(
            messages(&daprd.process).last().map(String::as_str),
            Some("Daprd shutdown gracefully")
        );
        Ok(())
    });
}

#[test]
fn a_restart_during_the_start_is_no_error() {
    isolated!(async {
        for line in [
            "Log level set to",
            "app id: a",
            "HTTP server listening",
            "waiting on port",
        ] {
            let port = free_port()?;
            let mut daprd = Daprd::builder("a")?.app("http", port).spawn()?;
            daprd.process.wait_for_line(line).await?;
            daprd.process.signal(Signal::Hangup).await?;
            daprd
                .process
                .wait_for_lines("msg=\"app id: a\"", 2)
                .await
                .or_else(|error| {
                    // The first run may have been cut off before it said so.
                    if line.starts_with("Log") {
                        Ok(vec![])
                    } else {
                        Err(error)
                    }
                })?;
            let app = HttpApp::start_as(outrigger_test_kit::http::Flavor::Http, port, async |_| {
                outrigger_test_kit::HttpResponse::ok("")
            })
            .await?;
            daprd.ready().await?;
            assert_eq!(daprd.process.stop().await?.code(), Some(0), "{line}");
            app.stop();
        }
        Ok(())
    });
}

#[test]
fn a_restart_while_the_first_certificate_is_awaited_asks_again() {
    isolated!(async {
        let authority = Authority::new()?;
        let mut daprd = Daprd::builder("a")?
            .flag("enable-mtls", true)
            .flag("sentry-address", "127.0.0.1:1")
            .env("DAPR_TRUST_ANCHORS", authority.anchors())
            .spawn()?;
        for restarts in 1..=3 {
            daprd
                .process
                .wait_for_lines("msg=\"Fetching initial identity\"", restarts)
                .await?;
            daprd.process.signal(Signal::Hangup).await?;
        }
        daprd
            .process
            .wait_for_lines("msg=\"Fetching initial identity\"", 4)
            .await?;
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        Ok(())
    });
}

#[test]
fn a_restart_waits_for_the_calls_in_flight() {
    isolated!(async {
        let (release, released) = tokio::sync::watch::channel(false);
        let app = HttpApp::start(move |request: HttpRequest| {
            let mut released = released.clone();
            async move {
                if request.path() == "/slow" {
                    released
                        .wait_for(|released| *released)
                        .await
                        .expect("the test lives on");
                }
                outrigger_test_kit::HttpResponse::ok(request.path().to_owned())
            }
        })
        .await?;
        let daprd = Daprd::builder("a")?.app("http", app.port()).start().await?;
        let call = tokio::spawn({
            let url = daprd.url("/v1.0/invoke/a/method/slow");
            async move { outrigger_test_kit::http::get(url).await }
        });
        app.wait_for_requests("/slow", 1).await?;
        daprd.process.signal(Signal::Hangup).await?;
        daprd
            .process
            .wait_for_line("Received signal 'hangup'; restarting")
            .await?;
        release.send(true)?;
        let reply = call.await??;
        assert_eq!((reply.status, reply.text().as_str()), (200, "/slow"));
        initialized(&daprd.process, 2).await?;
        daprd.ready().await
    });
}

#[test]
fn each_run_has_an_identity_of_its_own() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let mut daprd = Daprd::builder("a")?.mtls(&sentry).start().await?;
        daprd.process.signal(Signal::Hangup).await?;
        initialized(&daprd.process, 2).await?;
        daprd.ready().await?;
        let told = messages(&daprd.process);
        let count = told
            .iter()
            .filter(|line| *line == "Security is initialized successfully")
            .count();
        assert_eq!(count, 2);
        assert!(daprd.process.stop().await?.success());
        let last = daprd.process.stdout().pop().unwrap_or_default();
        assert_eq!(message(&last), "Daprd shutdown gracefully");
        Ok(())
    });
}

#[test]
fn many_restarts_leave_nothing_behind() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let app = HttpApp::echo().await?;
        let daprd = Daprd::builder("a")?
            .app("http", app.port())
            .mtls(&sentry)
            .start()
            .await?;
        let figures = || -> Result<[usize; 2]> {
            let count = |folder: &str| -> Result<usize> {
                Ok(std::fs::read_dir(format!("/proc/{}/{folder}", daprd.process.id()))?.count())
            };
            Ok([count("fd")?, count("task")?])
        };
        let restart = async |restarts: usize| -> Result<()> {
            daprd.process.signal(Signal::Hangup).await?;
            initialized(&daprd.process, restarts + 1).await?;
            daprd.ready().await?;
            assert_eq!(daprd.invoke("a", "x").await?.status, 200);
            Ok(())
        };
        restart(1).await?;
        let before = figures()?;
        for restarts in 2..=12 {
            restart(restarts).await?;
        }
        until("as many files and threads as before", async || {
            let now = figures().ok()?;
            (now[0] <= before[0] + 2 && now[1] <= before[1]).then_some(())
        })
        .await
        .map_err(|error| error.context(format!("{before:?} before, {:?} now", figures())))
    });
}

#[test]
fn callers_do_not_notice_the_restart_of_a_callee() {
    isolated!(async {
        let mut cluster = outrigger_test_kit::Cluster::start(["caller", "callee"]).await?;
        let url = cluster["caller"].daprd.url("/v1.0/invoke/callee/method/x");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let calls = tokio::spawn({
            let stop = std::sync::Arc::clone(&stop);
            async move {
                let mut calls = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let reply = outrigger_test_kit::http::get(url.as_str()).await?;
                    anyhow::ensure!(reply.status == 200, "status {}: {}", reply.status, reply.text());
                    calls += 1;
                }
                anyhow::Ok(calls)
            }
        });
        let callee = cluster
            .member_mut("callee")
            .map(|member| &mut member.daprd)
            .expect("a member");
        for restarts in 1..=3 {
            callee.process.signal(Signal::Hangup).await?;
            initialized(&callee.process, restarts + 1).await?;
            callee.ready().await?;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(calls.await?? > 0);
        Ok(())
    });
}

#[test]
fn restarts_at_any_moment_end_well() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?.spawn()?;
        daprd.process.wait_for_line("Starting Dapr Runtime").await?;
        // Each line is a moment of the start or the end of a run.
        for line in [
            "mTLS is disabled",
            "metrics server started",
            "Initialized name resolution",
            "Loading components",
            "API gRPC server is running",
            "HTTP server is running",
            "Internal gRPC server is running",
            "dapr initialized",
            "Dapr is shutting down",
        ] {
            // A signal that is still on its way may cut off the run that the next one makes.
            until("the end of a start", async || {
                let last = messages(&daprd.process).pop()?;
                last.starts_with("Starting to watch Resiliency").then_some(())
            })
            .await?;
            let seen = daprd.process.lines_with(line).len();
            daprd.process.signal(Signal::Hangup).await?;
            daprd.process.wait_for_lines(line, seen + 1).await?;
            daprd.process.signal(Signal::Hangup).await?;
        }
        daprd.ready().await?;
        assert_eq!(daprd.process.lines_with("level=fatal").len(), 0);
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_configuration_that_has_become_wrong_ends_the_sidecar() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?.configuration("spec: {}")?.start().await?;
        daprd.directory().write("configuration.yaml", "spec: [")?;
        daprd.process.signal(Signal::Hangup).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert!(
            last.starts_with("Fatal error from runtime: error loading configuration: "),
            "{last}"
        );
        Ok(())
    });
}
