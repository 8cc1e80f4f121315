//! Handlers around calls to the app and to servers outside.

use outrigger_test_kit::{HttpApp, HttpResponse, isolated};

use super::{middleware, own, pipelines, sidecar};

#[test]
fn calls_to_the_app_pass_the_handlers_and_probes_do_not() {
    isolated!(async {
        let app = HttpApp::start(async |request| {
            HttpResponse::ok(request.body)
                .header("Connection", "X-Hop")
                .header("X-Hop", "1")
        })
        .await?;
        let alias = middleware(
            "alias",
            "routeralias",
            &[(
                "routes",
                "/item/{id}: /items\n/dapr/config: /renamed\n/healthz: /never",
            )],
        );
        let upper = middleware("upper", "uppercase", &[("direction", "both")]);
        let daprd = sidecar(&app)?
            .resource("1.yaml", &alias)?
            .resource("2.yaml", &upper)?
            .configuration(&pipelines(
                &[],
                &[("alias", "routeralias"), ("upper", "uppercase")],
            ))?
            .flag("enable-app-health-check", true)
            .flag("app-health-probe-interval", 1)
            .start()
            .await?;
        let reply = daprd.post(&own("item/a%20b?x=1"), "body").await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "BODY"));
        assert_eq!(reply.header("x-hop"), None);
        let received = &app.wait_for_requests("/items", 1).await?[0];
        assert_eq!(
            (received.query(), received.text().as_str()),
            (Some("id=a+b&x=1"), "BODY")
        );
        assert!(received.headers.get("traceparent").is_some());
        app.wait_for_requests("/renamed", 1).await?;
        app.wait_for_requests("/healthz", 1).await?;
        assert!(app.requests_for("/never").is_empty() && app.requests_for("/dapr/config").is_empty());
        daprd
            .process
            .wait_for_line("msg=\"Building pipeline app\"")
            .await?;
        Ok(())
    });
}

#[test]
fn calls_to_servers_outside_pass_the_handlers() {
    isolated!(async {
        let server = HttpApp::echo().await?;
        let app = HttpApp::echo().await?;
        let url = format!("http://127.0.0.1:{}", server.port());
        let endpoint = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: outside}}\nspec: {{baseUrl: \
             \"{url}/base\"}}\n"
        );
        let daprd = sidecar(&app)?
            .resource("1.yaml", &middleware("upper", "uppercase", &[]))?
            .resource("2.yaml", &endpoint)?
            .configuration(&pipelines(&[], &[("upper", "uppercase")]))?
            .start()
            .await?;
        let named = daprd.post("/v1.0/invoke/outside/method/x", "named").await?;
        assert_eq!((named.status, named.text().as_str()), (200, "NAMED"));
        let plain = daprd
            .post(&format!("/v1.0/invoke/{url}/method/y"), "plain")
            .await?;
        assert_eq!((plain.status, plain.text().as_str()), (200, "PLAIN"));
        assert_eq!(server.requests_for("/base/x").len(), 1);
        Ok(())
    });
}

#[test]
fn a_call_to_the_app_counts_without_an_address() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let limit = middleware("limit", "ratelimit", &[("maxRequestsPerSecond", "0.001")]);
        let daprd = sidecar(&app)?
            .resource("1.yaml", &limit)?
            .configuration(&pipelines(&[], &[("limit", "ratelimit")]))?
            .start()
            .await?;
        // A call to the app has no address of a client.
        let reply = daprd.get(&own("x")).await?;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-rate-limit-limit"), Some("0.00"));
        let refused = daprd.get(&own("x")).await?;
        assert_eq!(
            (refused.status, refused.text().as_str()),
            (429, "You have reached maximum request limit.")
        );
        assert_eq!(app.requests_for("/x").len(), 1);
        Ok(())
    });
}
