//! Sidecars that share an SQLite file.

use outrigger_test_kit::{Daprd, DaprdBuilder, Directory, Result, Signal, isolated, until};

use super::named;

fn sidecar(app_id: &str, directory: &Directory, settings: &str) -> Result<DaprdBuilder> {
    let file = directory.path().join("names.db");
    Daprd::builder(app_id)?.configuration(&format!(
        "spec: {{nameResolution: {{component: sqlite, configuration: {{connectionString: \"{}\"{settings}}}}}}}",
        file.display()
    ))
}

#[test]
fn sidecars_that_share_a_file_find_each_other() {
    isolated!(async {
        let directory = Directory::new()?;
        let (one, two) = (named("one").await?, named("two").await?);
        let caller = sidecar("caller", &directory, "")?.start().await?;
        let nobody = caller.invoke("callee", "x").await?;
        assert!(
            nobody.text().contains("no host found with the given ID"),
            "{}",
            nobody.text()
        );
        let mut first = sidecar("callee", &directory, "")?
            .app("http", one.port())
            .start()
            .await?;
        assert_eq!(caller.invoke("callee", "x").await?.text(), "one");
        let _second = sidecar("callee", &directory, "")?
            .app("http", two.port())
            .start()
            .await?;
        until("the second to be called", async || {
            (caller.invoke("callee", "x").await.ok()?.text() == "two").then_some(())
        })
        .await?;
        first.process.stop().await?;
        until("the first to be forgotten", async || {
            for _ in 0..10 {
                caller
                    .invoke("callee", "x")
                    .await
                    .ok()
                    .filter(|reply| reply.text() == "two")?;
            }
            Some(())
        })
        .await
    });
}

#[test]
fn a_sidecar_that_was_killed_is_forgotten_when_its_row_is_old() {
    isolated!(async {
        let directory = Directory::new()?;
        let app = named("callee").await?;
        let settings = ", updateInterval: 2s";
        let caller = sidecar("caller", &directory, settings)?.start().await?;
        let mut callee = sidecar("callee", &directory, settings)?
            .app("http", app.port())
            .start()
            .await?;
        // It lives longer than its row would without being renewed.
        let started = tokio::time::Instant::now();
        until("two intervals to pass", async || {
            let is_there = caller.invoke("callee", "x").await.ok()?.status == 200;
            assert!(is_there);
            (started.elapsed().as_secs() >= 4).then_some(())
        })
        .await?;
        callee.process.signal(Signal::Kill).await?;
        callee.process.exit().await?;
        until("its row to be too old", async || {
            let reply = caller.invoke("callee", "x").await.ok()?;
            reply
                .text()
                .contains("no host found with the given ID")
                .then_some(())
        })
        .await
    });
}

#[test]
fn wrong_settings_end_the_start() {
    isolated!(async {
        let directory = Directory::new()?;
        let mut daprd = sidecar("a", &directory, ", updateInterval: 1s")?.spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let fatal = "initialization error occurred for nr (sqlite/v1): update interval must be at least 1s greater than timeout";
        assert_eq!(
            daprd.process.lines_with(fatal).len(),
            1,
            "{}",
            daprd.process.tail()
        );
        Ok(())
    });
}
