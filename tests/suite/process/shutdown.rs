//! The end of a sidecar.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::HeaderMap;
use outrigger_test_kit::http::{HttpConnection, Piece};
use outrigger_test_kit::tls::client_config;
use outrigger_test_kit::{Daprd, GrpcClient, HttpRequest, Result, Sentry, Signal, isolated, until};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::messages;
use super::slow_app::SlowApp;

/// The greeting of an HTTP/2 client without settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// A request of HTTP/1.1 that asks to go on with HTTP/2.
fn h2c_upgrade() -> HttpRequest {
    HttpRequest::new("GET", "/v1.0/healthz")
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAAP__")
}

async fn closed(port: u16) -> Result<()> {
    until(format_args!("port {port} to be closed"), async || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
            .then_some(())
    })
    .await
}

#[test]
fn signals_end_it_gracefully() {
    isolated!(async {
        for (signal, name) in [
            (Signal::Terminate, "terminated"),
            (Signal::Interrupt, "interrupt"),
        ] {
            let mut daprd = Daprd::builder("a")?.start().await?;
            daprd.process.signal(signal).await?;
            assert_eq!(daprd.process.exit().await?.code(), Some(0));
            let told = messages(&daprd.process);
            assert!(
                told.contains(&format!("Received signal '{name}'; beginning shutdown")),
                "{told:#?}"
            );
            let closing = format!("Closing HTTP server 127.0.0.1:{}…", daprd.http_port);
            let mut rest = told.iter();
            for line in [closing.as_str(), "Dapr is shutting down", "Dapr runtime stopped"] {
                assert!(rest.any(|told| told == line), "{line:?} is not in {told:#?}");
            }
            assert_eq!(told.last().map(String::as_str), Some("Daprd shutdown gracefully"));
            assert_eq!(daprd.process.stderr(), [""; 0]);
        }
        Ok(())
    });
}

#[test]
fn a_call_in_flight_runs_to_its_end() {
    isolated!(async {
        let mut app = SlowApp::start().await?;
        let mut daprd = app.daprd()?.start().await?;
        let (mut connection, pieces) = app.call(&daprd).await?;
        daprd.process.signal(Signal::Terminate).await?;
        closed(daprd.http_port).await?;
        for piece in ["one", "two"] {
            pieces.send(Piece::Data(piece.into())).await?;
            assert_eq!(connection.piece().await?.unwrap_or_default(), piece);
        }
        drop(pieces);
        assert_eq!(connection.piece().await?, None, "a whole body");
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_call_that_outlasts_the_grace_period_is_cut_off_without_a_word() {
    isolated!(async {
        let mut app = SlowApp::start().await?;
        let mut daprd = app
            .daprd()?
            .flag("dapr-graceful-shutdown-seconds", 1)
            .start()
            .await?;
        let (mut connection, _pieces) = app.call(&daprd).await?;
        let begun = Instant::now();
        daprd.process.signal(Signal::Terminate).await?;
        let end = connection.piece().await.expect_err("the body is cut off");
        assert!(
            !format!("{end:#}").contains("reset"),
            "the end of the connection, no reset: {end:#}"
        );
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        assert!(begun.elapsed() >= Duration::from_secs(1));
        let told = messages(&daprd.process);
        assert!(
            told.contains(&"Graceful shutdown timeout exceeded, forcing shutdown".to_owned()),
            "{told:#?}"
        );
        assert!(!told.contains(&"Daprd shutdown gracefully".to_owned()));
        Ok(())
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    isolated!(async {
        let mut app = SlowApp::start().await?;
        let mut daprd = app.daprd()?.start().await?;
        let (_connection, _pieces) = app.call(&daprd).await?;
        daprd.process.signal(Signal::Terminate).await?;
        daprd.process.wait_for_line("beginning shutdown").await?;
        daprd.process.signal(Signal::Interrupt).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let told = messages(&daprd.process);
        assert_eq!(
            told.last().map(String::as_str),
            Some("Received signal 'interrupt' during shutdown; exiting immediately")
        );
        Ok(())
    });
}

#[test]
fn grace_without_end_is_warned_of() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .flag("dapr-graceful-shutdown-seconds", 0)
            .start()
            .await?;
        assert!(daprd.process.stop().await?.success());
        let warning = "Graceful shutdown timeout is infinite, will wait indefinitely to shutdown";
        assert_eq!(
            daprd
                .process
                .lines_with(&format!("level=warning msg=\"{warning}\""))
                .len(),
            1
        );
        Ok(())
    });
}

#[test]
fn the_shutdown_api_ends_it_gracefully() {
    isolated!(async {
        let mut app = SlowApp::start().await?;
        let mut daprd = app
            .daprd()?
            .flag("dapr-block-shutdown-duration", "1h")
            .start()
            .await?;
        let (mut connection, pieces) = app.call(&daprd).await?;
        let reply = daprd.post("/v1.0/shutdown", "").await?;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""));
        daprd
            .process
            .wait_for_line("level=info msg=\"Shutdown requested via API\"")
            .await?;
        drop(pieces);
        assert_eq!(
            connection.piece().await?,
            None,
            "the call in flight has a whole body"
        );
        assert_eq!(daprd.process.exit().await?.code(), Some(0), "without blocking");
        let told = messages(&daprd.process);
        assert_eq!(told.last().map(String::as_str), Some("Daprd shutdown gracefully"));

        let mut daprd = Daprd::builder("a")?.start().await?;
        let reply = daprd
            .grpc()
            .await?
            .call("/dapr.proto.runtime.v1.Dapr/Shutdown", HeaderMap::new(), [""])
            .await?;
        assert_eq!((reply.status, reply.messages.len()), (0, 1));
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_forced_shutdown_does_not_wait() {
    isolated!(async {
        let mut app = SlowApp::start().await?;
        for value in ["true", "TRUE"] {
            let mut daprd = app.daprd()?.start().await?;
            let (_connection, _pieces) = app.call(&daprd).await?;
            let request = HttpRequest::new("POST", "/v1.0/shutdown").header("dapr-force-shutdown", value);
            assert_eq!(daprd.send(&request).await?.status, 204);
            assert_eq!(daprd.process.exit().await?.code(), Some(1));
            let told = messages(&daprd.process);
            assert_eq!(
                told.last().map(String::as_str),
                Some("Force shutdown requested, exiting immediately without graceful shutdown")
            );
        }
        Ok(())
    });
}

#[test]
fn a_stop_during_the_start_is_a_clean_end() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .app("http", outrigger_test_kit::free_port()?)
            .spawn()?;
        daprd.process.wait_for_line("Starting Dapr Runtime").await?;
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        assert_eq!(daprd.process.stderr(), [""; 0]);
        Ok(())
    });
}

