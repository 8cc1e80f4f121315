//! Memory that large values take, and give back.

use outrigger_test_kit::{HttpRequest, isolated, until};

use super::{save, with_memory};

/// Bytes of a value, and how many there are at a time.
const VALUE: usize = 3 << 20;
const KEYS: usize = 10;
/// How much more than at the start may be in use in the end.
const SLACK: u64 = 50 << 20;

#[test]
fn memory_falls_back_after_large_values() {
    isolated!(async {
        let daprd = with_memory("a")?.start().await?;
        save(&daprd, "mem", r#"[{"key":"k","value":1}]"#).await?;
        let before = daprd.process.memory()?.anonymous;
        let value = "x".repeat(VALUE);
        for round in 0..10 {
            for key in 0..KEYS {
                save(
                    &daprd,
                    "mem",
                    &format!(r#"[{{"key":"k{key}","value":"{round}{value}"}}]"#),
                )
                .await?;
            }
        }
        for key in 0..KEYS {
            let delete = HttpRequest::new("DELETE", format!("/v1.0/state/mem/k{key}"));
            assert_eq!(daprd.send(&delete).await?.status, 204);
        }
        until("the memory to fall back", async || {
            (daprd.process.memory().ok()?.anonymous < before + SLACK).then_some(())
        })
        .await
        .map_err(|error| error.context(format!("{} before, {:?} now", before, daprd.process.memory())))
    });
}
