//! Documents under keys of files, over HTTP and gRPC.

mod flat;
mod grpc;
mod http;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use outrigger_api::runtime as api;
use outrigger_test_kit::{Daprd, Directory, HttpReply, HttpRequest, Result};
use serde_json::Value;

use crate::suite::world::resolving_to;

/// A sidecar with a provider `vault` over a folder with keys.
struct World {
    daprd: Daprd,
    keys: Directory,
}

const ENCRYPT: &str = "/dapr.proto.runtime.v1.Dapr/EncryptAlpha1";
const DECRYPT: &str = "/dapr.proto.runtime.v1.Dapr/DecryptAlpha1";

// === impl World ===

impl World {
    async fn start() -> Result<Self> {
        let keys = Directory::new()?;
        make_keys(keys.path())?;
        let yaml = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: vault}}\nspec:\n  type: \
             crypto.dapr.localstorage\n  version: v1\n  metadata: [{{name: path, value: {}}}]\n",
            Value::from(keys.path().to_str().context("the path is text")?)
        );
        let daprd = Daprd::builder("app")?
            .resource("vault.yaml", &yaml)?
            .configuration(&resolving_to(1))?
            .start()
            .await?;
        Ok(Self { daprd, keys })
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<HttpReply> {
        let path = format!("/v1.0-alpha1/crypto/{path}");
        let mut request = HttpRequest::new("PUT", path).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.daprd.send(&request).await
    }

    async fn encrypt(&self, key: &str, algorithm: &str, text: &[u8]) -> Result<HttpReply> {
        let headers = [("dapr-key-name", key), ("dapr-key-wrap-algorithm", algorithm)];
        self.put("vault/encrypt", &headers, text).await
    }
}

/// Keys of all kinds, made by OpenSSL.
fn make_keys(folder: &Path) -> Result<()> {
    openssl(folder, &["genrsa", "-traditional", "-out", "pkcs1.pem", "2048"])?;
    openssl(
        folder,
        &[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            "pkcs1.pem",
            "-out",
            "pkcs8.pem",
        ],
    )?;
    openssl(
        folder,
        &["pkey", "-in", "pkcs8.pem", "-pubout", "-out", "public.pem"],
    )?;
    openssl(
        folder,
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "curve.pem",
        ],
    )?;
    openssl(folder, &["rand", "-base64", "-out", "aes", "32"])?;
    let raw = [0xff; 32];
    std::fs::write(folder.join("raw"), raw)?;
    Ok(())
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output();
    let output = output.context("openssl does not run")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// The second line of a document.
fn manifest(document: &[u8]) -> Result<Value> {
    let line = document.split(|byte| *byte == b'\n').nth(1);
    Ok(serde_json::from_slice(line.context("no manifest")?)?)
}

fn encrypt_options(key: &str, algorithm: &str) -> api::EncryptRequestOptions {
    api::EncryptRequestOptions {
        component_name: "vault".to_owned(),
        key_name: key.to_owned(),
        key_wrap_algorithm: algorithm.to_owned(),
        ..api::EncryptRequestOptions::default()
    }
}
