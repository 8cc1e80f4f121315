//! `middleware.http.oauth2`: browsers log in at an OAuth 2.0 server before their requests pass.
//!
//! ```text
//! request ─▶ session has a token? ──yes──▶ header is added, next handler
//!                  │ no
//!                  ├─ no `state` ──▶ 302 to the login, where the browser comes back from with `state` and `code`
//!                  └─ `state`    ──▶ the code is exchanged for a token ──▶ 302 to where it all began
//! ```
//!
//! Source: RFC 6749 4.1.

use std::sync::Arc;

use http::header::{HOST, LOCATION, SET_COOKIE};
use http::uri::Uri;
use http::{HeaderName, HeaderValue, StatusCode};
use outrigger_component::{HttpMiddleware, Init, Next, answer, answer_text};
use outrigger_kit::{id, token};
use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use regex_lite::Regex;

use super::session::{Login, Sessions};
use super::target::{decoded_path, parameters, query};
use crate::oauth2::{Style, TokenClient};

/// Sends browsers to a login and adds the token that they come back with to their requests.
#[derive(Debug)]
pub struct AuthorizationCode {
    client: TokenClient,
    scopes: String,
    auth_url: String,
    redirect_url: String,
    header: Option<HeaderName>,
    forces_https: bool,
    filter: Option<Regex>,
    sessions: Sessions,
}

const SCOPE: &str = "dapr.contrib";

// === impl AuthorizationCode ===

impl AuthorizationCode {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let fields = init.properties.fields()?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let filter = match text("pathFilter") {
            "" => None,
            expression => Some(
                Regex::new(expression)
                    .map_err(|error| format!("parameter 'pathFilter' is not a valid regex: {error}"))?,
            ),
        };
        let client = TokenClient::new(
            text("clientID"),
            text("clientSecret"),
            text("tokenURL"),
            Style::Unknown,
            init.http.clone(),
        );
        Ok(Arc::new(Self {
            client,
            scopes: text("scopes").replace(',', " "),
            auth_url: text("authURL").to_owned(),
            redirect_url: text("redirectURL").to_owned(),
            header: HeaderName::try_from(text("authHeaderName")).ok(),
            forces_https: fields.boolean("forceHTTPS").unwrap_or_default(),
            filter,
            sessions: Sessions::default(),
        }))
    }

    fn concerns(&self, uri: &Uri) -> bool {
        let path = decoded_path(uri);
        self.filter.as_ref().is_none_or(|filter| filter.is_match(&path))
    }

    /// Sends a browser to the login.
    fn send_to_login(&self, request: &Request, session: Option<String>) -> Result<Response, BoxError> {
        let login = Login {
            state: id::uuid(),
            url: self.url_of(request),
        };
        let mut parameters = vec![
            ("access_type", "offline"),
            ("client_id", &self.client.client_id),
            ("response_type", "code"),
            ("scope", &self.scopes),
            ("state", &login.state),
        ];
        if !self.redirect_url.is_empty() {
            parameters.push(("redirect_uri", &self.redirect_url));
        }
        let pairs = parameters
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let mark = if self.auth_url.contains('?') { '&' } else { '?' };
        let mut response = redirect(&format!("{}{mark}{}", self.auth_url, query(pairs)))?;
        match session {
            Some(id) => self.sessions.change(&id, |session| session.login = Some(login)),
            None => {
                let cookie = self.sessions.begin(login)?;
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
        }
        Ok(response)
    }

    /// Lets a browser in that comes back from the login.
    async fn let_in(&self, uri: &Uri, given: &str, id: &str, login: &Login) -> Result<Response, BoxError> {
        if !token::equal(given.as_bytes(), login.state.as_bytes()) {
            return Ok(answer_text(StatusCode::BAD_REQUEST, "invalid state"));
        }
        let Some(code) = parameter(uri, "code") else {
            return Ok(answer_text(StatusCode::BAD_REQUEST, "code not found"));
        };
        let mut grant = vec![("grant_type", "authorization_code"), ("code", &code)];
        if !self.redirect_url.is_empty() {
            grant.push(("redirect_uri", &self.redirect_url));
        }
        let value = match self.client.token(&grant).await {
            Ok(token) => HeaderValue::try_from(token.value),
            Err(error) => {
                tracing::error!(target: SCOPE, "Failed to exchange token: {error}");
                return Ok(answer(500));
            }
        };
        let Ok(mut value) = value else {
            return Ok(answer(500));
        };
        value.set_sensitive(true);
        self.sessions
            .change(id, |session| session.authorization = Some(value));
        redirect(&login.url)
    }

    /// Where the browser wanted to go. Only this very host: nobody is to be led elsewhere by a path.
    fn url_of(&self, request: &Request) -> String {
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let target = format!("/{}", target.trim_start_matches('/'));
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
        match host {
            Some(host) if self.forces_https => format!("https://{host}{target}"),
            _ => target,
        }
    }
}

impl HttpMiddleware for AuthorizationCode {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        if !self.concerns(request.uri()) {
            return next.run(request);
        }
        Box::pin(async move {
            let (id, session) = self.sessions.find(request.headers()).unzip();
            let authorization = session.as_ref().and_then(|session| session.authorization.clone());
            if let (Some(header), Some(value)) = (&self.header, authorization) {
                request.headers_mut().append(header.clone(), value);
                return next.run(request).await;
            }
            let Some(state) = parameter(request.uri(), "state") else {
                return self.send_to_login(&request, id);
            };
            match id.zip(session.and_then(|session| session.login)) {
                Some((id, login)) => self.let_in(request.uri(), &state, &id, &login).await,
                None => Ok(answer(500)),
            }
        })
    }
}

