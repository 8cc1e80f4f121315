//! Discovery for those who check tokens: who issues them, and with which keys (OpenID Connect Discovery 1.0).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use outrigger_config::sentry::Oidc;
use serde::Serialize;

use crate::http_server::{self, Answer};

const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
const JWKS_PATH: &str = "/jwks.json";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The two documents.
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    settings: Oidc,
    /// `iss` of the tokens; if there is none, the issuer is where the request went.
    issuer: Option<String>,
}

/// What changes with the signing key.
#[derive(Clone, Debug)]
pub(crate) struct PublishedKeys {
    /// The key set as one line of JSON.
    pub(crate) jwks: Bytes,
    /// The name of the algorithm of the tokens.
    pub(crate) algorithm: &'static str,
}

/// The discovery document; the order of the members is part of the contract.
#[derive(Serialize)]
struct Document<'a> {
    issuer: &'a str,
    jwks_uri: &'a str,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    scopes_supported: [&'static str; 1],
    claims_supported: [&'static str; 7],
}

// === impl Discovery ===

impl Discovery {
    /// Describes the tokens of `issuer`.
    pub(crate) fn new(settings: Oidc, issuer: Option<String>) -> Self {
        Self {
            settings,
            issuer: issuer.filter(|issuer| !issuer.is_empty()),
        }
    }

    /// Answers one request.
    pub(crate) fn answer<B>(&self, request: &Request<B>, keys: &PublishedKeys) -> Response<Answer> {
        if !self.is_allowed(request.headers()) {
            return http_server::plain(StatusCode::FORBIDDEN, "Forbidden: unauthorized domain");
        }
        let path = request
            .uri()
            .path()
            .strip_prefix(self.settings.path_prefix.as_str());
        let Some(path @ (DISCOVERY_PATH | JWKS_PATH)) = path else {
            return http_server::not_found();
        };
        if request.method() != Method::GET {
            return http_server::plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        }
        let body = match path {
            JWKS_PATH => keys.jwks.clone(),
            _ => self.document(request.headers(), keys.algorithm).into(),
        };
        let mut response = Response::new(Answer::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        response
    }

    fn document(&self, headers: &HeaderMap, algorithm: &'static str) -> String {
        let issuer = match &self.issuer {
            Some(issuer) => issuer.clone(),
            None => {
                let scheme = if self.settings.tls.is_some() {
                    "https"
                } else {
                    "http"
                };
                format!("{scheme}://{}", self.public_host(headers))
            }
        };
        let jwks_uri = match self.settings.jwks_uri.as_ref().filter(|uri| !uri.is_empty()) {
            Some(uri) => uri.clone(),
            None => format!("{}{}{JWKS_PATH}", origin(&issuer), self.settings.path_prefix),
        };
        let document = Document {
            issuer: &issuer,
            jwks_uri: &jwks_uri,
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [algorithm],
            scopes_supported: ["openid"],
            claims_supported: ["sub", "iss", "aud", "exp", "iat", "nbf", "use"],
        };
        let text = serde_json::to_string(&document).expect("the document is made of texts");
        format!("{}\n", outrigger_kit::json::escape_html(&text))
    }

    /// The host in a client's eyes; a proxy is believed only if hosts are restricted.
    fn public_host<'a>(&self, headers: &'a HeaderMap) -> &'a str {
        let allowed = &self.settings.allowed_hosts;
        let believe_proxy = !allowed.is_empty() && !allowed.iter().any(|host| host == "*");
        let forwarded = text(headers, FORWARDED_HOST).filter(|_| believe_proxy);
        forwarded
            .or_else(|| text(headers, HOST.as_str()))
            .unwrap_or_default()
    }

    fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let allowed = &self.settings.allowed_hosts;
        let host = text(headers, FORWARDED_HOST)
            .or_else(|| text(headers, HOST.as_str()))
            .unwrap_or_default();
        let bare = without_port(host);
        allowed.is_empty()
            || allowed
                .iter()
                .any(|entry| entry == "*" || entry == host || entry == bare)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare
            .strip_prefix('[')
            .and_then(|bare| bare.strip_suffix(']'))
            .unwrap_or(bare),
        _ => host,
    }
}

