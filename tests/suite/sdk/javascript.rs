//! The JavaScript SDK.

use outrigger_test_kit::{Program, isolated};
use serde_json::json;

use super::{Shop, file, installed, node};

#[test]
fn the_javascript_sdk_calls_an_app_by_both_protocols() {
    isolated!(async {
        let (Some(node), Some(modules)) = (node(), installed("target/test-tools/node")) else {
            return Ok(());
        };
        let (shop, grpc_app) = Shop::start().await?;
        let client = |app_id: &str| {
            Program::new(node)
                .arg(file("tests/sdk/invoke.js"))
                .arg(app_id)
                .env("SDK_MODULES", &modules)
        };
        let printed = shop.run(client("http-app")).await?;
        let body = json!({"got": "42", "by": "http"});
        assert_eq!(
            printed,
            json!({"http": body, "grpc": body, "refused": printed["refused"]})
        );
        let refusal = printed["refused"].as_str().unwrap_or_default();
        assert!(refusal.contains(super::UNKNOWN_APP), "{refusal}");
        let received = shop.http_app.requests_for("/neworder");
        assert_eq!(received.len(), 2);
        for request in &received {
            assert_eq!(request.method, "POST");
            assert_eq!(request.text(), "{\"orderId\":\"42\"}");
        }

        let printed = shop.run(client("grpc-app")).await?;
        let body = json!({"got": "42", "by": "grpc", "method": "neworder"});
        assert_eq!((&printed["http"], &printed["grpc"]), (&body, &body));
        let calls = grpc_app.calls("/dapr.proto.runtime.v1.AppCallback/OnInvoke");
        assert_eq!(calls.len(), 2);
        Ok(())
    });
}
