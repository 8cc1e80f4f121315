//! The Rust SDK.

use dapr::client::{Client, ClientOptions};
use dapr::error::Error;
use outrigger_test_kit::isolated;
use serde_json::{Value, json};

use super::{Shop, UNKNOWN_APP};

#[test]
fn the_rust_sdk_calls_an_http_app_and_a_grpc_app() {
    isolated!(async {
        let (shop, _app) = Shop::start().await?;
        let address = format!("http://127.0.0.1:{}", shop.caller.grpc_port);
        let options = ClientOptions::new().with_address(address).without_api_token();
        let mut client = Client::from_options(options).await.map_err(text)?;
        let order = || {
            Some(prost_types::Any {
                value: br#"{"orderId":"43"}"#.to_vec(),
                ..prost_types::Any::default()
            })
        };
        for (app_id, expected) in [
            ("http-app", json!({"got": "43", "by": "http"})),
            ("grpc-app", json!({"got": "43", "by": "grpc", "method": "neworder"})),
        ] {
            let response = client
                .invoke_service(app_id, "neworder", order())
                .await
                .map_err(text)?;
            assert_eq!(response.content_type, "application/json");
            let body: Value = serde_json::from_slice(&response.data.unwrap_or_default().value)?;
            assert_eq!(body, expected);
        }
        let received = shop.http_app.requests_for("/neworder");
        assert_eq!(received[0].text(), r#"{"orderId":"43"}"#);

        let refused = client.invoke_service("nobody", "neworder", order()).await;
        let refusal = text(refused.expect_err("nobody has this app")).to_string();
        assert!(refusal.contains(UNKNOWN_APP), "{refusal}");
        Ok(())
    });
}

fn text(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
