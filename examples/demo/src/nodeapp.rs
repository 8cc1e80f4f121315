//! The app that takes orders, over gRPC: `OnInvoke` for calls by name, and a service of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use outrigger_api::Any;
use outrigger_api::common::{InvokeRequest, InvokeResponse};
use outrigger_test_kit::{GrpcAnswer, GrpcApp, GrpcCall};
use serde_json::json;

/// A method of the app's own service, reached by gRPC proxying.
pub(crate) const NEW_ORDER: &str = "/orders.v1.Orders/NewOrder";
const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

/// Serves on a free port, which it tells, until it is killed.
pub(crate) async fn run() -> Result<()> {
    let orders = Arc::new(AtomicU64::new(0));
    let app = GrpcApp::start(move |call| take(Arc::clone(&orders), call)).await?;
    println!("taking orders on port {}", app.port());
    std::future::pending().await
}

async fn take(orders: Arc<AtomicU64>, mut call: GrpcCall) -> GrpcAnswer {
    let number = || orders.fetch_add(1, Ordering::Relaxed) + 1;
    match call.path.as_str() {
        ON_INVOKE => match call.message::<InvokeRequest>().await {
            Ok(request) if request.method == "neworder" => {
                let order = request.data.unwrap_or_default();
                let confirmation = confirm(&order.value, number());
                GrpcAnswer::message(&InvokeResponse {
                    data: Some(Any {
                        value: confirmation.into(),
                        ..Any::default()
                    }),
                    content_type: "application/json".to_owned(),
                })
            }
            Ok(request) => GrpcAnswer::status(5, &format!("no method {}", request.method)),
            Err(error) => GrpcAnswer::status(3, &error.to_string()),
        },
        NEW_ORDER => match call.messages.next().await {
            Ok(order) => GrpcAnswer::bytes([confirm(&order.unwrap_or_default(), number())]),
            Err(error) => GrpcAnswer::status(3, &error.to_string()),
        },
        // The sidecar asks for subscriptions, bindings and so on; this app has none.
        other => GrpcAnswer::status(12, &format!("no method {other}")),
    }
}

fn confirm(order: &[u8], number: u64) -> String {
    let order: serde_json::Value = serde_json::from_slice(order).unwrap_or_default();
    json!({ "number": number, "orderId": order["orderId"] }).to_string()
}
