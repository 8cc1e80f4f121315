//! The app that sends orders, by every way there is, and tells how long each took.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use outrigger_api::Any;
use outrigger_api::common::http_extension::Verb;
use outrigger_api::common::{HttpExtension, InvokeRequest, InvokeResponse};
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::http::HttpConnection;
use outrigger_test_kit::{GrpcClient, HttpRequest};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::nodeapp::NEW_ORDER;

/// What one way of calling gave.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) way: String,
    pub(crate) calls: usize,
    pub(crate) failed: usize,
    pub(crate) p50_us: u128,
    pub(crate) p99_us: u128,
    pub(crate) slowest_us: u128,
}

/// The callee, as the caller knows it: by its app id.
pub(crate) const CALLEE: &str = "nodeapp";
const INVOKE_SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";

/// `caller each N` makes N calls each way; `caller steadily` calls by HTTP until it is interrupted.
pub(crate) async fn run(arguments: &[String]) -> Result<()> {
    let http_port = port("DAPR_HTTP_PORT")?;
    let grpc_port = port("DAPR_GRPC_PORT")?;
    match arguments {
        [mode, count] if mode == "each" => each(http_port, grpc_port, count.parse()?).await,
        [mode] if mode == "steadily" => steadily(http_port).await,
        _ => bail!("usage: caller each N | caller steadily"),
    }
}

async fn each(http_port: u16, grpc_port: u16, count: usize) -> Result<()> {
    let mut http = HttpConnection::open(http_port).await?;
    let path = format!("/v1.0/invoke/{CALLEE}/method/neworder");
    let mut tally = Tally::new("HTTP /v1.0/invoke/nodeapp/method/neworder");
    for id in 0..count {
        let request = HttpRequest::new("POST", path.as_str())
            .header("content-type", "application/json")
            .body(order(id));
        tally
            .add(async { confirmed(http.send(&request).await?.body.as_ref(), id) })
            .await?;
    }
    tally.print()?;

    let mut tally = Tally::new("HTTP header dapr-app-id: nodeapp");
    for id in 0..count {
        let request = HttpRequest::new("POST", "/neworder")
            .header("dapr-app-id", CALLEE)
            .header("content-type", "application/json")
            .body(order(id));
        tally
            .add(async { confirmed(http.send(&request).await?.body.as_ref(), id) })
            .await?;
    }
    tally.print()?;

    let grpc = GrpcClient::connect(grpc_port).await?;
    let mut tally = Tally::new("gRPC InvokeService");
    for id in 0..count {
        let request = invocation(id).encode_to_vec();
        tally
            .add(async {
                let reply = grpc.call(INVOKE_SERVICE, metadata([]), [request]).await?;
                ensure!(reply.status == 0, "status {}: {}", reply.status, reply.message);
                let answer = InvokeResponse::decode(reply.messages.first().cloned().unwrap_or_default())?;
                confirmed(&answer.data.unwrap_or_default().value, id)
            })
            .await?;
    }
    tally.print()?;

    let mut tally = Tally::new("gRPC proxying of orders.v1.Orders/NewOrder");
    for id in 0..count {
        tally
            .add(async {
                let reply = grpc
                    .call(NEW_ORDER, metadata([("dapr-app-id", CALLEE)]), [order(id)])
                    .await?;
                ensure!(reply.status == 0, "status {}: {}", reply.status, reply.message);
                confirmed(reply.messages.first().map(AsRef::as_ref).unwrap_or_default(), id)
            })
            .await?;
    }
    tally.print()
}

/// Calls one after the other until it is interrupted.
async fn steadily(http_port: u16) -> Result<()> {
    let mut end = std::pin::pin!(tokio::signal::ctrl_c());
    let path = format!("/v1.0/invoke/{CALLEE}/method/neworder");
    let mut http = HttpConnection::open(http_port).await?;
    let mut tally = Tally::new("HTTP while the callee is killed and started again");
    println!("calling");
    let mut id = 0;
    loop {
        let request = HttpRequest::new("POST", path.as_str())
            .header("content-type", "application/json")
            .body(order(id));
        tally
            .add(async { confirmed(http.send(&request).await?.body.as_ref(), id) })
            .await?;
        id += 1;
        let pause = Duration::from_millis(2);
        if tokio::time::timeout(pause, end.as_mut()).await.is_ok() {
            return tally.print();
        }
    }
}

fn order(id: usize) -> String {
    json!({ "orderId": id, "item": "paddle", "quantity": 2 }).to_string()
}

fn invocation(id: usize) -> InvokeServiceRequest {
    InvokeServiceRequest {
        id: CALLEE.to_owned(),
        message: Some(InvokeRequest {
            method: "neworder".to_owned(),
            data: Some(Any {
                value: order(id).into(),
                ..Any::default()
            }),
            content_type: "application/json".to_owned(),
            http_extension: Some(HttpExtension {
                verb: Verb::Post.into(),
                querystring: String::new(),
            }),
        }),
    }
}

/// Whether the answer confirms this very order.
fn confirmed(answer: &[u8], id: usize) -> Result<()> {
    let confirmation: serde_json::Value =
        serde_json::from_slice(answer).with_context(|| String::from_utf8_lossy(answer).into_owned())?;
    ensure!(
        confirmation["orderId"] == id,
        "{confirmation} does not confirm order {id}"
    );
    Ok(())
}

fn port(name: &str) -> Result<u16> {
    Ok(std::env::var(name)
        .with_context(|| format!("{name} is not set"))?
        .parse()?)
}

#[derive(Debug)]
struct Tally {
    way: String,
    times: Vec<u128>,
    failures: Vec<String>,
}

// === impl Tally ===

impl Tally {
    fn new(way: &str) -> Self {
        Self {
            way: way.to_owned(),
            times: Vec::new(),
            failures: Vec::new(),
        }
    }

    async fn add(&mut self, call: impl Future<Output = Result<()>>) -> Result<()> {
        let begun = Instant::now();
        if let Err(error) = call.await {
            self.failures.push(format!("{error:#}"));
        }
        self.times.push(begun.elapsed().as_micros());
        Ok(())
    }

    fn print(mut self) -> Result<()> {
        self.times.sort_unstable();
        let at = |share: usize| {
            self.times
                .get((self.times.len() * share / 100).min(self.times.len() - 1))
                .copied()
        };
        let outcome = Outcome {
            way: self.way.clone(),
            calls: self.times.len(),
            failed: self.failures.len(),
            p50_us: at(50).unwrap_or_default(),
            p99_us: at(99).unwrap_or_default(),
            slowest_us: at(100).unwrap_or_default(),
        };
        for failure in self.failures.iter().take(3) {
            eprintln!("{}: {failure}", self.way);
        }
        println!("{}", serde_json::to_string(&outcome)?);
        Ok(())
    }
}
