//! `middleware.http.oauth2clientcredentials`: requests get a token that the sidecar asks for by itself.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use outrigger_component::{Fields, HttpClient, HttpMiddleware, Init, Next};
use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use regex_lite::Regex;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::target::{decoded_path, parameters};
use crate::oauth2::{Style, TokenClient};

/// Adds a header with an access token, fetched by the grant for clients (RFC 6749 4.4) and kept while it is good.
#[derive(Debug)]
pub struct ClientCredentials {
    client: TokenClient,
    parameters: Vec<(String, String)>,
    header: HeaderName,
    filter: Option<Regex>,
    /// The value of the header; fetched once, however many requests wait for it.
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    value: HeaderValue,
    until: Option<Instant>,
}

const SCOPE: &str = "dapr.contrib";

// === impl ClientCredentials ===

impl ClientCredentials {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let fields = init.properties.fields()?;
        Ok(Arc::new(Self::new(&fields, init.http.clone(), &init.log_name)?))
    }

    fn new(fields: &Fields<'_>, http: HttpClient, log_name: &str) -> Result<Self, BoxError> {
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let mut errors = String::new();
        for name in ["clientID", "clientSecret", "scopes", "tokenURL", "headerName"] {
            if text(name).is_empty() {
                errors.push_str(&format!("Parameter '{name}' needs to be set. "));
            }
        }
        let style = match text("authStyle") {
            "" | "0" => Style::Unknown,
            "1" => Style::Parameters,
            "2" => Style::Header,
            other => {
                errors.push_str(&format!(
                    "Parameter 'authStyle' can only have the values 0,1,2. Received: '{other}'. "
                ));
                Style::Unknown
            }
        };
        let filter = match text("pathFilter") {
            "" => None,
            expression => Regex::new(expression)
                .map_err(|error| {
                    errors.push_str(&format!("Parameter 'pathFilter' is not a valid regex: {error}. "));
                })
                .ok(),
        };
        let header = HeaderName::try_from(text("headerName"));
        if header.is_err() && !text("headerName").is_empty() {
            errors.push_str("Parameter 'headerName' is not a header name. ");
        }
        let Some(header) = header.ok().filter(|_| errors.is_empty()) else {
            return Err(format!("metadata errors: {errors}").into());
        };
        let mut grant = vec![
            ("grant_type".to_owned(), "client_credentials".to_owned()),
            ("scope".to_owned(), text("scopes").replace(',', " ")),
        ];
        grant.extend(extra(text("endpointParamsQuery"), log_name));
        Ok(Self {
            client: TokenClient::new(
                text("clientID"),
                text("clientSecret"),
                text("tokenURL"),
                style,
                http,
            ),
            parameters: grant,
            header,
            filter,
            kept: Mutex::default(),
        })
    }

    fn concerns(&self, request: &Request) -> bool {
        let path = decoded_path(request.uri());
        self.filter.as_ref().is_none_or(|filter| filter.is_match(&path))
    }

    /// The value of the header, as it is kept or anew.
    async fn value(&self) -> Result<HeaderValue, BoxError> {
        let mut kept = self.kept.lock().await;
        let is_good = |kept: &&Kept| kept.until.is_none_or(|until| Instant::now() < until);
        if let Some(kept) = kept.as_ref().filter(is_good) {
            return Ok(kept.value.clone());
        }
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let token = self.client.token(&parameters).await?;
        let mut value = HeaderValue::try_from(token.value)?;
        value.set_sensitive(true);
        *kept = Some(Kept {
            value: value.clone(),
            until: token.lifetime.map(|lifetime| Instant::now() + lifetime),
        });
        Ok(value)
    }
}

impl HttpMiddleware for ClientCredentials {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        if !self.concerns(&request) {
            return next.run(request);
        }
        Box::pin(async move {
            match self.value().await {
                Ok(value) => {
                    request.headers_mut().append(self.header.clone(), value);
                    next.run(request).await
                }
                // The answer is empty, and good: that is what callers know.
                Err(error) => {
                    tracing::error!(target: SCOPE, "Error acquiring token: {error}");
                    Ok(Response::default())
                }
            }
        })
    }
}

