//! Stores that come, change and go while the sidecar runs.

use outrigger_test_kit::{Daprd, Result, isolated, until};

use super::{component, read, save, with_memory};

/// Waits until a read of a key has this status.
async fn answers(daprd: &Daprd, store: &str, status: u16) -> Result<()> {
    until(format_args!("{store} to answer {status}"), async || {
        (read(daprd, store, "k").await.ok()?.0 == status).then_some(())
    })
    .await
    .map_err(|error| error.context(daprd.process.tail()))
}

fn of_actors(name: &str) -> String {
    component(name, "state.in-memory", &[("actorStateStore", "true")])
}

#[test]
fn stores_come_and_go() {
    isolated!(async {
        let daprd = with_memory("a")?.start().await?;
        answers(&daprd, "two", 400).await?;
        let file = "resources/two.yaml";
        daprd
            .directory()
            .write(file, component("two", "state.in-memory", &[]))?;
        answers(&daprd, "two", 204).await?;
        save(&daprd, "two", r#"[{"key":"k","value":1}]"#).await?;
        answers(&daprd, "two", 200).await?;
        // A store that is made anew has nothing in memory.
        let changed = component("two", "state.in-memory", &[("keyPrefix", "name")]);
        daprd.directory().write(file, changed)?;
        answers(&daprd, "two", 204).await?;
        std::fs::remove_file(daprd.directory().path().join(file))?;
        answers(&daprd, "two", 400).await?;
        Ok(())
    });
}

#[test]
fn there_is_one_store_of_actors_at_a_time() {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .flag("placement-host-address", "127.0.0.1:1")
            .resource("one.yaml", &of_actors("one"))?
            .start()
            .await?;
        daprd
            .process
            .wait_for_line("Using 'one' as actor state store")
            .await?;
        daprd.directory().write("resources/two.yaml", of_actors("two"))?;
        daprd
            .process
            .wait_for_line(
                "Skipping hot reload of two (state.in-memory/v1): one is already the actor state store, only one \
                 actor state store is allowed. The component will be applied if one is removed",
            )
            .await?;
        answers(&daprd, "two", 400).await?;
        std::fs::remove_file(daprd.directory().path().join("resources/one.yaml"))?;
        daprd
            .process
            .wait_for_line("Applying previously skipped actor state store: two (state.in-memory/v1)")
            .await?;
        daprd
            .process
            .wait_for_line("Using 'two' as actor state store")
            .await?;
        answers(&daprd, "two", 204).await?;
        Ok(())
    });
}

#[test]
fn two_stores_of_actors_end_the_start() {
    isolated!(async {
        let mut daprd = Daprd::builder("a")?
            .flag("placement-host-address", "127.0.0.1:1")
            .resource("one.yaml", &of_actors("one"))?
            .resource("two.yaml", &of_actors("two"))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let text = "detected duplicate actor state store: one and two";
        assert!(
            !daprd.process.lines_with(text).is_empty(),
            "{}",
            daprd.process.tail()
        );
        Ok(())
    });
}
