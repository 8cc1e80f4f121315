//! Where a module comes from.

use http::StatusCode;
use outrigger_component::HttpClient;
use outrigger_svc::{Body, BoxError};
use tokio::time::Instant;

/// Most bytes of a module.
const MAX_MODULE: usize = 64 << 20;

/// Reads a module from `file://`, `http://` or `https://`.
pub(crate) async fn load(url: &str, http: &HttpClient, deadline: Instant) -> Result<Vec<u8>, BoxError> {
    if url.is_empty() {
        return Err("missing url".into());
    }
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(format!("invalid URL: {url}").into());
    };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            std::fs::read(path).map_err(|error| format!("open {path}: {error}").into())
        }
        "http" | "https" => {
            let request = http::Request::get(url).body(Body::empty())?;
            let response = http.fetch(request, MAX_MODULE, deadline).await?;
            if response.status() != StatusCode::OK {
                return Err(format!("received {} status code from {url}", response.status().as_u16()).into());
            }
            Ok(response.into_body().to_vec())
        }
        "oci" => Err("TODO oci".into()),
        other => Err(format!("unsupported URL scheme: {other}").into()),
    }
}
