//! Who shares keys with whom.

use outrigger_test_kit::{Daprd, Directory, Result, isolated};

use super::{component, read, save};

/// A sidecar whose stores share one file: each has its own key prefix.
async fn sidecar(app_id: &str, file: &str) -> Result<Daprd> {
    let store = |name: &str, prefix: &str| {
        let settings = [("connectionString", file), ("keyPrefix", prefix)];
        component(name, "state.sqlite", &settings)
    };
    Daprd::builder(app_id)?
        .env("NAMESPACE", "ns")
        .resource("app.yaml", &store("app", "appid"))?
        .resource("name.yaml", &store("name", "NAME"))?
        .resource("namespace.yaml", &store("namespace", "namespace"))?
        .resource("none.yaml", &store("none", "none"))?
        .resource("shared.yaml", &store("shared", "Shared"))?
        .start()
        .await
}

#[test]
fn the_prefix_of_a_component_decides_who_shares_its_keys() {
    isolated!(async {
        let directory = Directory::new()?;
        let file = directory.path().join("state.db");
        let file = file.display().to_string();
        let (one, two) = (sidecar("one", &file).await?, sidecar("two", &file).await?);
        for store in ["app", "name", "namespace", "none", "shared"] {
            save(&one, store, &format!(r#"[{{"key":"k","value":"{store}"}}]"#)).await?;
            assert_eq!(read(&one, store, "k").await?, (200, format!("\"{store}\"")));
        }
        for (store, is_shared) in [
            ("app", false),
            ("namespace", false),
            ("name", true),
            ("none", true),
            ("shared", true),
        ] {
            let status = if is_shared { 200 } else { 204 };
            assert_eq!(read(&two, store, "k").await?.0, status, "{store}");
        }
        let bulk = two.post("/v1.0/state/none/bulk", r#"{"keys":["k"]}"#).await?;
        assert!(
            bulk.text().starts_with(r#"[{"key":"k","data":"none""#),
            "{}",
            bulk.text()
        );
        Ok(())
    });
}

#[test]
fn a_prefix_with_the_separator_ends_the_start() {
    isolated!(async {
        let store = component("s", "state.in-memory", &[("keyPrefix", "a||b")]);
        let mut daprd = Daprd::builder("a")?.resource("s.yaml", &store)?.spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let text = "[INIT_COMPONENT_FAILURE]: initialization error occurred for s (state.in-memory/v1): failed to \
                    save lock keyprefix: input key/keyPrefix 'a||b' can't contain '||'";
        assert!(
            !daprd.process.lines_with(text).is_empty(),
            "{}",
            daprd.process.tail()
        );
        Ok(())
    });
}
