//! URLs and HTTPEndpoints.

use outrigger_test_kit::{Daprd, isolated};

use super::super::invoke::assert_failure;
use super::{flaky, post, resiliency};

#[test]
fn urls_and_endpoints_are_targets_by_their_names() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let url = format!("http://127.0.0.1:{}", app.port());
        let endpoint = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: outside}}\nspec: {{baseUrl: \
             '{url}'}}\n"
        );
        let spec = format!(
            "{{policies: {{retries: {{r: {{duration: 1ms, maxRetries: 2}}}}, circuitBreakers: {{b: {{trip: \
             consecutiveFailures >= 3}}}}}}, targets: {{apps: {{outside: {{retry: r, circuitBreaker: b}}, '{url}': \
             {{retry: r, circuitBreaker: b}}}}}}}}"
        );
        let caller = Daprd::builder("caller")?
            .resource("endpoint.yaml", &endpoint)?
            .resource("resiliency.yaml", &resiliency(&spec))?
            .start()
            .await?;
        for target in ["outside", &url] {
            let method = format!("fail/2/500/{}", target.len());
            let reply = post(&caller, target, &method, "x").await?;
            assert_eq!((reply.status, reply.text().as_str()), (200, "x"), "{target}");
            assert_eq!(attempts.of(&format!("/{method}")), 3, "{target}");
        }
        caller
            .process
            .wait_for_line(&format!(
                "Recovered processing operation endpoint[outside, outside:{url}] after 3 attempts"
            ))
            .await?;
        caller
            .process
            .wait_for_line(&format!(
                "Recovered processing operation endpoint[{url}, {url}/fail/2/500/{}] after 3 attempts",
                url.len()
            ))
            .await?;

        // The methods of an endpoint share its breaker, those of a URL do not.
        assert_eq!(post(&caller, &url, "fail/9/500/a", "x").await?.status, 500);
        assert_eq!(post(&caller, &url, "b", "x").await?.status, 200);
        assert_eq!(post(&caller, "outside", "fail/9/500/c", "x").await?.status, 500);
        let reply = post(&caller, "outside", "d", "x").await?;
        assert_failure(&reply, "outside", "circuit breaker is open");
        Ok(())
    });
}
