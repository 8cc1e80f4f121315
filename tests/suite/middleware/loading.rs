//! Components that cannot be made, wait, or are looked at from outside.

use outrigger_test_kit::{Daprd, HttpApp, isolated};

use super::{middleware, own, pipelines, sidecar};
use crate::suite::process::messages;

#[test]
fn a_handler_that_cannot_be_made_ends_the_sidecar_with_the_reason() {
    isolated!(async {
        let table = [
            (
                "nothing",
                "HTTP middleware middleware.http.nothing/v1 has not been registered",
            ),
            (
                "ratelimit",
                "error creating HTTP middleware middleware.http.ratelimit/v1: metadata property maxRequestsPerSecond must \
                 be a positive value",
            ),
        ];
        for (kind, reason) in table {
            let yaml = middleware("m1", kind, &[("maxRequestsPerSecond", "-1")]);
            let mut daprd = Daprd::builder("a")?.resource("1.yaml", &yaml)?.spawn()?;
            assert_eq!(daprd.process.exit().await?.code(), Some(1));
            let at = |stage| {
                format!(
                    "[{stage}_COMPONENT_FAILURE]: initialization error occurred for m1 (middleware.http.{kind}/v1): "
                )
            };
            let expected = format!(
                "Fatal error from runtime: failed to load components: process component m1 error: {}{}process component \
                 m1 error: {reason}",
                at("INIT"),
                at("CREATE")
            );
            let told = messages(&daprd.process);
            assert!(told.contains(&expected), "{expected:?} is not in {told:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_failed_component_that_may_fail_shows_in_metadata_and_metrics() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let bad =
            middleware("bad", "bearer", &[]).replace("version: v1", "version: v1\n  ignoreErrors: true");
        let daprd = sidecar(&app)?
            .resource("1.yaml", &bad)?
            .resource("2.yaml", &middleware("good", "uppercase", &[]))?
            .configuration(&pipelines(&[("bad", "bearer")], &[]))?
            .start()
            .await?;
        // A guard that failed is not there: that is what its owner has allowed.
        assert_eq!(daprd.get(&own("x")).await?.status, 200);
        let metadata = daprd.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata["components"].as_array().map(Vec::len), Some(1));
        assert_eq!(metadata["components"][0]["name"], "good");
        assert_eq!(metadata["extended"]["componentState/bad"], "failed");
        assert_eq!(metadata["extended"].get("componentState/good"), None);
        for (name, labels, value) in [
            (
                "dapr_runtime_component_init_total",
                &[("component", "middleware.http.uppercase")][..],
                1.0,
            ),
            (
                "dapr_runtime_component_init_fail_total",
                &[
                    ("component", "middleware.http.bearer"),
                    ("reason", "creation"),
                    ("componentName", "bad"),
                ],
                1.0,
            ),
            (
                "dapr_runtime_component_state",
                &[("componentName", "good"), ("state", "ready")],
                1.0,
            ),
            (
                "dapr_runtime_component_state",
                &[("componentName", "bad"), ("state", "failed")],
                1.0,
            ),
        ] {
            assert_eq!(
                daprd.metric(name, labels).await?,
                Some(value),
                "{name} {labels:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_component_waits_for_its_secret_store() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let waits = middleware("waits", "uppercase", &[]).replace(
            "metadata: []",
            "metadata: [{name: direction, secretKeyRef: {name: s}}]\nauth: {secretStore: vault}",
        );
        let daprd = sidecar(&app)?.resource("1.yaml", &waits)?.start().await?;
        daprd
            .process
            .wait_for_line("Component waits references a secret store that isn't loaded: vault")
            .await?;
        let metadata = daprd.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata.get("components"), None);
        assert_eq!(metadata["extended"]["componentState/waits"], "starting");
        Ok(())
    });
}

#[test]
fn the_end_closes_what_was_loaded() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let mut daprd = sidecar(&app)?
            .resource("1.yaml", &middleware("upper", "uppercase", &[]))?
            .start()
            .await?;
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        let told = messages(&daprd.process);
        let place = |line: &str| told.iter().position(|told| told == line);
        let (begins, closes, ends) = (
            place("Dapr is shutting down"),
            place("Shutting down component upper (middleware.http.uppercase/v1)"),
            place("Dapr runtime stopped"),
        );
        assert!(begins.is_some() && begins < closes && closes < ends, "{told:#?}");
        Ok(())
    });
}
