//! `middleware.http.bearer`: requests must carry a token of an OpenID Connect issuer.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use outrigger_component::{Condition, HttpClient, HttpMiddleware, Init, Next, answer};
use outrigger_identity::jose::{JwkSet, check_times, is_for};
use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::key_document::{fetch, pause};

/// Lets requests pass whose `Authorization` header has a token that the issuer has signed for the audience.
#[derive(Debug)]
pub struct Bearer {
    issuer: String,
    audience: String,
    keys: Arc<Keys>,
}

/// The issuer's keys, kept up to date in the background.
#[derive(Debug)]
struct Keys {
    url: String,
    http: HttpClient,
    condition: Condition,
    current: ArcSwap<JwkSet>,
}

/// What is needed of the issuer's description of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Longest time for one document.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest time between two looks at the keys.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// How far the clocks of the issuer and of the sidecar may differ, in seconds.
const SKEW: f64 = 5.0 * 60.0;
/// No token is shorter than this.
const MIN_TOKEN: usize = 10;

// === impl Bearer ===

impl Bearer {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let fields = init.properties.fields()?;
        let required = |names: &[&str]| {
            let found = fields.text_of(names).filter(|text| !text.is_empty());
            found.ok_or_else(|| format!("metadata property '{}' is required", names[0]))
        };
        let issuer = required(&["issuer", "issuerURL"])?;
        let audience = required(&["audience", "clientID"])?;
        let url = match fields.text("jwksURL").filter(|url| !url.is_empty()) {
            Some(url) => url.to_owned(),
            None => discover(issuer, &init.http, init.deadline)
                .await
                .map_err(|error| format!("failed to retrieve OpenID Configuration document: {error}"))?,
        };
        let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
        let (keys, pause) = Keys::fetch_first(url, &init)
            .await
            .map_err(|error| format!("failed to fetch JWKS: {error}"))?;
        let keys = Arc::new(keys);
        tokio::spawn(keep_fresh(Arc::downgrade(&keys), pause));
        Ok(Arc::new(Self {
            issuer,
            audience,
            keys,
        }))
    }

    /// Checks the token of a request at a time in seconds since 1970.
    fn check(&self, headers: &HeaderMap, now: f64) -> Result<(), String> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| token(value.as_bytes()));
        let claims = self.keys.current.load().verify(token.ok_or("no token")?)?;
        check_claims(&claims, &self.issuer, &self.audience, now)
    }
}

impl HttpMiddleware for Bearer {
    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        match self.check(request.headers(), now()) {
            Ok(()) => next.run(request),
            Err(reason) => {
                tracing::debug!(target: "dapr.contrib", "a request without a valid token was refused: {reason}");
                Box::pin(std::future::ready(Ok(answer(401))))
            }
        }
    }
}

/// What stands behind `bearer`, in any case, if it is long enough to be a token.
fn token(header: &[u8]) -> Option<&str> {
    let header = std::str::from_utf8(header).ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.len() >= MIN_TOKEN).then_some(token)
}

fn check_claims(claims: &Map<String, Value>, issuer: &str, audience: &str, now: f64) -> Result<(), String> {
    check_times(claims, now, SKEW)?;
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err("\"iss\" not satisfied".to_owned());
    }
    if !is_for(claims, audience)? {
        return Err("\"aud\" not satisfied".to_owned());
    }
    Ok(())
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Asks the issuer where its keys are.
async fn discover(issuer: &str, http: &HttpClient, deadline: Instant) -> Result<String, BoxError> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let url = format!("{base}/.well-known/openid-configuration");
    let (document, _) = fetch(http, &url, deadline.min(Instant::now() + FETCH_TIMEOUT)).await?;
    let document: Discovery = serde_json::from_slice(&document)?;
    if document.issuer != issuer {
        return Err(format!(
            "the issuer found in the OpenID Configuration document ('{}') does not match the configured one ('{issuer}')",
            document.issuer
        )
        .into());
    }
    if document.jwks_uri.is_empty() {
        return Err("the OpenID Configuration document does not contain a 'jwks_uri'".into());
    }
    Ok(document.jwks_uri)
}

// === impl Keys ===

