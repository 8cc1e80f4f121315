//! What callers are told by each way into the sidecar, and what is counted.

use http::HeaderMap;
use outrigger_api::common::http_extension::Verb;
use outrigger_api::common::{HttpExtension, InvokeRequest};
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{Daprd, GrpcApp, HttpRequest, Sentry, isolated};
use prost::Message as _;
use serde_json::json;

use super::{INVOKE_SERVICE, callee, configuration, denial, http_app, only};
use crate::suite::invoke::both;

const MYAPP: &str = "spiffe://public/ns/default/myapp";

fn invoke_service(app_id: &str, method: &str) -> Vec<u8> {
    let request = InvokeServiceRequest {
        id: app_id.to_owned(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            http_extension: Some(HttpExtension {
                verb: Verb::Put.into(),
                querystring: String::new(),
            }),
            ..InvokeRequest::default()
        }),
    };
    request.encode_to_vec()
}

#[test]
fn a_refusal_is_told_by_http_by_invoke_service_and_by_proxying() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let (http, grpc) = (http_app().await?, GrpcApp::echo().await?);
        let rules = only("/public");
        let callee = callee(&sentry, &rules)?.app("http", http.port());
        let other = Daprd::builder("other")?
            .mtls(&sentry)
            .configuration(&rules)?
            .app("grpc", grpc.port());
        let caller = Daprd::builder("myapp")?.mtls(&sentry);
        let (callee, other, caller) = (callee.spawn()?, other.spawn()?, caller.spawn()?);
        for sidecar in [&callee, &other, &caller] {
            sidecar.ready().await?;
        }

        let wrapped = |operation: &str, verb: &str| {
            let denial = denial(MYAPP, operation, verb);
            format!("failed to invoke, id: callee, err: rpc error: code = PermissionDenied desc = {denial}")
        };
        let request = HttpRequest::new("PATCH", "/v1.0/invoke/callee/method/Admin/x?a=1");
        let reply = caller.send(&request).await?;
        assert_eq!(reply.status, 403);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let body = json!({"errorCode": "ERR_DIRECT_INVOKE", "message": wrapped("Admin/x", "PATCH")});
        assert_eq!(reply.text(), body.to_string());
        let reply = caller.invoke("callee", "admin%3Fx").await?;
        assert_eq!(reply.status, 500);
        assert!(
            reply
                .text()
                .contains(r#"invalid method: method contains forbidden character: \"admin?x\""#),
            "{}",
            reply.text()
        );

        let client = caller.grpc().await?;
        let reply = client
            .call(
                INVOKE_SERVICE,
                HeaderMap::new(),
                [invoke_service("callee", "admin")],
            )
            .await?;
        assert_eq!((reply.status, reply.message), (13, wrapped("admin", "PUT")));

        let path = "/mine.Service/Closed";
        let reply = client
            .call(path, metadata([("dapr-app-id", "other")]), ["x"])
            .await?;
        assert_eq!((reply.status, reply.message), (7, denial(MYAPP, path, "NONE")));
        assert!(grpc.calls(path).is_empty());
        Ok(())
    });
}

#[test]
fn an_app_calls_itself_without_a_policy_but_for_methods_that_pass_through() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let (http, grpc) = (http_app().await?, GrpcApp::echo().await?);
        let closed = configuration("{defaultAction: deny}");
        let callee = callee(&sentry, &closed)?.app("http", http.port());
        let other = Daprd::builder("other")?
            .mtls(&sentry)
            .configuration(&closed)?
            .app("grpc", grpc.port());
        let (callee, other) = both(callee, other).await?;

        assert_eq!(callee.invoke("callee", "x").await?.status, 200);
        let client = callee.grpc().await?;
        let reply = client
            .call(INVOKE_SERVICE, HeaderMap::new(), [invoke_service("callee", "x")])
            .await?;
        assert_eq!((reply.status, reply.message.as_str()), (0, ""));

        let client = other.grpc().await?;
        let path = "/mine.Service/Echo";
        let reply = client
            .call(path, metadata([("dapr-app-id", "other")]), ["x"])
            .await?;
        assert_eq!((reply.status, reply.message), (7, denial("", path, "NONE")));
        let counted = other
            .metric(
                "dapr_runtime_acl_global_policy_action_blocked_total",
                &[("app_id", ""), ("trustDomain", ""), ("namespace", "")],
            )
            .await?;
        assert_eq!(counted, Some(1.0));
        Ok(())
    });
}

#[test]
fn decisions_are_counted_under_the_name_of_the_caller() {
    isolated!(async {
        let (sentry, app) = (Sentry::start().await?, http_app().await?);
        let callee = callee(&sentry, &only("/public"))?.app("http", app.port());
        let (callee, myapp) = both(callee, Daprd::builder("myapp")?.mtls(&sentry)).await?;
        let stranger = Daprd::builder("stranger")?.mtls(&sentry).start().await?;
        for (caller, method, status) in [
            (&myapp, "public", 200),
            (&myapp, "public/x", 200),
            (&myapp, "admin", 403),
            (&stranger, "public", 403),
        ] {
            assert_eq!(caller.invoke("callee", method).await?.status, status);
        }
        let text = callee.metrics().await?;
        let series: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("dapr_runtime_acl"))
            .collect();
        assert_eq!(
            series,
            [
                r#"dapr_runtime_acl_app_policy_action_allowed_total{app_id="myapp",namespace="default",trustDomain="public"} 2"#,
                r#"dapr_runtime_acl_app_policy_action_blocked_total{app_id="myapp",namespace="default",trustDomain="public"} 1"#,
                r#"dapr_runtime_acl_global_policy_action_blocked_total{app_id="stranger",namespace="default",trustDomain="public"} 1"#,
            ]
        );
        let help = "# HELP dapr_runtime_acl_global_policy_action_blocked_total The number of requests blocked by \
                    the global action specified in the access control policy.";
        assert!(text.contains(help));
        // The caller decides nothing and counts nothing.
        assert!(!myapp.metrics().await?.contains("runtime_acl"));
        Ok(())
    });
}
