//! Every order of starts and ends of app and sidecar.

use outrigger_test_kit::http::Flavor;
use outrigger_test_kit::{Daprd, HttpApp, HttpResponse, Signal, free_port, isolated};

use super::{Condition, answers, count, messages, probing};

#[test]
fn an_app_that_is_there_first_is_found_at_the_first_try() {
    isolated!(async {
        let condition = Condition::new(200);
        let app = condition.app(0).await?;
        let daprd = Daprd::builder("a")?.app("http", app.port()).start().await?;
        answers(&daprd, 200).await?;
        let waited = format!("waiting for application to listen on port {}", app.port());
        assert_eq!(count(&daprd, &waited), 0);
        let found = format!("application discovered on port {}", app.port());
        assert_eq!(count(&daprd, &found), 1);
        assert_eq!(app.requests_for("/healthz").len(), 0, "nobody asked for probes");
        Ok(())
    });
}

#[test]
fn an_app_that_comes_later_is_probed_from_then_on() {
    isolated!(async {
        let port = free_port()?;
        let daprd = probing(port)?.spawn()?;
        daprd.process.wait_for_line("waiting on port").await?;
        // Nobody knows yet how it is: calls are tried.
        let reply = daprd.invoke("a", "x").await?;
        assert_eq!(reply.status, 500);
        assert!(reply.text().contains("connection refused"), "{}", reply.text());
        let condition = Condition::new(200);
        let app = condition.app(port).await?;
        daprd.ready().await?;
        daprd.process.wait_for_line("App entered healthy status").await?;
        answers(&daprd, 200).await?;
        app.wait_for_requests("/dapr/config", 1).await?;
        Ok(())
    });
}

#[test]
fn an_app_that_is_restarted_is_called_again_as_soon_as_it_is_back() {
    isolated!(async {
        let port = free_port()?;
        let condition = Condition::new(200);
        let daprd = Daprd::builder("a")?.app("http", port).spawn()?;
        for _ in 0..3 {
            let app = condition.app(port).await?;
            daprd.ready().await?;
            answers(&daprd, 200).await?;
            app.stop();
            drop(app);
            answers(&daprd, 500).await?;
            assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);
        }
        assert_eq!(count(&daprd, "Application configuration loaded"), 1);
        Ok(())
    });
}

#[test]
fn a_probed_app_that_is_restarted_gets_calls_again_with_its_first_good_answer() {
    isolated!(async {
        let port = free_port()?;
        let condition = Condition::new(200);
        let app = condition.app(port).await?;
        let daprd = probing(port)?.start().await?;
        answers(&daprd, 200).await?;
        app.stop();
        drop(app);
        daprd
            .process
            .wait_for_line("App entered un-healthy status: Network error: ")
            .await?;
        let _app = condition.app(port).await?;
        daprd
            .process
            .wait_for_lines("App entered healthy status", 2)
            .await?;
        answers(&daprd, 200).await
    });
}

#[test]
fn a_sidecar_whose_app_never_comes_serves_all_it_can_and_ends_well() {
    isolated!(async {
        let other = HttpApp::start_as(Flavor::Http, 0, async |_| HttpResponse::ok("other")).await?;
        let mut daprd = Daprd::builder("a")?.app("http", free_port()?).spawn()?;
        daprd.process.wait_for_line("waiting on port").await?;
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 500);
        assert_eq!(daprd.get("/v1.0/healthz/outbound").await?.status, 204);
        let target = format!("http://127.0.0.1:{}", other.port());
        assert_eq!(daprd.invoke(&target, "x").await?.text(), "other");
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert_eq!(last, "Daprd shutdown gracefully");
        Ok(())
    });
}

#[test]
fn a_sidecar_that_is_restarted_finds_its_app_again() {
    isolated!(async {
        let condition = Condition::new(200);
        let app = condition.app(0).await?;
        for _ in 0..2 {
            let mut daprd = probing(app.port())?.start().await?;
            answers(&daprd, 200).await?;
            assert_eq!(daprd.process.stop().await?.code(), Some(0));
        }
        assert_eq!(app.requests_for("/dapr/config").len(), 2, "once a run");
        Ok(())
    });
}