/// Scheme and authority of a URL, without what follows them.
fn origin(url: &str) -> &str {
    let Some(start) = url.find("://").map(|scheme| scheme + 3) else {
        return "";
    };
    let authority = url.get(start..).unwrap_or_default();
    let length = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    url.get(..start + length).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use outrigger_config::sentry::Listener;

    use super::*;

    fn plain() -> Oidc {
        Oidc {
            listener: Listener {
                address: String::new(),
                port: 0,
            },
            tls: None,
            jwks_uri: None,
            path_prefix: String::new(),
            allowed_hosts: Vec::new(),
        }
    }

    fn allowing(hosts: &[&str]) -> Discovery {
        let allowed_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Discovery::new(
            Oidc {
                allowed_hosts,
                ..plain()
            },
            None,
        )
    }

    async fn ask(discovery: &Discovery, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let keys = PublishedKeys {
            jwks: Bytes::from_static(b"{\"keys\":[]}"),
            algorithm: "RS256",
        };
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = discovery.answer(&request.body(()).unwrap(), &keys);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn members(discovery: &Discovery, path: &str, headers: &[(&str, &str)]) -> (String, String) {
        let (status, body) = ask(discovery, "GET", path, headers).await;
        assert_eq!(status, 200, "{body}");
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        let member = |name: &str| document[name].as_str().unwrap().to_owned();
        (member("issuer"), member("jwks_uri"))
    }

    #[tokio::test]
    async fn the_discovery_document_is_exact() {
        let host = [("host", "localhost:51204")];
        let (status, body) = ask(&allowing(&[]), "GET", DISCOVERY_PATH, &host).await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            "{\"issuer\":\"http://localhost:51204\",\"jwks_uri\":\"http://localhost:51204/jwks.json\",\
             \"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],\
             \"id_token_signing_alg_values_supported\":[\"RS256\"],\"scopes_supported\":[\"openid\"],\
             \"claims_supported\":[\"sub\",\"iss\",\"aud\",\"exp\",\"iat\",\"nbf\",\"use\"]}\n"
        );
    }

    #[tokio::test]
    async fn only_get_on_the_two_paths_is_served() {
        for (method, path, status, body) in [
            ("GET", "/jwks.json", 200, "{\"keys\":[]}"),
            ("POST", "/jwks.json", 405, "Method not allowed\n"),
            ("HEAD", "/jwks.json", 405, "Method not allowed\n"),
            ("DELETE", DISCOVERY_PATH, 405, "Method not allowed\n"),
            ("GET", "/authorize", 404, "404 page not found\n"),
            ("POST", "/", 404, "404 page not found\n"),
        ] {
            let answer = ask(&allowing(&[]), method, path, &[]).await;
            assert_eq!(answer, (status, body.to_owned()), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn a_prefix_moves_both_paths() {
        let custom = Discovery::new(
            Oidc {
                path_prefix: "/custom".to_owned(),
                ..plain()
            },
            None,
        );
        for (path, status) in [
            ("/custom/jwks.json", 200),
            ("/custom/.well-known/openid-configuration", 200),
            ("/jwks.json", 404),
            (DISCOVERY_PATH, 404),
        ] {
            assert_eq!(ask(&custom, "GET", path, &[]).await.0, status, "{path}");
        }
    }

    #[tokio::test]
    async fn the_keys_are_at_the_origin_of_the_issuer() {
        let issuer = Some("https://h:1/custom".to_owned());
        let prefixed = Oidc {
            path_prefix: "/custom".to_owned(),
            ..plain()
        };
        let expected = (
            "https://h:1/custom".to_owned(),
            "https://h:1/custom/jwks.json".to_owned(),
        );
        let path = format!("/custom{DISCOVERY_PATH}");
        assert_eq!(
            members(&Discovery::new(prefixed.clone(), issuer.clone()), &path, &[]).await,
            expected
        );

        let elsewhere = Oidc {
            jwks_uri: Some("https://keys/".to_owned()),
            ..prefixed
        };
        assert_eq!(
            members(&Discovery::new(elsewhere, issuer), &path, &[]).await.1,
            "https://keys/"
        );
    }

    #[tokio::test]
    async fn a_proxy_is_believed_only_where_hosts_are_restricted() {
        let headers = [("host", "inner:1"), ("x-forwarded-host", "outer")];
        for (allowed, issuer) in [
            (&[][..], "http://inner:1"),
            (&["*"], "http://inner:1"),
            (&["outer"], "http://outer"),
        ] {
            assert_eq!(
                members(&allowing(allowed), DISCOVERY_PATH, &headers).await.0,
                issuer
            );
        }
    }

    #[tokio::test]
    async fn other_hosts_are_refused() {
        for (headers, status) in [
            (vec![("host", "good")], 200),
            (vec![("host", "good:8080")], 200),
            (vec![("host", "bad")], 403),
            (vec![("host", "good"), ("x-forwarded-host", "bad")], 403),
            (vec![("host", "bad"), ("x-forwarded-host", "good:1")], 200),
            (vec![], 403),
        ] {
            let (found, body) = ask(&allowing(&["good"]), "GET", "/jwks.json", &headers).await;
            assert_eq!(found, status, "{headers:?}");
            assert!(status == 200 || body == "Forbidden: unauthorized domain\n");
        }
    }
}
