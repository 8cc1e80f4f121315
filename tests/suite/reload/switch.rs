//! The feature itself: on by default, and off where the Configuration says so.

use outrigger_test_kit::{Daprd, isolated};

use super::{answered_by, count, endpoint, messages, restarts, server};

#[test]
fn the_log_tells_what_is_watched_and_health_waits_for_it() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.start().await?;
        let told = messages(&daprd.process);
        let resources = daprd.directory().path().join("resources");
        let expected = [
            format!("Watching directories: [{}]", resources.display()),
            "Hot reloading enabled. Daprd will reload 'Component', 'Subscription', 'MCPServer', 'Configuration', \
             'HTTPEndpoint', 'Resiliency' and 'WorkflowAccessPolicy' resources when they are added, updated or deleted."
                .to_owned(),
            "Starting to watch WorkflowAccessPolicy updates".to_owned(),
            "Starting to watch Component updates".to_owned(),
            "Starting to watch Subscription updates".to_owned(),
            "Starting to watch MCPServer updates".to_owned(),
            "Starting to watch Configuration updates for SIGHUP reload".to_owned(),
            "Starting to watch HTTPEndpoint updates for SIGHUP reload".to_owned(),
            "Starting to watch Resiliency updates for SIGHUP reload".to_owned(),
        ];
        let mut rest = told.iter();
        for expected in &expected {
            assert!(
                rest.any(|line| line == expected),
                "{expected:?} is not in {told:#?}"
            );
        }
        let scopes = [
            ("Watching directories", "dapr.runtime.hotreload.loader.disk"),
            ("Hot reloading enabled", "dapr.runtime.hotreload"),
            ("Starting to watch Component", "dapr.runtime.hotreload.reconciler"),
        ];
        for (text, scope) in scopes {
            let line = daprd.process.wait_for_line(text).await?;
            assert!(line.contains(&format!("scope={scope} ")), "{line}");
            assert!(line.contains("level=info"), "{line}");
        }
        let features = daprd.get("/v1.0/metadata").await?.json()?["enabledFeatures"].to_string();
        assert!(features.contains("\"HotReload\""), "{features}");
        Ok(())
    });
}

#[test]
fn without_the_feature_changes_wait_for_the_next_start() {
    isolated!(async {
        let web = server("web").await?;
        let daprd = Daprd::builder("a")?
            .configuration("spec: {features: [{name: HotReload, enabled: false}]}")?
            .flag("log-level", "debug")
            .start()
            .await?;
        let line = daprd
            .process
            .wait_for_line("msg=\"Hot reloading disabled\"")
            .await?;
        assert!(
            line.contains("level=debug") && line.contains("scope=dapr.runtime.hotreload "),
            "{line}"
        );
        assert_eq!(count(&daprd.process, "Starting to watch Component updates"), 0);
        daprd
            .directory()
            .write("resources/web.yaml", endpoint("web", web.port()))?;
        let reply = daprd.invoke("web", "x").await?;
        assert_eq!(reply.status, 500, "{}", reply.text());
        assert_eq!(restarts(&daprd.process), 0);
        daprd.process.signal(outrigger_test_kit::Signal::Hangup).await?;
        answered_by(&daprd, "web").await
    });
}

#[test]
fn the_backup_looks_for_what_no_event_told() {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .flag("hot-reload-reconcile-interval", "100ms")
            .flag("log-level", "debug")
            .start()
            .await?;
        for kind in ["Component", "Subscription", "MCPServer", "WorkflowAccessPolicy"] {
            let line = format!("msg=\"Running scheduled {kind} reconcile\"");
            daprd.process.wait_for_lines(&line, 2).await?;
        }
        assert_eq!(restarts(&daprd.process), 0);
        Ok(())
    });
}
