//! Access tokens of an OAuth 2.0 server (RFC 6749).

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use outrigger_component::HttpClient;
use outrigger_kit::percent::{decode_form_text, encode_form};
use outrigger_svc::{Body, BoxError};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// A client of one token server.
#[derive(Debug)]
pub(crate) struct TokenClient {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) token_url: String,
    pub(crate) http: HttpClient,
    /// The style that is used, or [`Style::Unknown`] until one was found to work.
    style: AtomicU8,
}

/// How a client proves itself to the token server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Both ways are tried, the header first; what works is kept.
    Unknown = 0,
    /// Among the parameters.
    Parameters = 1,
    /// By HTTP Basic authentication.
    Header = 2,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// `<type> <token>`: what a header carries.
    pub(crate) value: String,
    /// How long it is good for; none if the server does not say.
    pub(crate) lifetime: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: Value,
}

/// Longest time for a token.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

// === impl TokenClient ===

impl TokenClient {
    pub(crate) fn new(
        client_id: &str,
        client_secret: &str,
        token_url: &str,
        style: Style,
        http: HttpClient,
    ) -> Self {
        Self {
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            token_url: token_url.to_owned(),
            http,
            style: AtomicU8::new(style as u8),
        }
    }

    /// Asks for a token by a grant with these parameters.
    ///
    /// # Errors
    /// If the server gives none.
    pub(crate) async fn token(&self, parameters: &[(&str, &str)]) -> Result<Token, BoxError> {
        let known = self.style.load(Ordering::Relaxed);
        let styles: &[Style] = match known {
            1 => &[Style::Parameters],
            2 => &[Style::Header],
            _ => &[Style::Header, Style::Parameters],
        };
        let mut refusal = BoxError::from("no way to ask for a token");
        for &style in styles {
            match self.ask(parameters, style).await {
                Ok(token) => {
                    self.style.store(style as u8, Ordering::Relaxed);
                    return Ok(token);
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    async fn ask(&self, parameters: &[(&str, &str)], style: Style) -> Result<Token, BoxError> {
        let mut pairs: Vec<_> = parameters.to_vec();
        let mut request =
            http::Request::post(&self.token_url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if style == Style::Header {
            let credentials = format!(
                "{}:{}",
                encode_form(&self.client_id),
                encode_form(&self.client_secret)
            );
            let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        } else {
            pairs.push(("client_id", &self.client_id));
            if !self.client_secret.is_empty() {
                pairs.push(("client_secret", &self.client_secret));
            }
        }
        let form: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode_form(name), encode_form(value)))
            .collect();
        let request = request.body(Body::from(form.join("&")))?;
        let response = self
            .http
            .fetch(request, MAX_ANSWER, Instant::now() + TIMEOUT)
            .await?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(format!(
                "oauth2: cannot fetch token: {}\nResponse: {}",
                head.status,
                String::from_utf8_lossy(&body)
            )
            .into());
        }
        let granted = Granted::read(&head.headers, &body)?;
        if granted.access_token.is_empty() {
            return Err("oauth2: server response missing access_token".into());
        }
        Ok(granted.into())
    }
}

// === impl Granted ===

impl Granted {
    /// JSON, or a form where the server says so.
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, BoxError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default()
            .trim();
        if !matches!(kind, "application/x-www-form-urlencoded" | "text/plain") {
            let read = serde_json::from_slice(body);
            return read.map_err(|error| format!("oauth2: cannot parse json: {error}").into());
        }
        let mut granted = Self::default();
        for pair in std::str::from_utf8(body)?.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode_form_text(value)?.into_owned();
            match name {
                "access_token" => granted.access_token = value,
                "token_type" => granted.token_type = value,
                "expires_in" => granted.expires_in = Value::String(value),
                _ => {}
            }
        }
        Ok(granted)
    }
}

impl From<Granted> for Token {
    fn from(granted: Granted) -> Self {
        let seconds = match &granted.expires_in {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let lifetime = seconds
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let kind = match granted.token_type.to_ascii_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            "mac" => "MAC",
            "basic" => "Basic",
            _ => &granted.token_type,
        };
        Self {
            value: format!("{kind} {}", granted.access_token),
            lifetime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, init};

    const URL: &str = "http://auth.test/token";

    fn client(style: Style, server: &std::sync::Arc<Server>) -> TokenClient {
        TokenClient::new("id 1", "s&crét", URL, style, init(server, &[]).http)
    }

    #[tokio::test]
    async fn both_ways_are_tried_and_the_one_that_works_is_kept() {
        let server = Server::new();
        server.answer(URL, |asked| match asked.authorization {
            Some(_) => (401, "no".to_owned()),
            None => (200, r#"{"access_token":"t","expires_in":"60"}"#.to_owned()),
        });
        let client = client(Style::Unknown, &server);
        for _ in 0..2 {
            let token = client
                .token(&[("grant_type", "g"), ("scope", "a b")])
                .await
                .unwrap();
            assert_eq!(token.value, "Bearer t");
            assert_eq!(token.lifetime, Some(Duration::from_secs(60)));
        }
        let asked = server.asked();
        assert_eq!(asked.len(), 3);
        // RFC 6749 2.3.1: both are form-encoded first.
        let basic = STANDARD.encode("id+1:s%26cr%C3%A9t");
        assert_eq!(asked[0].authorization, Some(format!("Basic {basic}")));
        assert_eq!(asked[0].body, "grant_type=g&scope=a+b");
        let with_secret = "grant_type=g&scope=a+b&client_id=id+1&client_secret=s%26cr%C3%A9t";
        assert_eq!(
            (asked[1].body.as_str(), asked[2].body.as_str()),
            (with_secret, with_secret)
        );
    }

    #[tokio::test]
    async fn a_style_that_is_given_is_the_only_one() {
        let server = Server::new();
        server.document(URL, 403, "denied");
        for style in [Style::Header, Style::Parameters] {
            let error = client(style, &server).token(&[]).await.unwrap_err().to_string();
            assert_eq!(
                error,
                "oauth2: cannot fetch token: 403 Forbidden\nResponse: denied"
            );
        }
        let authorized: Vec<_> = server
            .asked()
            .iter()
            .map(|asked| asked.authorization.is_some())
            .collect();
        assert_eq!(authorized, [true, false]);
    }

    #[test]
    fn answers_are_json_or_forms() {
        let mut form = HeaderMap::new();
        form.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let table = [
            (
                &form,
                "access_token=a%20b&token_type=MAC&expires_in=5",
                Some(("MAC a b", Some(5))),
            ),
            (&form, "access_token=a", Some(("Bearer a", None))),
            (
                &HeaderMap::new(),
                r#"{"access_token":"a","token_type":"bearer","expires_in":5}"#,
                Some(("Bearer a", Some(5))),
            ),
            (
                &HeaderMap::new(),
                r#"{"access_token":"a","token_type":"Own","expires_in":-1}"#,
                Some(("Own a", None)),
            ),
            (&HeaderMap::new(), "access_token=a", None),
        ];
        for (headers, body, expected) in table {
            let token = Granted::read(headers, body.as_bytes()).ok().map(Token::from);
            let found = token
                .as_ref()
                .map(|token| (token.value.as_str(), token.lifetime.map(|span| span.as_secs())));
            assert_eq!(found, expected, "{body}");
        }
    }
}
