//! Sidecars that cannot be reached, and the retries that are built in.

use std::time::Duration;

use outrigger_test_kit::{Daprd, HttpApp, Signal, isolated};
use tokio::time::Instant;

use super::resiliency;

/// A caller with policies of this spec, and a callee that was known and is gone.
macro_rules! with_callee_gone {
    ($spec:expr, $caller:ident => $test:expr) => {
        isolated!(async {
            let app = HttpApp::echo().await?;
            let mut callee = Daprd::builder("callee")?.app("http", app.port()).spawn()?;
            let $caller = Daprd::builder("caller")?
                .resource("resiliency.yaml", &resiliency($spec))?
                .start()
                .await?;
            callee.ready().await?;
            assert_eq!($caller.invoke("callee", "x").await?.status, 200);
            callee.process.signal(Signal::Kill).await?;
            callee.process.exit().await?;
            $test;
            Ok(())
        });
    };
}

const UNAVAILABLE: &str = "rpc error: code = Unavailable desc = ";

#[test]
fn an_app_that_a_resource_names_has_only_the_retries_of_its_policies() {
    let spec =
        "{policies: {retries: {r: {duration: 10ms, maxRetries: 2}}}, targets: {apps: {callee: {retry: r}}}}";
    with_callee_gone!(spec, caller => {
        let begin = Instant::now();
        let reply = caller.invoke("callee", "x").await?;
        let text = reply.text();
        let expected = format!(
            "{{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed to invoke, id: callee, err: {UNAVAILABLE}"
        );
        assert!(reply.status == 500 && text.starts_with(&expected), "{text}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert_eq!(caller.process.lines_with("DaprBuiltInServiceRetries").len(), 0);
    });
}

#[test]
fn default_policies_go_around_the_built_in_retries_which_a_resource_may_replace() {
    let spec = "{policies: {retries: {DefaultAppRetryPolicy: {duration: 20ms, maxRetries: 1}, \
                DaprBuiltInServiceRetries: {duration: 10ms, maxRetries: 1}}}}";
    with_callee_gone!(spec, caller => {
        caller
            .process
            .wait_for_line(
                "level=warning msg=\"Attempted override of DaprBuiltInServiceRetries did not meet minimum retry count, \
                 resetting to 3.\"",
            )
            .await?;
        let begin = Instant::now();
        let text = caller.invoke("callee", "x").await?.text();
        let expected =
            format!("err: failed to invoke target callee after 3 retries. Error: {UNAVAILABLE}");
        assert!(text.contains(&expected), "{text}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let inner = "Error processing operation DaprBuiltInServiceRetries. Retrying in 10ms…";
        caller.process.wait_for_lines(inner, 2).await?;
        let outer = "Error processing operation endpoint[callee, callee:x]. Retrying in 20ms…";
        caller.process.wait_for_line(outer).await?;
    });
}
