//! What a policy knows of a request.

use std::borrow::Cow;

use http::HeaderName;
use outrigger_kit::percent::{decode_form_text, decode_path_text};
use outrigger_svc::Request;
use serde_json::{Map, Value, json};

/// The document `input`.
pub(crate) fn input(request: &Request, headers: &[(HeaderName, String)], body: &[u8]) -> Value {
    let uri = request.uri();
    let path = decode_path_text(uri.path()).unwrap_or(Cow::Borrowed(uri.path()));
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let raw_query = uri.query().unwrap_or_default();
    json!({
        "request": {
            "method": request.method().as_str(),
            "path": path,
            "path_parts": parts,
            "raw_query": raw_query,
            "query": query(raw_query),
            "headers": included(request, headers),
            "scheme": uri.scheme_str().unwrap_or_default(),
            "body": String::from_utf8_lossy(body),
        }
    })
}

/// The values of each parameter, by name.
fn query(raw: &str) -> Map<String, Value> {
    let mut query = Map::new();
    for pair in raw
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Ok(name), Ok(value)) = (decode_form_text(name), decode_form_text(value))
            && let Value::Array(values) = query.entry(name).or_insert(json!([]))
        {
            values.push(value.into());
        }
    }
    query
}

/// The headers that the policy is to see, each with all its values in one text.
fn included(request: &Request, headers: &[(HeaderName, String)]) -> Map<String, Value> {
    let values = |name: &HeaderName| {
        let all = request.headers().get_all(name).iter();
        let texts: Vec<_> = all
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!texts.is_empty()).then(|| Value::String(texts.join(", ")))
    };
    headers
        .iter()
        .filter_map(|(name, canonical)| Some((canonical.clone(), values(name)?)))
        .collect()
}
