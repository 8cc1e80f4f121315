//! Route aliases through a sidecar.

use outrigger_test_kit::{HttpApp, isolated};

use super::{middleware, pipelines, sidecar};

#[test]
fn an_alias_leads_to_invocation_and_nowhere_else() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let routes = r#"{
	"/hello/{who}": "/v1.0/invoke/a/method/greet",
	"/state": "/v1.0/state/store/key",
	"/v1.0/healthz": "/v1.0/invoke/a/method/never",
	"/v1.0/invoke/b/method/x": "/v1.0/invoke/a/method/y"
}"#;
        let daprd = sidecar(&app)?
            .resource(
                "1.yaml",
                &middleware("alias", "routeralias", &[("routes", routes)]),
            )?
            .configuration(&pipelines(&[("alias", "routeralias")], &[]))?
            .start()
            .await?;
        assert_eq!(daprd.post("/hello/you?b=2", "x").await?.text(), "x");
        assert_eq!(app.requests_for("/greet")[0].query(), Some("b=2&who=you"));
        // The route was chosen before.
        let state = daprd.get("/state").await?;
        assert_eq!(state.status, 404);
        assert!(state.text().contains("ERR_DIRECT_INVOKE"), "{}", state.text());
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);
        assert!(app.requests_for("/never").is_empty());
        assert_eq!(daprd.get("/v1.0/invoke/b/method/x").await?.status, 200);
        assert_eq!(app.requests_for("/y").len(), 1);
        Ok(())
    });
}
