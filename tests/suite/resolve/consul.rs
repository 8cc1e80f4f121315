//! Consul, by a fake of its agent (`Consul` of the test kit): the real one is not to be had here.

use anyhow::Context as _;
use outrigger_test_kit::{Consul, Daprd, DaprdBuilder, Result, isolated, until};
use serde_json::json;

use super::named;

fn sidecar(app_id: &str, consul: &Consul, settings: &str) -> Result<DaprdBuilder> {
    let address = consul.address();
    Daprd::builder(app_id)?.configuration(&format!(
        "spec: {{nameResolution: {{component: consul, configuration: {{client: {{address: \"{address}\"}}, {settings}}}}}}}"
    ))
}

const REGISTERED: &str = "selfRegister: true, selfDeregister: true";

#[test]
fn sidecars_register_and_find_each_other_through_the_agent() {
    isolated!(async {
        let (consul, app) = (Consul::start().await?, named("callee").await?);
        let caller = sidecar("caller", &consul, "")?.start().await?;
        assert_eq!(consul.asked("/v1/agent/self").len(), 1);
        let nobody = caller.invoke("callee", "x").await?;
        assert!(
            nobody
                .text()
                .contains("no healthy services found with AppID 'callee'"),
            "{}",
            nobody.text()
        );

        let mut callee = sidecar("callee", &consul, REGISTERED)?
            .app("http", app.port())
            .start()
            .await?;
        assert_eq!(
            callee
                .process
                .lines_with("service:callee registered on consul agent")
                .len(),
            1
        );
        let id = format!("callee-127.0.0.1-{}", callee.http_port);
        let registration = consul.registration(&id).context("it is registered")?;
        assert_eq!(
            registration["Meta"],
            json!({ "DAPR_PORT": callee.internal_port.to_string() })
        );
        let check = format!("http://127.0.0.1:{}/v1.0/healthz?appid=callee", callee.http_port);
        assert_eq!(registration["Checks"][0]["HTTP"], json!(check));
        assert_eq!(outrigger_test_kit::http::get(check).await?.status, 204);
        assert_eq!(caller.invoke("callee", "x").await?.text(), "callee");

        consul.set_status(&id, "critical");
        assert_eq!(caller.invoke("callee", "x").await?.status, 500);
        consul.set_status(&id, "passing");
        assert_eq!(caller.invoke("callee", "x").await?.text(), "callee");
        callee.process.stop().await?;
        assert!(consul.ids().is_empty(), "{:?}", consul.ids());
        Ok(())
    });
}

#[test]
fn with_the_cache_calls_do_not_ask_the_agent_and_changes_are_heard_of() {
    isolated!(async {
        let consul = Consul::start().await?;
        let (one, two) = (named("one").await?, named("two").await?);
        let caller = sidecar("caller", &consul, "useCache: true")?.start().await?;
        let first = sidecar("callee", &consul, REGISTERED)?
            .app("http", one.port())
            .start()
            .await?;
        until("the app to be watched", async || {
            caller.invoke("callee", "x").await.ok()?;
            (!consul.asked("/v1/health/state/any").is_empty()).then_some(())
        })
        .await?;
        until("the answers to come from memory", async || {
            let before = consul.asked("/v1/health/service/callee").len();
            for _ in 0..20 {
                caller
                    .invoke("callee", "x")
                    .await
                    .ok()
                    .filter(|reply| reply.status == 200)?;
            }
            (consul.asked("/v1/health/service/callee").len() == before).then_some(())
        })
        .await?;
        let _second = sidecar("callee", &consul, REGISTERED)?
            .app("http", two.port())
            .start()
            .await?;
        consul.set_status(&format!("callee-127.0.0.1-{}", first.http_port), "critical");
        until("the calls to go to the second", async || {
            (caller.invoke("callee", "x").await.ok()?.text() == "two").then_some(())
        })
        .await
    });
}

#[test]
fn an_agent_that_is_not_there_ends_the_start() {
    isolated!(async {
        let nobody = outrigger_test_kit::free_port()?;
        let mut daprd = Daprd::builder("a")?
            .configuration(&format!(
                "spec: {{nameResolution: {{component: hashicorp.consul, configuration: {{client: {{address: \"127.0.0.1:{nobody}\"}}}}}}}}"
            ))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let fatal = "[INIT_COMPONENT_FAILURE]: initialization error occurred for nr (hashicorp.consul/v1): failed check on consul agent: ";
        assert_eq!(
            daprd.process.lines_with(fatal).len(),
            1,
            "{}",
            daprd.process.tail()
        );
        Ok(())
    });
}