#[test]
fn idle_and_silent_clients_do_not_hold_the_end_up() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        for mtls in [false, true] {
            let builder = Daprd::builder("a")?.flag("dapr-public-port", 3501);
            let mut daprd = match mtls {
                true => builder.mtls(&sentry),
                false => builder,
            }
            .start()
            .await?;
            let mut http = HttpConnection::open(daprd.http_port).await?;
            assert_eq!(
                http.send(&HttpRequest::new("GET", "/v1.0/healthz")).await?.status,
                204
            );
            let mut halfway = HttpConnection::open(daprd.http_port).await?;
            halfway.send_raw(b"GET /v1.0/healthz HTTP/1.1\r\nHos").await?;
            let mut upgraded = HttpConnection::open(daprd.http_port).await?;
            upgraded.send_head(&h2c_upgrade()).await?;
            assert_eq!(upgraded.reply_head().await?.status, 101);
            upgraded.send_raw(PREFACE).await?;
            let _grpc = daprd.grpc().await?;
            let mut silent = Vec::new();
            for port in [
                daprd.http_port,
                daprd.grpc_port,
                daprd.internal_port,
                daprd.metrics_port,
                3501,
            ] {
                silent.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
            }
            let config = client_config(Some(&sentry.authority.issue_to("peer")?))?;
            let _peer = match mtls {
                true => GrpcClient::connect_tls(daprd.internal_port, config).await?,
                false => GrpcClient::connect(daprd.internal_port).await?,
            };
            let begun = Instant::now();
            assert_eq!(daprd.process.stop().await?.code(), Some(0), "mTLS: {mtls}");
            assert!(
                begun.elapsed() < Duration::from_secs(8),
                "mTLS: {mtls}, {:?}",
                begun.elapsed()
            );
        }
        Ok(())
    });
}

#[test]
fn a_call_from_another_sidecar_runs_to_its_end() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let mut app = SlowApp::start().await?;
        let mut callee = app.daprd()?.mtls(&sentry).start().await?;
        let caller = Daprd::builder("caller")?.mtls(&sentry).start().await?;
        let (mut connection, pieces) = app.call(&caller).await?;
        callee.process.signal(Signal::Terminate).await?;
        closed(callee.internal_port).await?;
        for piece in ["one", "two"] {
            pieces.send(Piece::Data(piece.into())).await?;
            assert_eq!(connection.piece().await?.unwrap_or_default(), piece);
        }
        drop(pieces);
        assert_eq!(connection.piece().await?, None, "a whole body");
        assert_eq!(callee.process.exit().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_stop_while_a_port_is_waited_for_is_a_clean_end() {
    isolated!(async {
        let taken = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = taken.local_addr()?.port();
        let mut daprd = Daprd::builder("a")?.flag("dapr-http-port", port).spawn()?;
        daprd
            .process
            .wait_for_line("API gRPC server is running on port")
            .await?;
        let begun = Instant::now();
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        Ok(())
    });
}

#[test]
fn peers_and_authority_that_are_gone_do_not_hold_the_end_up() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let app = SlowApp::start().await?;
        let callee = app.daprd()?.mtls(&sentry).start().await?;
        let mut caller = Daprd::builder("caller")?.mtls(&sentry).start().await?;
        assert_eq!(caller.invoke("a", "quick").await?.status, 200);
        drop((callee, sentry, app));
        let begun = Instant::now();
        assert_eq!(caller.process.stop().await?.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        Ok(())
    });
}

#[tokio::test]
async fn the_authority_ends_like_the_sidecar() -> Result<()> {
    for (signal, name) in [
        (Signal::Terminate, "terminated"),
        (Signal::Interrupt, "interrupt"),
    ] {
        let mut sentry = Sentry::start().await?;
        let _idle = GrpcClient::connect_tls(sentry.port, client_config(None)?).await?;
        sentry.process.signal(Signal::Hangup).await?;
        sentry.process.signal(signal).await?;
        assert_eq!(sentry.process.exit().await?.code(), Some(0));
        let told = messages(&sentry.process);
        assert!(
            told.contains(&format!("Received signal '{name}'; beginning shutdown")),
            "{told:#?}"
        );
        assert_eq!(
            told.last().map(String::as_str),
            Some("Sentry shut down gracefully")
        );
        assert_eq!(sentry.process.stderr(), [""; 0]);
    }
    Ok(())
}
