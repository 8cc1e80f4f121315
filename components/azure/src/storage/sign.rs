//! Signatures by the account's key.
//!
//! Source: "Authorize with Shared Key" of the storage services.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use outrigger_kit::percent::decode_form_text;
use outrigger_svc::BoxError;

use crate::service::Ask;

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// As blobs have it.
    Blob,
    /// As tables have it.
    Table,
}

/// Headers that stand in the text of a blob's signature by themselves, in their order, between the length and the
/// service's own headers.
const LATER: [&str; 8] = [
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// The header `Authorization` of a request.
pub(super) fn signature(
    scheme: Scheme,
    key: &hmac::Key,
    account: &str,
    ask: &Ask,
) -> Result<String, BoxError> {
    let text = text(scheme, account, ask)?;
    let signature = STANDARD.encode(hmac::sign(key, text.as_bytes()));
    Ok(format!("SharedKey {account}:{signature}"))
}

fn text(scheme: Scheme, account: &str, ask: &Ask) -> Result<String, BoxError> {
    let uri: http::Uri = ask.url.parse()?;
    let header = |name: &str| text_of(&ask.headers, name);
    let resource = format!("/{account}{}", uri.path());
    let query = uri.query().unwrap_or_default();
    let mut text = format!("{}\n", ask.method);
    match scheme {
        Scheme::Table => {
            for name in ["content-md5", "content-type", "x-ms-date"] {
                text.push_str(header(name));
                text.push('\n');
            }
            text.push_str(&resource);
            if let Some(component) = query.split('&').find(|pair| pair.starts_with("comp=")) {
                text.push('?');
                text.push_str(component);
            }
        }
        Scheme::Blob => {
            for name in ["content-encoding", "content-language"] {
                text.push_str(header(name));
                text.push('\n');
            }
            if !ask.body.is_empty() {
                text.push_str(&ask.body.len().to_string());
            }
            text.push('\n');
            for name in LATER {
                text.push_str(header(name));
                text.push('\n');
            }
            let mut own: Vec<_> = ask
                .headers
                .keys()
                .map(http::HeaderName::as_str)
                .filter(|name| name.starts_with("x-ms-"))
                .collect();
            own.sort_unstable();
            for name in own {
                text.push_str(&format!("{name}:{}\n", header(name).trim()));
            }
            text.push_str(&resource);
            let mut parameters = Vec::new();
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                parameters.push((name.to_ascii_lowercase(), decode_form_text(value)?));
            }
            parameters.sort();
            for (name, value) in parameters {
                text.push_str(&format!("\n{name}:{value}"));
            }
        }
    }
    Ok(text)
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};

    use super::*;

    fn ask(url: &str, headers: &[(&'static str, &'static str)]) -> Ask {
        let mut ask = Ask::new(Method::GET, url);
        for (name, value) in headers {
            ask.headers.insert(*name, HeaderValue::from_static(value));
        }
        ask
    }

    #[test]
    fn the_text_of_a_blobs_signature_is_that_of_the_documentation() {
        let headers = [
            ("x-ms-version", "2015-02-21"),
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"),
        ];
        let url = "https://a.blob.core.windows.net/mycontainer?restype=container&timeout=20&comp=metadata";
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
                        /a/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20";
        assert_eq!(text(Scheme::Blob, "a", &ask(url, &headers)).unwrap(), expected);
    }

    #[test]
    fn the_text_of_a_tables_signature_is_short() {
        let headers = [("x-ms-date", "today"), ("content-type", "application/json")];
        let url = "https://a.table.core.windows.net/mytable(PartitionKey='a',RowKey='b')?$select=x";
        let expected = "GET\n\napplication/json\ntoday\n/a/mytable(PartitionKey='a',RowKey='b')";
        assert_eq!(text(Scheme::Table, "a", &ask(url, &headers)).unwrap(), expected);
    }
}
