//! Components, which are made and closed in place.

use outrigger_test_kit::{Daprd, HttpApp, isolated, until};

use super::{messages, restarts};

fn component(name: &str, kind: &str, more: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec: {{type: {kind}, version: \
         v1{more}}}\n"
    )
}

#[test]
fn a_new_component_that_cannot_be_made_ends_the_sidecar() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?.start().await?;
        daprd
            .directory()
            .write("resources/c.yaml", component("c1", "state.nothing", ""))?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let cause = "[INIT_COMPONENT_FAILURE]: initialization error occurred for c1 (state.nothing/v1): \
            [CREATE_COMPONENT_FAILURE]: initialization error occurred for c1 (state.nothing/v1): couldn't find state \
            store state.nothing/v1";
        let told = messages(&daprd.process);
        let expected = [
            "Adding Component for processing: c1 (state.nothing/v1)".to_owned(),
            format!(
                "Error processing component, daprd will exit gracefully: process component c1 error: {cause}"
            ),
            "Dapr runtime stopped".to_owned(),
            format!("Fatal error from runtime: process component c1 error: {cause}"),
        ];
        let mut rest = told.iter();
        for expected in &expected {
            assert!(
                rest.any(|line| line == expected),
                "{expected:?} is not in {told:#?}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_new_component_whose_errors_are_ignored_does_no_harm() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.start().await?;
        daprd.directory().write(
            "resources/c.yaml",
            component("c1", "state.nothing", ", ignoreErrors: true"),
        )?;
        let line = daprd
            .process
            .wait_for_line("Ignoring error processing component: process component c1 error: ")
            .await?;
        assert!(line.contains("level=error"), "{line}");
        daprd.ready().await?;
        assert_eq!(restarts(&daprd.process), 0);
        assert_eq!(
            daprd.get("/v1.0/metadata").await?.json()?["components"],
            serde_json::Value::Null
        );
        Ok(())
    });
}

#[test]
fn components_of_other_apps_are_nothing_to_this_one() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.flag("log-level", "debug").start().await?;
        let other = format!("{}scopes: [b]\n", component("c1", "state.nothing", ""));
        daprd.directory().write("resources/1.yaml", other)?;
        let own = component("c2", "state.nothing", ", ignoreErrors: true");
        daprd.directory().write("resources/2.yaml", own)?;
        daprd
            .process
            .wait_for_line("msg=\"Received Component event CREATED: c2 (state.nothing/v1)\"")
            .await?;
        assert_eq!(daprd.process.lines_with("c1 (state.nothing/v1)").len(), 0);
        Ok(())
    });
}

#[test]
fn middleware_is_made_changed_and_closed_without_a_restart() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pipeline = "spec: {httpPipeline: {handlers: [{name: loud, type: middleware.http.uppercase}]}}";
        let daprd = Daprd::builder("a")?
            .app("http", app.port())
            .configuration(pipeline)?
            .start()
            .await?;
        let echoed = async |expected: &str| {
            until(format_args!("the answer {expected:?}"), async || {
                let reply = daprd.post("/v1.0/invoke/a/method/x", "quiet").await.ok()?;
                (reply.text() == expected).then_some(())
            })
            .await
            .map_err(|error| error.context(daprd.process.tail()))
        };
        echoed("quiet").await?;
        let text = component("loud", "middleware.http.uppercase", "");
        let file = daprd.directory().write("resources/loud.yaml", &text)?;
        echoed("QUIET").await?;
        let shown = daprd.get("/v1.0/metadata").await?.json()?["components"][0]["name"].clone();
        assert_eq!(shown, "loud");

        // The same component with another setting is closed and made again; nobody sees the file half written.
        let changed = text.replace("version: v1", "version: v1, metadata: [{name: a, value: b}]");
        let next = daprd.directory().write("loud.yaml", changed)?;
        std::fs::rename(next, &file)?;
        daprd
            .process
            .wait_for_lines(
                "Closing existing Component to reload: loud (middleware.http.uppercase/v1)",
                1,
            )
            .await?;
        echoed("QUIET").await?;
        std::fs::remove_file(&file)?;
        echoed("quiet").await?;
        assert_eq!(restarts(&daprd.process), 0);
        Ok(())
    });
}