/// More parameters of the token request.
fn extra(query: &str, log_name: &str) -> Vec<(String, String)> {
    if outrigger_kit::percent::decode_form(query.as_bytes()).is_err() {
        tracing::warn!(
            target: SCOPE,
            component = log_name,
            "the setting endpointParamsQuery is no query string and is ignored"
        );
        return Vec::new();
    }
    let pairs = parameters(query).map(|(name, value)| (name.into_owned(), value.into_owned()));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use outrigger_component::Chain;

    use super::*;
    use crate::testing::{Server, init};

    const URL: &str = "http://auth.test/token";
    const SETTINGS: [(&str, &str); 5] = [
        ("clientID", "id"),
        ("clientSecret", "secret"),
        ("scopes", "a,b"),
        ("tokenURL", URL),
        ("headerName", "authorization"),
    ];

    async fn make(server: &Arc<Server>, more: &[(&str, &str)]) -> Result<Arc<dyn HttpMiddleware>, String> {
        let settings = [&SETTINGS, more].concat();
        let made = ClientCredentials::make(init(server, &settings)).await;
        made.map_err(|error| error.to_string())
    }

    /// The values of the header that the next handler sees; none if it is not called.
    async fn seen(handler: &Arc<dyn HttpMiddleware>, path: &str) -> Option<Vec<String>> {
        let mut request = Request::default();
        *request.uri_mut() = path.parse().unwrap();
        request
            .headers_mut()
            .insert("authorization", HeaderValue::from_static("own"));
        let seen = std::sync::Mutex::new(None);
        let inside = async |request: Request| {
            let values = request.headers().get_all("authorization").iter();
            let values = values.map(|value| value.to_str().unwrap().to_owned());
            *seen.lock().unwrap() = Some(values.collect());
            Ok(Response::default())
        };
        let chain = Chain::new(vec![Arc::clone(handler)]);
        let response = chain.run(request, inside).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        seen.into_inner().unwrap()
    }

    fn counted(lifetime: u64) -> Arc<Server> {
        let (server, count) = (Server::new(), AtomicUsize::new(0));
        server.answer(URL, move |_| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let expires = if lifetime == 0 {
                String::new()
            } else {
                format!(",\"expires_in\":{lifetime}")
            };
            (
                200,
                format!("{{\"access_token\":\"t{number}\",\"token_type\":\"bearer\"{expires}}}"),
            )
        });
        server
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fetched_once_and_again_when_it_has_expired() {
        let server = counted(60);
        let handler = make(&server, &[("endpointParamsQuery", "audience=x%20y&z=1")])
            .await
            .unwrap();
        let own = |token: &str| Some(vec!["own".to_owned(), format!("Bearer {token}")]);
        let (first, second) = tokio::join!(seen(&handler, "/a"), seen(&handler, "/b"));
        assert_eq!((first, second), (own("t0"), own("t0")));
        assert_eq!(
            server.asked()[0].body,
            "grant_type=client_credentials&scope=a+b&audience=x+y&z=1"
        );
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(seen(&handler, "/a").await, own("t1"));
        assert_eq!(server.count(URL), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_without_an_end_is_kept() {
        let server = counted(0);
        let handler = make(&server, &[]).await.unwrap();
        seen(&handler, "/a").await;
        tokio::time::advance(Duration::from_secs(1_000_000)).await;
        seen(&handler, "/a").await;
        assert_eq!(server.count(URL), 1);
    }

    #[tokio::test]
    async fn without_a_token_the_answer_is_empty_and_nothing_is_called() {
        let server = Server::new();
        let handler = make(&server, &[]).await.unwrap();
        assert_eq!(seen(&handler, "/a").await, None);
        // It is tried again.
        server.document(URL, 200, r#"{"access_token":"t"}"#);
        assert!(seen(&handler, "/a").await.is_some());
    }

    #[tokio::test]
    async fn paths_that_the_filter_leaves_out_are_left_alone() {
        let server = counted(60);
        let handler = make(&server, &[("pathFilter", "^/secure")]).await.unwrap();
        assert_eq!(seen(&handler, "/open").await, Some(vec!["own".to_owned()]));
        assert_eq!(server.count(URL), 0);
        assert_eq!(seen(&handler, "/sec%75re/x").await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_is_missing_or_wrong_is_told_at_once() {
        let server = Server::new();
        let made = ClientCredentials::make(init(&server, &[("clientID", "id"), ("authStyle", "7")])).await;
        assert_eq!(
            made.unwrap_err().to_string(),
            "metadata errors: Parameter 'clientSecret' needs to be set. Parameter 'scopes' needs to be set. Parameter \
             'tokenURL' needs to be set. Parameter 'headerName' needs to be set. Parameter 'authStyle' can only have \
             the values 0,1,2. Received: '7'. "
        );
        let error = make(&server, &[("pathFilter", "(")]).await.unwrap_err();
        assert!(
            error.starts_with("metadata errors: Parameter 'pathFilter' is not a valid regex: "),
            "{error}"
        );
        let error = make(&server, &[("headerName", "no header")]).await.unwrap_err();
        assert_eq!(
            error,
            "metadata errors: Parameter 'headerName' is not a header name. "
        );
        assert!(make(&server, &[("endpointParamsQuery", "%zz")]).await.is_ok());
    }
}