/// A parameter of the query that is not empty.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut found = parameters(uri.query()?).filter(|(given, _)| given == name);
    found
        .next()
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

fn redirect(url: &str) -> Result<Response, BoxError> {
    let mut response = answer(302);
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::try_from(url)?);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use outrigger_component::Chain;
    use outrigger_svc::collect_limited;

    use super::*;
    use crate::testing::{Server, init};

    const URL: &str = "http://auth.test/token";
    const SETTINGS: [(&str, &str); 7] = [
        ("clientID", "id"),
        ("clientSecret", "secret"),
        ("scopes", "a,b"),
        ("authURL", "http://auth.test/login"),
        ("tokenURL", URL),
        ("redirectURL", "http://app.test/back"),
        ("authHeaderName", "x-token"),
    ];

    struct Browser {
        chain: Chain,
        cookie: Option<String>,
    }

    /// Status, `Location`, body. The app answers with its header `x-token`.
    type Answer = (u16, String, String);

    impl Browser {
        async fn new(server: &Arc<Server>, more: &[(&str, &str)]) -> Self {
            let handler = AuthorizationCode::make(init(server, &[&SETTINGS, more].concat())).await;
            Self {
                chain: Chain::new(vec![handler.unwrap()]),
                cookie: None,
            }
        }

        async fn get(&mut self, target: &str) -> Answer {
            let mut request = Request::default();
            *request.uri_mut() = target.parse().unwrap();
            request
                .headers_mut()
                .insert(HOST, HeaderValue::from_static("sidecar.test:3500"));
            if let Some(cookie) = &self.cookie {
                request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
            }
            let inside = async |request: Request| {
                let token = request.headers().get("x-token");
                let token = token.map_or("none", |value| value.to_str().unwrap()).to_owned();
                Ok(Response::new(token.into()))
            };
            let response = self.chain.run(request, inside).await.unwrap();
            let (head, body) = response.into_parts();
            if let Some(cookie) = head.headers.get(SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                self.cookie = Some(pair.to_owned());
            }
            let location = head.headers.get(LOCATION);
            let location = location.map(|value| value.to_str().unwrap().to_owned());
            let body = collect_limited(body, 100).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            (head.status.as_u16(), location.unwrap_or_default(), body)
        }
    }

    fn state(location: &str) -> String {
        location.rsplit_once("&state=").unwrap().1.to_owned()
    }

    #[tokio::test]
    async fn a_browser_logs_in_once() {
        let server = Server::new();
        server.document(URL, 200, r#"{"access_token":"t","token_type":"bearer"}"#);
        let mut browser = Browser::new(&server, &[]).await;
        let (status, location, _) = browser.get("/v1.0/invoke/a/method/m?x=1").await;
        assert_eq!(status, 302);
        let state = state(&location);
        assert_eq!(
            location,
            format!(
                "http://auth.test/login?access_type=offline&client_id=id&redirect_uri=http%3A%2F%2Fapp.test%2Fback&\
                 response_type=code&scope=a+b&state={state}"
            )
        );
        let back = format!("/back?code=c%201&state={state}");
        let (status, location, _) = browser.get(&back).await;
        assert_eq!((status, location.as_str()), (302, "/v1.0/invoke/a/method/m?x=1"));
        assert_eq!(
            server.asked()[0].body,
            "grant_type=authorization_code&code=c+1&redirect_uri=http%3A%2F%2Fapp.test%2Fback"
        );
        assert_eq!(browser.get("/anything").await.2, "Bearer t");
        // Another browser has no part in it.
        browser.cookie = None;
        assert_eq!(browser.get("/anything").await.0, 302);
    }

    #[tokio::test]
    async fn what_does_not_belong_to_a_login_is_refused() {
        let server = Server::new();
        let mut browser = Browser::new(&server, &[]).await;
        assert_eq!(browser.get("/back?code=c&state=s").await.0, 500);
        let (_, location, _) = browser.get("/a").await;
        let state = state(&location);
        let wrong = browser.get("/back?code=c&state=wrong").await;
        assert_eq!((wrong.0, wrong.2.as_str()), (400, "invalid state"));
        let without = browser.get(&format!("/back?state={state}")).await;
        assert_eq!((without.0, without.2.as_str()), (400, "code not found"));
        let failed = browser.get(&format!("/back?code=c&state={state}")).await;
        assert_eq!((failed.0, failed.2.as_str()), (500, "Internal Server Error"));
    }

    #[tokio::test]
    async fn the_way_back_leads_to_this_host_only() {
        let server = Server::new();
        server.document(URL, 200, r#"{"access_token":"t"}"#);
        for (more, target, expected) in [
            (&[][..], "http://sidecar.test//evil.test/x", "/evil.test/x"),
            (
                &[("forceHTTPS", "true")][..],
                "/a?b=c",
                "https://sidecar.test:3500/a?b=c",
            ),
        ] {
            let mut browser = Browser::new(&server, more).await;
            let (_, location, _) = browser.get(target).await;
            let back = format!("/back?code=c&state={}", state(&location));
            assert_eq!(browser.get(&back).await.1, expected);
        }
    }

    #[tokio::test]
    async fn paths_that_the_filter_leaves_out_pass() {
        let server = Server::new();
        let mut browser = Browser::new(&server, &[("pathFilter", "^/secure/")]).await;
        assert_eq!(
            browser.get("/open").await,
            (200, String::new(), "none".to_owned())
        );
        assert_eq!(browser.get("/secure/x").await.0, 302);
        let bad = AuthorizationCode::make(init(&server, &[("pathFilter", "(")])).await;
        assert!(bad.is_err());
    }
}
