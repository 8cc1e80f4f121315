//! The Rust SDK.

use dapr::client::{Client, ClientOptions};
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest};
use dapr::dapr::proto::runtime::v1::InvokeServiceRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::error::Error;
use outrigger_test_kit::isolated;
use serde_json::{Value, json};

use super::{Shop, UNKNOWN_APP};

#[test]
fn the_rust_sdk_calls_a_grpc_app() {
    isolated!(async {
        let (shop, _app) = Shop::start().await?;
        let options = ClientOptions::new()
            .with_address(address(&shop))
            .without_api_token();
        let mut client = Client::from_options(options)
            .await
            .map_err(|error| text(&error))?;
        let response = client
            .invoke_service("grpc-app", "neworder", Some(order()))
            .await
            .map_err(|error| text(&error))?;
        assert_eq!(response.content_type, "application/json");
        let body: Value = serde_json::from_slice(&response.data.unwrap_or_default().value)?;
        assert_eq!(body, json!({"got": "43", "by": "grpc", "method": "neworder"}));

        let refused = client.invoke_service("nobody", "neworder", None).await;
        let refusal = text(&refused.expect_err("nobody has this app")).to_string();
        assert!(refusal.contains(UNKNOWN_APP), "{refusal}");
        // This call cannot say which verb an HTTP app is to see.
        let refused = client.invoke_service("http-app", "neworder", None).await;
        let refusal = text(&refused.expect_err("there is no verb")).to_string();
        assert!(refusal.contains("missing HTTP extension field"), "{refusal}");
        assert!(shop.http_app.requests_for("/neworder").is_empty());
        Ok(())
    });
}

#[test]
fn the_generated_client_of_the_rust_sdk_calls_an_http_app() {
    isolated!(async {
        let (shop, _app) = Shop::start().await?;
        let mut client = DaprClient::connect(address(&shop)).await?;
        let extension = HttpExtension {
            verb: Verb::Put.into(),
            querystring: "from=rust".to_owned(),
        };
        let request = InvokeServiceRequest {
            id: "http-app".to_owned(),
            message: Some(InvokeRequest {
                method: "neworder".to_owned(),
                data: Some(order()),
                content_type: "application/json".to_owned(),
                http_extension: Some(extension),
            }),
        };
        let response = client.invoke_service(request).await?.into_inner();
        let body: Value = serde_json::from_slice(&response.data.unwrap_or_default().value)?;
        assert_eq!(body, json!({"got": "43", "by": "http"}));
        let received = &shop.http_app.requests_for("/neworder")[0];
        assert_eq!(
            (received.method.as_str(), received.query()),
            ("PUT", Some("from=rust"))
        );
        assert_eq!(received.text(), r#"{"orderId":"43"}"#);
        Ok(())
    });
}

fn address(shop: &Shop) -> String {
    format!("http://127.0.0.1:{}", shop.caller.grpc_port)
}

fn order() -> prost_types::Any {
    prost_types::Any {
        value: br#"{"orderId":"43"}"#.to_vec(),
        ..prost_types::Any::default()
    }
}

fn text(error: &Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
