//! Unmodified SDKs talk to their sidecar, and the call arrives at the app beside the other one.

mod blocks;
mod javascript;
mod python;
mod rust;

use std::path::{Path, PathBuf};

use outrigger_api::Any;
use outrigger_api::common::{InvokeRequest, InvokeResponse};
use outrigger_test_kit::{Daprd, GrpcApp, HttpApp, HttpRequest, HttpResponse, Program, Result, Sentry, skip};
use serde_json::{Value, json};

/// What the SDKs are told about an app that nobody has.
const UNKNOWN_APP: &str = "failed to invoke, id: nobody, err: couldn't find service: nobody";

/// Sidecars with mTLS: one of a caller, one of an HTTP app, one of a gRPC app.
struct Shop {
    caller: Daprd,
    http_app: HttpApp,
    _sidecars: (Sentry, Daprd, Daprd),
}

// === impl Shop ===

impl Shop {
    /// Starts all of it with a gRPC app of the kit.
    async fn start() -> Result<(Self, GrpcApp)> {
        let grpc_app = GrpcApp::on_invoke(|request, _| Ok(order_response(&request))).await?;
        Ok((Self::start_with(grpc_app.port()).await?, grpc_app))
    }

    /// Starts all but the gRPC app, which listens on a port.
    async fn start_with(grpc_app_port: u16) -> Result<Self> {
        let sentry = Sentry::start().await?;
        let http_app = HttpApp::start(async |request: HttpRequest| {
            let order = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            HttpResponse::json(&json!({"got": order["orderId"], "by": "http"}))
        })
        .await?;
        let http = Daprd::builder("http-app")?
            .app("http", http_app.port())
            .mtls(&sentry)
            .spawn()?;
        let grpc = Daprd::builder("grpc-app")?
            .app("grpc", grpc_app_port)
            .mtls(&sentry)
            .spawn()?;
        let caller = Daprd::builder("caller")?.mtls(&sentry).spawn()?;
        for sidecar in [&http, &grpc, &caller] {
            sidecar.ready().await?;
        }
        Ok(Self {
            caller,
            http_app,
            _sidecars: (sentry, http, grpc),
        })
    }

    /// Runs a script that is told the ports as every app is, and returns the JSON text it prints.
    async fn run(&self, program: Program) -> Result<Value> {
        let (status, process) = program
            .env("DAPR_HTTP_PORT", self.caller.http_port.to_string())
            .env("DAPR_GRPC_PORT", self.caller.grpc_port.to_string())
            .env("HOME", std::env::temp_dir())
            .run()
            .await?;
        anyhow::ensure!(status.success(), "{}", process.tail());
        let line = process.stdout().pop().unwrap_or_default();
        Ok(serde_json::from_str(&line)?)
    }
}

/// What the gRPC app says to an order.
fn order_response(request: &InvokeRequest) -> InvokeResponse {
    let data = request.data.as_ref().map_or(&b""[..], |data| &data.value);
    let order = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let body = json!({"got": order["orderId"], "by": "grpc", "method": request.method});
    InvokeResponse {
        data: Some(Any {
            value: body.to_string().into_bytes().into(),
            ..Any::default()
        }),
        content_type: "application/json".to_owned(),
    }
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

/// The interpreter with the Python SDK, if it is installed.
fn python() -> Option<PathBuf> {
    installed("target/test-tools/python/bin/python3")
}

/// The JavaScript interpreter, if it is installed.
fn node() -> Option<&'static Path> {
    let paths = ["/usr/bin/node", "/usr/local/bin/node"].map(Path::new);
    let found = paths.into_iter().find(|path| path.exists());
    if found.is_none() {
        skip("no node: run `make test-tools`");
    }
    found
}

/// A path below the installed tools, if it is there.
fn installed(path: &str) -> Option<PathBuf> {
    let path = file(path);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("no {}: run `make test-tools`", path.display()));
    None
}