impl Keys {
    /// Fetches the keys for the first time; the result is also the pause until the next time.
    async fn fetch_first(url: String, init: &Init) -> Result<(Self, Duration), BoxError> {
        let deadline = init.deadline.min(Instant::now() + FETCH_TIMEOUT);
        let (document, headers) = fetch(&init.http, &url, deadline).await?;
        let keys = Self {
            url,
            http: init.http.clone(),
            condition: init.condition.clone(),
            current: ArcSwap::from_pointee(JwkSet::parse(&document)?),
        };
        Ok((keys, pause(&headers, REFRESH)))
    }

    async fn refresh(&self) -> Result<Duration, BoxError> {
        let deadline = Instant::now() + FETCH_TIMEOUT;
        let (document, headers) = fetch(&self.http, &self.url, deadline).await?;
        self.current.store(Arc::new(JwkSet::parse(&document)?));
        Ok(pause(&headers, REFRESH))
    }
}

/// Refreshes the keys as long as somebody needs them; those in force stay until there are others.
async fn keep_fresh(keys: Weak<Keys>, mut pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(keys) = keys.upgrade() else { return };
        match keys.refresh().await {
            Ok(next) => {
                keys.condition.well();
                pause = next;
            }
            Err(error) => {
                keys.condition
                    .degraded(&format!("failed to refresh JWKS, keeping the last: {error}"));
                pause = REFRESH;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use outrigger_component::Chain;
    use outrigger_identity::jose::{Algorithm, Encoder, Jwk};
    use outrigger_identity::key::{KeyType, PrivateKey};
    use serde_json::json;

    use super::*;
    use crate::testing::{Server, init};

    const ISSUER: &str = "http://issuer.test/";
    const DISCOVERY: &str = "http://issuer.test/.well-known/openid-configuration";
    const KEYS: &str = "http://issuer.test/keys";

    struct Issuer {
        key: PrivateKey,
        id: &'static str,
    }

    impl Issuer {
        fn new(id: &'static str) -> Self {
            Self {
                key: PrivateKey::generate(KeyType::Ed25519).unwrap(),
                id,
            }
        }

        fn document(&self) -> String {
            let key = Jwk::of(&self.key, Algorithm::EdDsa).unwrap().with_key_id(self.id);
            JwkSet::single(key).to_json()
        }

        fn token(&self, claims: &Value) -> String {
            let encoder = Encoder::new(&self.key, Algorithm::EdDsa, self.id).unwrap();
            encoder.encode(&claims.to_string()).unwrap()
        }
    }

    fn claims() -> Value {
        json!({ "iss": ISSUER, "aud": ["other", "api"], "sub": "me", "iat": now(), "exp": now() + 60.0 })
    }

    fn described(jwks_uri: &str) -> String {
        json!({ "issuer": ISSUER, "jwks_uri": jwks_uri }).to_string()
    }

    const SETTINGS: [(&str, &str); 2] = [("ISSUER", ISSUER), ("audience", "api")];

    async fn error(server: &Arc<Server>, settings: &[(&str, &str)]) -> String {
        Bearer::make(init(server, settings))
            .await
            .unwrap_err()
            .to_string()
    }

    async fn status(bearer: &Arc<dyn HttpMiddleware>, authorization: &str) -> (u16, bool) {
        let mut request = Request::default();
        if !authorization.is_empty() {
            request
                .headers_mut()
                .insert(AUTHORIZATION, authorization.parse().unwrap());
        }
        let passed = Mutex::new(false);
        let inside = async |request: Request| {
            *passed.lock().unwrap() = request.headers().contains_key(AUTHORIZATION);
            Ok(Response::default())
        };
        let chain = Chain::new(vec![Arc::clone(bearer)]);
        let response = chain.run(request, inside).await.unwrap();
        (response.status().as_u16(), *passed.lock().unwrap())
    }

    #[tokio::test]
    async fn tokens_of_the_issuer_for_the_audience_pass_and_no_others() {
        let issuer = Issuer::new("k1");
        let server = Server::new();
        server.document(DISCOVERY, 200, &described(KEYS));
        server.document(KEYS, 200, &issuer.document());
        let bearer = Bearer::make(init(&server, &SETTINGS)).await.unwrap();
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            issuer.token(&claims)
        };
        let good = issuer.token(&claims());
        let (head, signature) = good.rsplit_once('.').unwrap();
        let table = [
            (format!("Bearer {good}"), true),
            (format!("bEARER  {good}"), true),
            (format!("Bearer {}", with("aud", json!("api"))), true),
            (format!("Bearer {}", with("exp", json!(now() - 200.0))), true),
            (format!("Bearer {}", with("exp", json!(now() - 400.0))), false),
            (format!("Bearer {}", with("nbf", json!(now() + 400.0))), false),
            (format!("Bearer {}", with("iat", json!(now() + 400.0))), false),
            (format!("Bearer {}", with("iat", json!(now() + 200.0))), true),
            (
                format!("Bearer {}", with("iss", json!("http://issuer.test"))),
                false,
            ),
            (format!("Bearer {}", with("iss", Value::Null)), false),
            (format!("Bearer {}", with("aud", json!(["other"]))), false),
            (format!("Bearer {}", with("aud", json!(7))), false),
            (format!("Bearer {}", Issuer::new("k1").token(&claims())), false),
            (format!("Bearer {}", Issuer::new("k2").token(&claims())), false),
            (format!("Bearer {}", Issuer::new("").token(&claims())), false),
            (format!("Bearer {head}.{}", signature.to_lowercase()), false),
            (format!("Basic {good}"), false),
            (good.clone(), false),
            ("Bearer short".to_owned(), false),
            (String::new(), false),
        ];
        for (header, passes) in table {
            let expected = if passes { (200, true) } else { (401, false) };
            assert_eq!(status(&bearer, &header).await, expected, "{header}");
        }
    }

    #[tokio::test]
    async fn settings_and_documents_that_cannot_be_used_are_told() {
        let server = Server::new();
        assert_eq!(
            error(&server, &[]).await,
            "metadata property 'issuer' is required"
        );
        assert_eq!(
            error(&server, &[("issuerURL", ISSUER)]).await,
            "metadata property 'audience' is required"
        );
        let prefix = "failed to retrieve OpenID Configuration document: ";
        assert_eq!(
            error(&server, &SETTINGS).await,
            format!("{prefix}invalid response status code: 404")
        );
        server.document(DISCOVERY, 200, r#"{"issuer":"http://issuer.test"}"#);
        let text = error(&server, &SETTINGS).await;
        assert!(
            text.starts_with(&format!("{prefix}the issuer found in the")),
            "{text}"
        );
        server.document(DISCOVERY, 200, &described(""));
        assert_eq!(
            error(&server, &SETTINGS).await,
            format!("{prefix}the OpenID Configuration document does not contain a 'jwks_uri'")
        );
        server.document(DISCOVERY, 200, &described(KEYS));
        assert_eq!(
            error(&server, &SETTINGS).await,
            "failed to fetch JWKS: invalid response status code: 404"
        );
        server.document(KEYS, 200, "{}");
        let text = error(&server, &SETTINGS).await;
        assert!(
            text.starts_with("failed to fetch JWKS: failed to unmarshal JWK set"),
            "{text}"
        );
        // Where the keys are is taken from the settings first.
        let url = [
            ("issuer", ISSUER),
            ("clientID", "api"),
            ("jwksURL", "http://issuer.test/own"),
        ];
        server.document("http://issuer.test/own", 200, &Issuer::new("k").document());
        assert!(Bearer::make(init(&server, &url)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_looked_at_again_and_the_last_ones_stay() {
        let (old, new) = (Issuer::new("old"), Issuer::new("new"));
        let server = Server::new();
        server.document(DISCOVERY, 200, &described(KEYS));
        server.document(KEYS, 200, &old.document());
        let conditions = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&conditions);
        let mut init = init(&server, &SETTINGS);
        init.condition = Condition::new(move |reason| told.lock().unwrap().push(reason.is_some()));
        let bearer = Bearer::make(init).await.unwrap();
        let header = |issuer: &Issuer| format!("Bearer {}", issuer.token(&claims()));
        server.document(KEYS, 500, "");
        tokio::time::sleep(Duration::from_secs(601)).await;
        assert_eq!(status(&bearer, &header(&old)).await.0, 200);
        assert_eq!(*conditions.lock().unwrap(), [true]);
        server.document(KEYS, 200, &new.document());
        tokio::time::sleep(Duration::from_secs(601)).await;
        assert_eq!(status(&bearer, &header(&old)).await.0, 401);
        assert_eq!(status(&bearer, &header(&new)).await.0, 200);
        assert_eq!(*conditions.lock().unwrap(), [true, false]);
        // Nobody asks for the keys of a handler that is gone.
        let asked = server.count(KEYS);
        drop(bearer);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(server.count(KEYS), asked);
    }
}
