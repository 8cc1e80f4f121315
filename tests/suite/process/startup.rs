//! From the start of the process to the first healthy moment.

use std::net::Ipv4Addr;

use outrigger_test_kit::http::Flavor;
use outrigger_test_kit::{
    Daprd, HttpApp, HttpRequest, HttpResponse, Sentry, Signal, free_port, isolated, wait_for_port,
};
use tokio::net::TcpStream;

use super::{in_shell, messages};

fn ports(daprd: &Daprd) -> [u16; 4] {
    [
        daprd.http_port,
        daprd.grpc_port,
        daprd.internal_port,
        daprd.metrics_port,
    ]
}

async fn is_open(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
}

#[test]
fn no_port_is_open_before_the_first_certificate() {
    isolated!(async {
        let authority = outrigger_test_kit::Authority::new()?;
        let port = free_port()?;
        let daprd = Daprd::builder("a")?
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{port}"))
            .flag("dapr-public-port", free_port()?)
            .env("DAPR_TRUST_ANCHORS", authority.anchors())
            .spawn()?;
        daprd
            .process
            .wait_for_line("msg=\"Fetching initial identity\"")
            .await?;
        for port in ports(&daprd) {
            assert!(!is_open(port).await, "port {port}");
        }
        let directory = outrigger_test_kit::Directory::new()?;
        authority.write(directory.path())?;
        let configuration = directory.write("configuration.yaml", "")?;
        let _sentry = outrigger_test_kit::Program::outrigger("sentry")?
            .flag("port", port)
            .flag("healthz-port", free_port()?)
            .flag("metrics-port", free_port()?)
            .flag("issuer-credentials", directory.path().display())
            .flag("config", configuration.display())
            .start()?;
        daprd.ready().await?;
        for port in ports(&daprd) {
            assert!(is_open(port).await, "port {port}");
        }
        daprd
            .process
            .wait_for_line("msg=\"Security is initialized successfully\"")
            .await?;
        daprd
            .process
            .wait_for_line("Starting workload identity expiry watcher; cert expires on: ")
            .await?;
        Ok(())
    });
}

#[test]
fn a_stop_while_the_first_certificate_is_awaited_is_fatal() {
    isolated!(async {
        let authority = outrigger_test_kit::Authority::new()?;
        for signal in [Signal::Terminate, Signal::Interrupt] {
            let mut daprd = Daprd::builder("a")?
                .flag("enable-mtls", true)
                .flag("sentry-address", "127.0.0.1:1")
                .env("DAPR_TRUST_ANCHORS", authority.anchors())
                .spawn()?;
            daprd
                .process
                .wait_for_line("msg=\"Fetching initial identity\"")
                .await?;
            daprd.process.signal(signal).await?;
            assert_eq!(daprd.process.exit().await?.code(), Some(1));
            let last = messages(&daprd.process).pop().unwrap_or_default();
            assert!(
                last.starts_with(
                    "Fatal error from runtime: failed to retrieve the initial identity: error establishing \
                     connection to sentry: context canceled"
                ),
                "{last}"
            );
        }
        Ok(())
    });
}

#[test]
fn the_apis_answer_while_the_app_is_waited_for() {
    isolated!(async {
        let port = free_port()?;
        let daprd = Daprd::builder("a")?.app("http", port).spawn()?;
        daprd
            .process
            .wait_for_line(&format!(
                "application protocol: http. waiting on port {port}.  This will block until the app is listening on \
                 that port."
            ))
            .await?;
        assert_eq!(daprd.get("/v1.0/healthz/outbound").await?.status, 204);
        let health = daprd.get("/v1.0/healthz").await?;
        assert_eq!(health.status, 500);
        assert_eq!(
            health.text(),
            "{\"errorCode\":\"ERR_HEALTH_NOT_READY\",\"message\":\"dapr is not ready: [runtime]\"}"
        );
        assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
        daprd
            .process
            .wait_for_line(&format!("waiting for application to listen on port {port}"))
            .await?;

        let app = HttpApp::start_as(Flavor::Http, port, async |request: HttpRequest| {
            match request.path() {
                "/dapr/config" => HttpResponse::json(&serde_json::json!({})),
                _ => HttpResponse::ok("hello"),
            }
        })
        .await?;
        daprd.ready().await?;
        // The first 204 promises that the app was asked.
        let asked = app.requests_for("/dapr/config");
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].method, "GET");
        assert_eq!(asked[0].headers.get("dapr-app-id"), Some("a"));
        assert_eq!(daprd.invoke("a", "x").await?.text(), "hello");
        daprd
            .process
            .wait_for_line(&format!("application discovered on port {port}"))
            .await?;
        Ok(())
    });
}

#[test]
fn the_app_is_not_asked_where_that_is_turned_off() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let daprd = Daprd::builder("a")?
            .app("http", app.port())
            .flag("disable-init-endpoints", " Config , SUBSCRIBE")
            .start()
            .await?;
        assert_eq!(app.requests_for("/dapr/config").len(), 0);
        daprd
            .process
            .wait_for_line(
                "Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)",
            )
            .await?;
        Ok(())
    });
}

#[test]
fn without_an_app_nothing_is_waited_for() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.start().await?;
        let told = messages(&daprd.process);
        for text in [
            "application protocol:",
            "waiting for application",
            "application discovered",
        ] {
            assert!(!told.iter().any(|line| line.starts_with(text)), "{told:#?}");
        }
        daprd
            .process
            .wait_for_line(
                "level=warning msg=\"App channel is not initialized. Did you configure an app-port?\"",
            )
            .await?;
        let reply = daprd.invoke("a", "x").await?;
        assert_eq!(reply.status, 500);
        assert_eq!(
            reply.json()?["message"],
            "failed to invoke, id: a, err: cannot invoke local endpoint: app channel not initialized"
        );
        Ok(())
    });
}

#[test]
fn metrics_are_open_before_the_app_is_there() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.app("http", free_port()?).spawn()?;
        wait_for_port(daprd.metrics_port).await?;
        assert!(daprd.metrics().await?.contains("# TYPE "));
        Ok(())
    });
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_accepted() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let stranger = outrigger_test_kit::Authority::new()?;
        let mut daprd = Daprd::builder("a")?
            .mtls(&sentry)
            .env("DAPR_TRUST_ANCHORS", stranger.anchors())
            .spawn()?;
        daprd
            .process
            .wait_for_line("msg=\"Fetching initial identity\"")
            .await?;
        let requests = async || {
            let url = format!("http://127.0.0.1:{}/", sentry.metrics_port);
            outrigger_test_kit::http::get(url).await.map(|reply| reply.text())
        };
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        assert!(
            !requests()
                .await?
                .contains("dapr_sentry_cert_sign_request_received_total")
        );
        Ok(())
    });
}

#[test]
fn as_many_connections_are_allowed_as_the_system_allows() {
    isolated!(async {
        let daprd = in_shell("ulimit -Sn 64; ulimit -Hn 5000; exec \"$0\" \"$@\"")?
            .args([
                "daprd",
                "--app-id=a",
                "--dapr-internal-grpc-listen-address=127.0.0.1",
            ])
            .start()?;
        daprd.wait_for_line("dapr initialized. Status: Running.").await?;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", daprd.id()))?;
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
        assert_eq!(words[3..5], ["5000", "5000"], "soft and hard");
        Ok(())
    });
}
