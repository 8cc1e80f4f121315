//! Kinds whose changes restart the run: HTTPEndpoint, Configuration, Resiliency.

use outrigger_test_kit::{Daprd, isolated, until};

use super::{answered_by, count, endpoint, messages, restarts, server};

fn told(event: &str, name: &str) -> String {
    format!("Received HTTPEndpoint {event} event: {name} - triggering SIGHUP reload")
}

#[test]
fn an_endpoint_is_there_as_soon_as_its_file_is_and_gone_with_it() {
    isolated!(async {
        let (one, two) = (server("one").await?, server("two").await?);
        let mut daprd = Daprd::builder("a")?.start().await?;
        let file = daprd
            .directory()
            .write("resources/web.yaml", endpoint("web", one.port()))?;
        answered_by(&daprd, "one").await?;
        std::fs::write(&file, endpoint("web", two.port()))?;
        answered_by(&daprd, "two").await?;
        std::fs::remove_file(&file)?;
        answered_by(&daprd, "").await?;
        daprd.process.wait_for_line(&told("DELETED", "web")).await?;
        daprd.ready().await?;
        // The file was seen between two writes, or was not.
        for event in ["CREATED", "DELETED"] {
            assert!(count(&daprd.process, &told(event, "web")) >= 1, "{event}");
        }
        assert!(restarts(&daprd.process) >= 3);
        let endpoints = daprd.get("/v1.0/metadata").await?.json()?["httpEndpoints"].clone();
        assert_eq!(endpoints, serde_json::Value::Null);
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_file_that_says_the_same_again_restarts_nothing() {
    isolated!(async {
        let (one, two) = (server("one").await?, server("two").await?);
        let text = endpoint("web", one.port());
        let daprd = Daprd::builder("a")?.resource("web.yaml", &text)?.start().await?;
        answered_by(&daprd, "one").await?;
        let folder = daprd.directory().path().join("resources");
        let replace = |text: &str| -> std::io::Result<()> {
            // Nobody sees a file that is renamed half written.
            std::fs::write(folder.join(".next"), text)?;
            std::fs::rename(folder.join(".next"), folder.join("web.yaml"))
        };
        replace(&format!("# a comment\n{text}"))?;
        replace(&text.replace("{name: web}", "{name: web, labels: {a: b}, namespace: elsewhere}"))?;
        replace(&endpoint("web", two.port()))?;
        answered_by(&daprd, "two").await?;
        assert_eq!(restarts(&daprd.process), 1);
        assert_eq!(count(&daprd.process, &told("UPDATED", "web")), 1);
        Ok(())
    });
}

#[test]
fn a_file_that_cannot_be_parsed_takes_its_resources_with_it_until_it_is_mended() {
    isolated!(async {
        let web = server("web").await?;
        let text = endpoint("web", web.port());
        let daprd = Daprd::builder("a")?.resource("web.yaml", &text)?.start().await?;
        answered_by(&daprd, "web").await?;
        daprd.directory().write("resources/web.yaml", "kind: [")?;
        answered_by(&daprd, "").await?;
        daprd
            .process
            .wait_for_line("daprd load HTTPEndpoint error when parsing manifests yaml resource in ")
            .await?;
        daprd.directory().write("resources/web.yaml", &text)?;
        answered_by(&daprd, "web").await?;
        assert_eq!(daprd.process.lines_with("level=fatal").len(), 0);
        Ok(())
    });
}

#[test]
fn a_configuration_or_a_resiliency_of_any_name_restarts_the_run() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.start().await?;
        let resources = [
            ("Configuration", "someones", "{}"),
            ("Resiliency", "mine", "{policies: {timeouts: {t: 5s}}}"),
        ];
        for (restarts, (kind, name, spec)) in (2..).zip(resources) {
            let folder = daprd.directory().path();
            std::fs::write(
                folder.join("next"),
                format!(
                    "apiVersion: dapr.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
                ),
            )?;
            std::fs::rename(folder.join("next"), folder.join(format!("resources/{name}.yaml")))?;
            let line = format!("Received {kind} CREATED event: {name} - triggering SIGHUP reload");
            daprd.process.wait_for_line(&line).await?;
            daprd
                .process
                .wait_for_lines("dapr initialized. Status: Running.", restarts)
                .await?;
        }
        daprd.ready().await
    });
}

#[test]
fn a_name_that_is_taken_twice_ends_the_sidecar() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .resource("1.yaml", &endpoint("same", 1))?
            .start()
            .await?;
        daprd.directory().write("resources/2.yaml", endpoint("same", 2))?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let told = messages(&daprd.process);
        assert_eq!(
            told.last().map(String::as_str),
            Some(
                "Fatal error from runtime: failed to load resources from disk: duplicate definition of HTTPEndpoint \
                 name same with existing same"
            )
        );
        assert!(told.contains(&"Dapr runtime stopped".to_owned()), "{told:#?}");
        Ok(())
    });
}

#[test]
fn a_file_that_is_there_and_cannot_be_read_ends_the_sidecar() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?.start().await?;
        let resources = daprd.directory().path().join("resources");
        std::os::unix::fs::symlink("/", resources.join("odd.yaml"))?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        let path = resources.join("odd.yaml");
        assert_eq!(
            last,
            format!(
                "Fatal error from runtime: failed to read resource directories: open {}: is a directory",
                path.display()
            )
        );
        Ok(())
    });
}

#[test]
fn changes_while_the_app_is_waited_for_are_taken_as_well() {
    isolated!(async {
        let web = server("web").await?;
        let daprd = Daprd::builder("a")?
            .app("http", outrigger_test_kit::free_port()?)
            .spawn()?;
        daprd.process.wait_for_line("waiting on port").await?;
        daprd
            .directory()
            .write("resources/web.yaml", endpoint("web", web.port()))?;
        answered_by(&daprd, "web").await?;
        until("outbound health", async || {
            let reply = daprd.get("/v1.0/healthz/outbound").await.ok()?;
            (reply.status == 204).then_some(())
        })
        .await
    });
}
