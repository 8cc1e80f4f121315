//! The Python SDK, as a client and as an app.

use outrigger_test_kit::{Program, free_port, isolated, wait_for_port};
use serde_json::json;

use super::{Shop, UNKNOWN_APP, file, python};

fn client(python: &std::path::Path, app_id: &str) -> Program {
    Program::new(python).arg(file("tests/sdk/invoke.py")).arg(app_id)
}

#[test]
fn the_python_sdk_calls_an_http_app_by_both_protocols() {
    isolated!(async {
        let Some(python) = python() else { return Ok(()) };
        let (shop, _app) = Shop::start().await?;
        let printed = shop.run(client(&python, "http-app")).await?;
        let body = json!({"got": "41", "by": "http"});
        assert_eq!(
            printed["http"],
            json!({"status": 200, "type": "application/json", "body": body})
        );
        assert_eq!(printed["grpc"], json!({"type": "application/json", "body": body}));
        let refusal = printed["refused"].as_str().unwrap_or_default();
        assert!(refusal.contains(UNKNOWN_APP), "{refusal}");

        let received = shop.http_app.requests_for("/neworder");
        assert_eq!(received.len(), 2);
        for (request, query) in received.iter().zip(["from=http", "from=grpc"]) {
            assert_eq!((request.method.as_str(), request.query()), ("POST", Some(query)));
            assert_eq!(request.text(), "{\"orderId\": \"41\"}");
            assert_eq!(request.headers.get("content-type"), Some("application/json"));
        }
        assert_eq!(received[0].headers.get("x-sdk"), Some("python"));
        Ok(())
    });
}

#[test]
fn the_python_sdk_calls_a_grpc_app_by_both_protocols() {
    isolated!(async {
        let Some(python) = python() else { return Ok(()) };
        let (shop, _app) = Shop::start().await?;
        let printed = shop.run(client(&python, "grpc-app")).await?;
        let body = json!({"got": "41", "by": "grpc", "method": "neworder"});
        assert_eq!(printed["http"]["status"], 200);
        assert_eq!(printed["http"]["body"], body);
        assert_eq!(printed["grpc"], json!({"type": "application/json", "body": body}));
        Ok(())
    });
}

#[test]
fn an_app_made_with_the_python_sdk_is_called() {
    isolated!(async {
        let Some(python) = python() else { return Ok(()) };
        let port = free_port()?;
        let app = Program::new(&python)
            .arg(file("tests/sdk/app.py"))
            .arg(port.to_string())
            .env("HOME", std::env::temp_dir())
            .start()?;
        wait_for_port(port)
            .await
            .map_err(|error| error.context(app.tail()))?;
        let shop = Shop::start_with(port).await?;
        let printed = shop.run(client(&python, "grpc-app")).await?;
        let body = json!({"got": "41", "by": "sdk"});
        assert_eq!(
            printed["http"],
            json!({"status": 200, "type": "application/json", "body": body})
        );
        assert_eq!(printed["grpc"], json!({"type": "application/json", "body": body}));
        let missing = shop.caller.invoke("grpc-app", "missing").await?;
        assert_eq!(missing.status, 501, "{}", missing.text());
        Ok(())
    });
}
