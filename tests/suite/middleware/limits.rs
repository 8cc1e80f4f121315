//! Rates and other limits, as clients meet them.

use outrigger_test_kit::{HttpApp, HttpRequest, isolated};

use super::{middleware, own, pipelines, sidecar};

#[test]
fn a_client_that_asks_too_often_is_told_so() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let limit = middleware("limit", "ratelimit", &[("maxrequestspersecond", "2")]);
        let daprd = sidecar(&app)?
            .resource("1.yaml", &limit)?
            .configuration(&pipelines(&[("limit", "ratelimit")], &[]))?
            .start()
            .await?;
        let mut refused = None;
        for _ in 0..20 {
            let reply = daprd.get(&own("x")).await?;
            assert_eq!(reply.header("ratelimit-limit"), Some("2"));
            assert_eq!(reply.header("ratelimit-reset"), Some("1"));
            let remote = reply
                .header("x-rate-limit-request-remote-addr")
                .unwrap_or_default();
            assert!(remote.starts_with("127.0.0.1:"), "{remote}");
            if reply.status == 429 {
                refused = Some(reply);
                break;
            }
        }
        let refused = refused.expect("twenty requests are more than two a second");
        assert_eq!(refused.text(), "You have reached maximum request limit.");
        assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
        // Another client, and another path, may still ask.
        let request = HttpRequest::new("GET", own("x")).header("X-Forwarded-For", "10.0.0.1, 10.0.0.2");
        let other = daprd.send(&request).await?;
        assert_eq!(other.status, 200);
        assert_eq!(
            other.header("x-rate-limit-request-forwarded-for"),
            Some("10.0.0.1, 10.0.0.2")
        );
        assert_eq!(daprd.get(&own("y")).await?.status, 200);
        Ok(())
    });
}

#[test]
fn sentinel_keeps_requests_from_a_resource() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let rules = r#"[{"resource":"GET:/v1.0/invoke/a/method/x","threshold":1,"statIntervalInMs":60000}]"#;
        let daprd = sidecar(&app)?
            .resource(
                "1.yaml",
                &middleware("guard", "sentinel", &[("appName", "a"), ("flowRules", rules)]),
            )?
            .configuration(&pipelines(&[("guard", "sentinel")], &[]))?
            .start()
            .await?;
        assert_eq!(daprd.get(&own("x")).await?.status, 200);
        let refused = daprd.get(&own("x")).await?;
        assert_eq!(
            (refused.status, refused.text().as_str()),
            (429, "Too Many Requests")
        );
        assert_eq!(daprd.post(&own("x"), "").await?.status, 200);
        Ok(())
    });
}
