//! Policies of state stores, and what is counted of them.

use outrigger_test_kit::{Daprd, Result, isolated, until};

use super::{in_memory, save};

/// An item that the store refuses, with an error that policies take for any other.
const REFUSED: &str = r#"[{"key":"k","value":1,"options":{"concurrency":"odd"}}]"#;

async fn sidecar(spec: &str) -> Result<Daprd> {
    let resiliency =
        format!("apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: mine}}\nspec: {spec}\n");
    let configuration = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {metrics: \
                         {recordErrorCodes: true}}\n";
    Daprd::builder("a")?
        .configuration(configuration)?
        .resource("resiliency.yaml", &resiliency)?
        .resource("mem.yaml", &in_memory("mem"))?
        .start()
        .await
}

async fn count(daprd: &Daprd, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    Ok(daprd.metric(name, labels).await?.unwrap_or_default())
}

#[test]
fn operations_are_tried_again_and_counted_once() {
    isolated!(async {
        let spec = "{policies: {retries: {r: {duration: 5ms, maxRetries: 3}}}, targets: {components: {mem: {outbound: \
                    {retry: r}}}}}";
        let daprd = sidecar(spec).await?;
        save(&daprd, "mem", r#"[{"key":"k","value":1}]"#).await?;
        let reply = daprd.post("/v1.0/state/mem", REFUSED).await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (
                500,
                r#"{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store mem: unrecognized concurrency model 'odd'"}"#
            )
        );
        let conflict = r#"[{"key":"k","value":1,"etag":"9"}]"#;
        assert_eq!(daprd.post("/v1.0/state/mem", conflict).await?.status, 409);
        daprd.get("/v1.0/state/mem/k").await?;
        daprd.post("/v1.0/state/mem/bulk", r#"{"keys":["k"]}"#).await?;
        daprd
            .process
            .wait_for_line("Error processing operation component[mem] output. Retrying")
            .await?;
        until("the metrics", async || {
            let success = |operation, success| {
                let labels = [
                    ("component", "mem"),
                    ("operation", operation),
                    ("success", success),
                ];
                let daprd = &daprd;
                async move { count(daprd, "dapr_component_state_count", &labels).await }
            };
            let counted = [
                success("set", "true").await.ok()?,
                success("set", "false").await.ok()?,
                success("get", "true").await.ok()?,
                success("bulk_get", "true").await.ok()?,
            ];
            (counted == [1.0, 2.0, 1.0, 1.0]).then_some(())
        })
        .await?;
        let labels = [("target", "Statestore_mem"), ("policy", "retry")];
        assert_eq!(
            count(&daprd, "dapr_resiliency_activations_total", &labels).await?,
            1.0
        );
        let labels = [("error_code", "ERR_STATE_SAVE"), ("category", "state")];
        assert_eq!(count(&daprd, "dapr_error_code_total", &labels).await?, 2.0);
        Ok(())
    });
}

#[test]
fn a_store_that_keeps_failing_is_left_alone() {
    isolated!(async {
        let spec = "{policies: {circuitBreakers: {b: {trip: consecutiveFailures >= 2, timeout: 30s}}}, targets: \
                    {components: {mem: {outbound: {circuitBreaker: b}}}}}";
        let daprd = sidecar(spec).await?;
        for _ in 0..2 {
            assert_eq!(daprd.post("/v1.0/state/mem", REFUSED).await?.status, 500);
        }
        let reply = daprd.get("/v1.0/state/mem/k").await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (
                500,
                r#"{"errorCode":"ERR_STATE_GET","message":"fail to get k from state store mem: circuit breaker is open"}"#
            )
        );
        Ok(())
    });
}
