//! The time between a stop signal and the end of the APIs.

use std::time::Duration;

use outrigger_test_kit::{Daprd, HttpApp, HttpResponse, Signal, isolated};
use tokio::time::Instant;

use super::messages;
use super::slow_app::SlowApp;

#[test]
fn a_block_duration_keeps_everything_running_until_it_is_over() {
    isolated!(async {
        let app = SlowApp::start().await?;
        let mut daprd = app
            .daprd()?
            .flag("dapr-block-shutdown-duration", "2s")
            .start()
            .await?;
        let begun = Instant::now();
        daprd.process.signal(Signal::Terminate).await?;
        daprd
            .process
            .wait_for_line("msg=\"Blocking graceful shutdown for 2s or until app reports unhealthy...\"")
            .await?;
        assert_eq!(daprd.invoke("a", "quick").await?.text(), "quick");
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        assert!(begun.elapsed() >= Duration::from_secs(2));
        let told = messages(&daprd.process);
        assert!(told.contains(&"Block shutdown period expired, entering shutdown...".to_owned()));
        Ok(())
    });
}

#[test]
fn a_block_duration_of_nothing_is_still_one() {
    isolated!(async {
        let app = SlowApp::start().await?;
        let mut daprd = app
            .daprd()?
            .flag("dapr-block-shutdown-duration", "0s")
            .start()
            .await?;
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        let told = messages(&daprd.process);
        for text in [
            "Blocking graceful shutdown for 0s or until app reports unhealthy...",
            "Block shutdown period expired, entering shutdown...",
        ] {
            assert!(told.contains(&text.to_owned()), "{told:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_second_signal_ends_a_block_at_once() {
    isolated!(async {
        let app = SlowApp::start().await?;
        let mut daprd = app
            .daprd()?
            .flag("dapr-block-shutdown-duration", "1h")
            .start()
            .await?;
        daprd.process.signal(Signal::Terminate).await?;
        daprd
            .process
            .wait_for_line("Blocking graceful shutdown for 1h0m0s")
            .await?;
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        Ok(())
    });
}

#[test]
fn an_app_that_becomes_unhealthy_ends_the_block() {
    isolated!(async {
        let (sender, health) = tokio::sync::watch::channel(200);
        let app = HttpApp::start(move |_| {
            let status = *health.borrow();
            async move { HttpResponse::new(status, "") }
        })
        .await?;
        let mut daprd = Daprd::builder("a")?
            .app("http", app.port())
            .flag("enable-app-health-check", true)
            .flag("app-health-probe-interval", 1)
            .flag("app-health-threshold", 1)
            .flag("dapr-block-shutdown-duration", "3m")
            .start()
            .await?;
        daprd.process.wait_for_line("App entered healthy status").await?;
        daprd.process.signal(Signal::Terminate).await?;
        daprd
            .process
            .wait_for_line("msg=\"Blocking graceful shutdown for 3m0s or until app reports unhealthy...\"")
            .await?;
        sender.send(500)?;
        daprd
            .process
            .wait_for_line("msg=\"App reported unhealthy, entering shutdown...\"")
            .await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn an_app_that_was_never_healthy_does_not_block() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .app("http", outrigger_test_kit::free_port()?)
            .flag("dapr-block-shutdown-duration", "1h")
            .spawn()?;
        daprd.process.wait_for_line("waiting on port").await?;
        daprd.process.signal(Signal::Terminate).await?;
        daprd
            .process
            .wait_for_line("msg=\"App reported unhealthy, entering shutdown...\"")
            .await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn without_an_app_the_whole_time_is_waited() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .flag("dapr-block-shutdown-duration", "1s")
            .start()
            .await?;
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        let told = messages(&daprd.process);
        assert!(
            told.contains(&"Block shutdown period expired, entering shutdown...".to_owned()),
            "{told:#?}"
        );
        Ok(())
    });
}
