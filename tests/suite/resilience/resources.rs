//! The resources that policies come from.

use outrigger_test_kit::{Daprd, HttpApp, isolated, until};

use super::super::process::message;
use super::{flaky, post};

fn named(name: &str, rest: &str) -> String {
    format!("apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: {name}}}\n{rest}\n")
}

#[test]
fn mistakes_are_logged_and_the_sidecar_starts_with_what_stands_before_them() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let bad = |what: &str| format!("spec: {{policies: {what}}}");
        let caller = Daprd::builder("caller")?
            .app("http", app.port())
            .resource(
                "1.yaml",
                &named(
                    "good",
                    "spec: {policies: {retries: {r: {duration: 1ms, maxRetries: 1}}}, targets: {apps: {caller: \
                     {retry: r}}}}",
                ),
            )?
            .resource("2.yaml", &named("time", &bad("{timeouts: {t: soon}}")))?
            .resource(
                "3.yaml",
                &named(
                    "codes",
                    &bad("{retries: {q: {maxRetries: 1}, r: {duration: 1ms, maxRetries: 3, matching: {httpStatusCodes: 500-400}}}}"),
                ),
            )?
            .resource(
                "4.yaml",
                &named("trip", &bad("{circuitBreakers: {b: {trip: requests > 1.0}}}")),
            )?
            .resource("5.yaml", "kind: Resiliency\nspec: [\n")?
            .resource("6.yaml", &named("other", "scopes: [somebody]\nspec: {}"))?
            .resource("notes.txt", "no resource")?
            .start()
            .await?;
        for name in ["good", "time", "codes", "trip"] {
            let line = format!("level=info msg=\"Loading Resiliency configuration: {name}\"");
            caller.process.wait_for_line(&line).await?;
        }
        let mistakes = [
            r#"Could not read resiliency policy time: invalid duration "t", soon: time: invalid duration "soon""#,
            r#"Could not read resiliency policy codes: invalid retry configuration "r": invalid pattern 500-400, start value should not bigger than end value"#,
            r#"Could not read resiliency policy trip: invalid retry configuration "b": ERROR: <input>:1:10: found no matching overload for '_>_' applied to '(int, double)'"#,
        ];
        for mistake in mistakes {
            let start = mistake.split(':').next().unwrap_or_default();
            let line = caller.process.wait_for_line(start).await?;
            assert_eq!(message(&line), mistake);
            assert!(line.contains(" level=error "), "{line}");
            assert!(line.contains(" scope=dapr.runtime "), "{line}");
        }
        caller
            .process
            .wait_for_line("Could not parse resiliency file ")
            .await?;
        caller
            .process
            .wait_for_line(
                "level=warning msg=\"A non-YAML resiliency file notes.txt was detected, it will not be loaded\"",
            )
            .await?;
        assert_eq!(caller.process.lines_with("configuration: other").len(), 0);
        let loaded = caller.get("/v1.0/metadata").await?.json()?["resiliencies"].to_string();
        assert_eq!(loaded, "[{\"name\":\"good\"}]");
        let series = caller.metrics().await?;
        let series: Vec<_> = series
            .lines()
            .filter(|line| line.starts_with("dapr_resiliency_loaded{"))
            .collect();
        assert_eq!(
            series,
            ["dapr_resiliency_loaded{app_id=\"caller\",name=\"good\",namespace=\"\"} 1"]
        );
        // What is wrong does not take the place of what is right.
        assert_eq!(post(&caller, "caller", "fail/9/500/x", "x").await?.status, 500);
        assert_eq!(attempts.of("/fail/9/500/x"), 2);
        let count = "dapr_resiliency_count{app_id=\"caller\",flow_direction=\"outbound\",name=\"trip\",namespace=\"\",\
                     policy=\"retry\",status=\"\",target=\"app_caller\"} 1";
        assert!(caller.metrics().await?.contains(count));
        Ok(())
    });
}

#[test]
fn a_changed_resource_is_in_force_without_a_new_process() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let retries = |number: u32| {
            named(
                "mine",
                &format!(
                    "spec: {{policies: {{retries: {{r: {{duration: 1ms, maxRetries: {number}}}}}}}, targets: {{apps: \
                     {{caller: {{retry: r}}}}}}}}"
                ),
            )
        };
        let caller = Daprd::builder("caller")?
            .app("http", app.port())
            .resource("resiliency.yaml", &retries(1))?
            .start()
            .await?;
        assert_eq!(post(&caller, "caller", "fail/9/500/0", "x").await?.status, 500);
        assert_eq!(attempts.of("/fail/9/500/0"), 2);
        caller
            .process
            .wait_for_line("Starting to watch Resiliency updates for SIGHUP reload")
            .await?;
        caller
            .directory()
            .write("resources/resiliency.yaml", retries(3))?;
        caller
            .process
            .wait_for_line("Received Resiliency UPDATED event: mine - triggering SIGHUP reload")
            .await?;
        let mut number = 0;
        until("the new policy to be in force", async || {
            number += 1;
            let method = format!("fail/9/500/{number}");
            let reply = post(&caller, "caller", &method, "x").await.ok()?;
            (reply.status == 500 && attempts.of(&format!("/{method}")) == 4).then_some(())
        })
        .await
    });
}

#[test]
fn only_the_first_document_of_a_file_counts_and_others_are_read_as_what_they_are() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let endpoint = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: outside}\nspec: {baseUrl: \
                        'http://127.0.0.1:1'}\n";
        let caller = Daprd::builder("caller")?
            .app("http", app.port())
            .resource(
                "1.yaml",
                &format!("{}---\n{endpoint}", named("first", "spec: {}")),
            )?
            .resource(
                "2.yaml",
                &format!(
                    "{}---\n{}",
                    endpoint.replace("outside", "b"),
                    named("second", "spec: {}")
                ),
            )?
            .start()
            .await?;
        let metadata = caller.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata["resiliencies"].to_string(), "[{\"name\":\"first\"}]");
        assert_eq!(
            metadata["httpEndpoints"].to_string(),
            "[{\"name\":\"outside\"},{\"name\":\"b\"}]"
        );
        Ok(())
    });
}
