//! Components that are not there yet, and come by themselves.

use outrigger_test_kit::{Daprd, Directory, isolated, until};
use serde_json::json;

use crate::suite::process::messages;
use crate::suite::state::component;

#[test]
fn a_component_that_may_fail_comes_up_by_itself_with_what_waits_for_it() {
    isolated!(async {
        let folder = Directory::new()?;
        let file = folder.path().join("secrets.json");
        let vault = component(
            "vault",
            "secretstores.local.file",
            &[("secretsFile", &file.display().to_string())],
        );
        let vault = vault.replace("version: v1", "version: v1\n  ignoreErrors: true");
        let waits = component("waits", "middleware.http.uppercase", &[]).replace(
            "metadata: []",
            "metadata: [{name: direction, secretKeyRef: {name: mode}}]\nauth: {secretStore: vault}",
        );
        let daprd = Daprd::builder("a")?
            .resource("1.yaml", &vault)?
            .resource("2.yaml", &waits)?
            .start()
            .await?;
        let metadata = daprd.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata.get("components"), None);
        assert_eq!(metadata["extended"]["componentState/vault"], "failed");
        assert_eq!(metadata["extended"]["componentState/waits"], "starting");
        let state = [("componentName", "vault"), ("state", "failed")];
        assert_eq!(
            daprd.metric("dapr_runtime_component_state", &state).await?,
            Some(1.0)
        );

        // Written beside it and moved there, so that nobody reads half of it.
        let whole = folder.write("whole.json", json!({"mode": "both"}).to_string())?;
        std::fs::rename(whole, &file)?;
        until("both components to be there", async || {
            let metadata = daprd.get("/v1.0/metadata").await.ok()?.json().ok()?;
            (metadata["components"].as_array()?.len() == 2).then_some(())
        })
        .await
        .map_err(|error| error.context(daprd.process.tail()))?;
        assert_eq!(
            daprd.get("/v1.0/secrets/vault/mode").await?.text(),
            "{\"mode\":\"both\"}\n"
        );
        let metadata = daprd.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata["components"][0]["name"], "vault");
        assert_eq!(metadata["components"][1]["name"], "waits");
        assert_eq!(metadata["extended"].get("componentState/vault"), None);
        assert_eq!(metadata["extended"].get("componentState/waits"), None);
        assert_eq!(
            daprd.metric("dapr_runtime_component_state", &state).await?,
            Some(0.0)
        );
        let labels = [("component", "secretstores.local.file")];
        assert_eq!(
            daprd.metric("dapr_runtime_component_init_total", &labels).await?,
            Some(1.0)
        );
        assert_eq!(
            daprd.metric("dapr_runtime_component_loaded", &[]).await?,
            Some(2.0)
        );
        Ok(())
    });
}

#[test]
fn two_components_of_one_name_are_refused_whatever_they_are() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .resource("1.yaml", &component("foo", "secretstores.local.env", &[]))?
            .resource("2.yaml", &component("foo", "middleware.http.uppercase", &[]))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let expected = "Fatal error from runtime: failed to load components: duplicate definition of Component name foo \
                        (middleware.http.uppercase/v1) with existing foo (secretstores.local.env/v1)";
        let told = messages(&daprd.process);
        assert!(told.iter().any(|line| line == expected), "{told:#?}");
        Ok(())
    });
}

#[test]
fn a_changed_store_is_closed_and_made_again() {
    isolated!(async {
        let store = |prefix: &str| component("s", "secretstores.local.env", &[("prefix", prefix)]);
        let daprd = Daprd::builder("a")?
            .env("ONE_KEY", "1")
            .env("TWO_KEY", "2")
            .resource("1.yaml", &store("ONE_"))?
            .start()
            .await?;
        assert_eq!(
            daprd.get("/v1.0/secrets/s/KEY").await?.text(),
            "{\"KEY\":\"1\"}\n"
        );
        let next = daprd.directory().write("next.yaml", store("TWO_"))?;
        let file = daprd.directory().path().join("resources/1.yaml");
        std::fs::rename(next, &file)?;
        daprd
            .process
            .wait_for_line("Component updated: s (secretstores.local.env/v1)")
            .await?;
        assert_eq!(
            daprd.get("/v1.0/secrets/s/KEY").await?.text(),
            "{\"KEY\":\"2\"}\n"
        );
        let closing = "Closing existing Component to reload: s (secretstores.local.env/v1)";
        assert_eq!(daprd.process.lines_with(closing).len(), 1);
        std::fs::remove_file(file)?;
        until("the store to be gone", async || {
            (daprd.get("/v1.0/secrets/s/KEY").await.ok()?.status == 500).then_some(())
        })
        .await?;
        assert_eq!(daprd.get("/v1.0/metadata").await?.json()?.get("components"), None);
        Ok(())
    });
}
