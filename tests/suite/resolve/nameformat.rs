//! Addresses from a pattern.

use anyhow::Context as _;
use outrigger_test_kit::{Daprd, HttpApp, isolated};

fn configuration(format: &str) -> String {
    format!("spec: {{nameResolution: {{component: nameformat, configuration: {{format: \"{format}\"}}}}}}")
}

#[test]
fn a_pattern_leads_to_the_sidecar_of_the_app() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let callee = Daprd::builder("callee")?.app("http", app.port()).start().await?;
        let pattern = format!("{{appid}}.localhost:{}", callee.internal_port);
        let caller = Daprd::builder("caller")?
            .configuration(&configuration(&pattern))?
            .start()
            .await?;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        let told = caller
            .process
            .lines_with("Initialized name resolution to nameformat");
        assert_eq!(told.len(), 1);
        Ok(())
    });
}

#[test]
fn what_no_resolver_can_be_made_of_ends_the_start() {
    isolated!(async {
        let table = [
            (
                configuration(""),
                "INIT",
                "nameformat/v1",
                "format is required in metadata",
            ),
            (
                configuration("host:1"),
                "INIT",
                "nameformat/v1",
                "format must contain {appid} placeholder",
            ),
            (
                "spec: {nameResolution: {component: dnsa}}".to_owned(),
                "CREATE",
                "dnsa/v1",
                "couldn't find name resolver dnsa/v1",
            ),
            (
                "spec: {nameResolution: {component: sqlite, version: v2}}".to_owned(),
                "CREATE",
                "sqlite/v2",
                "couldn't find name resolver sqlite/v2",
            ),
        ];
        for (configuration, step, name, reason) in table {
            let mut daprd = Daprd::builder("a")?.configuration(&configuration)?.spawn()?;
            assert_eq!(daprd.process.exit().await?.code(), Some(1));
            let fatal = format!(
                "Fatal error from runtime: [{step}_COMPONENT_FAILURE]: initialization error occurred for nr ({name}): {reason}"
            );
            let lines = daprd.process.lines_with(&fatal);
            lines.first().with_context(|| daprd.process.tail())?;
        }
        Ok(())
    });
}
