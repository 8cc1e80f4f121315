//! Resource folders.

use outrigger_test_kit::{Daprd, Result, isolated};

use super::{message, messages};

fn component(name: &str, kind: &str, more: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec: {{type: {kind}, version: \
         v1}}\n{more}\n"
    )
}

#[test]
fn a_missing_folder_is_fatal() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?.flag("resources-path", "/nowhere").spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert!(last.starts_with("Fatal error from runtime: "), "{last}");
        assert!(
            last.ends_with("open /nowhere: no such file or directory"),
            "{last}"
        );
        Ok(())
    });
}

#[test]
fn files_that_are_no_resources_are_warned_of_and_left_out() {
    isolated!(async {
        let endpoint = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: good}\nspec: {baseUrl: \
            \"http://127.0.0.1:1\"}\n---\napiVersion: dapr.io/v1alpha1\nkind: [\n---\napiVersion: other/v1\nkind: \
            HTTPEndpoint\nmetadata: {name: other}\nspec: {baseUrl: \"http://127.0.0.1:1\"}\n";
        let daprd = Daprd::builder("a")?
            .resource("1.yaml", endpoint)?
            .resource("notes.txt", "no resource")?
            .start()
            .await?;
        daprd
            .process
            .wait_for_line("level=warning msg=\"A non-YAML Component file notes.txt was detected, it will not be loaded\"")
            .await?;
        let path = daprd.directory().path().join("resources/1.yaml");
        let line = daprd
            .process
            .wait_for_line("daprd load HTTPEndpoint error when parsing manifests yaml resource in ")
            .await?;
        assert!(message(&line).contains(&path.display().to_string()), "{line}");
        assert!(line.contains(" level=warning "), "{line}");
        assert!(line.contains("scope=dapr.runtime.loader.disk"), "{line}");
        let endpoints = daprd.get("/v1.0/metadata").await?.json()?["httpEndpoints"].to_string();
        assert_eq!(endpoints, "[{\"name\":\"good\"}]");
        Ok(())
    });
}

#[test]
fn a_component_that_cannot_be_made_ends_the_sidecar() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .resource("c.yaml", &component("c1", "state.nothing", ""))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let cause = "[CREATE_COMPONENT_FAILURE]: initialization error occurred for c1 (state.nothing/v1): couldn't find \
            state store state.nothing/v1";
        let init = "[INIT_COMPONENT_FAILURE]: initialization error occurred for c1 (state.nothing/v1): ";
        let told = messages(&daprd.process);
        let expected = [
            format!("Failed to init component c1 (state.nothing/v1): {cause}"),
            format!(
                "Error processing component, daprd will exit gracefully: process component c1 error: {init}{cause}"
            ),
            format!(
                "Fatal error from runtime: failed to load components: process component c1 error: {init}{cause}"
            ),
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
fn an_error_of_a_component_can_be_ignored() {
    isolated!(async {
        let yaml =
            component("c1", "state.nothing", "").replace("version: v1", "version: v1, ignoreErrors: true");
        let daprd = Daprd::builder("a")?.resource("c.yaml", &yaml)?.start().await?;
        daprd
            .process
            .wait_for_line(
                "Ignoring error processing component: process component c1 error: [INIT_COMPONENT_FAILURE]: \
                 initialization error occurred for c1 (state.nothing/v1): ",
            )
            .await?;
        Ok(())
    });
}

#[test]
fn what_is_meant_for_others_is_left_out() {
    isolated!(async {
        let scoped = component("c1", "state.nothing", "scopes: [other]");
        let elsewhere =
            component("c2", "state.nothing", "").replace("{name: c2}", "{name: c2, namespace: elsewhere}");
        let daprd = Daprd::builder("a")?
            .resource("1.yaml", &scoped)?
            .resource("2.yaml", &elsewhere)?
            .env("NAMESPACE", "here")
            .start()
            .await?;
        assert_eq!(daprd.process.lines_with("Failed to init component").len(), 0);
        Ok(())
    });
}

#[test]
fn two_components_of_one_name_are_fatal() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .resource("1.yaml", &component("same", "state.nothing", ""))?
            .resource("2.yaml", &component("same", "pubsub.nothing", ""))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert!(last.starts_with("Fatal error from runtime: "), "{last}");
        assert!(
            last.ends_with(
                "duplicate definition of Component name same (pubsub.nothing/v1) with existing same (state.nothing/v1)"
            ),
            "{last}"
        );
        Ok(())
    });
}

#[test]
fn a_type_without_a_known_category_is_named() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .resource("c.yaml", &component("c1", "nonsense", ""))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert!(last.contains("incorrect type nonsense"), "{last}");
        Ok(())
    });
}

#[test]
fn folders_are_not_searched_deeper() -> Result<()> {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .resource("inner/c.yaml", &component("c1", "state.nothing", ""))?
            .start()
            .await?;
        assert_eq!(daprd.process.lines_with("Failed to init component").len(), 0);
        Ok(())
    });
    Ok(())
}
