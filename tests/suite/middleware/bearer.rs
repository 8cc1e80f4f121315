//! Bearer tokens of a real issuer: discovery and keys over HTTP.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger_test_kit::{HttpApp, HttpRequest, HttpResponse, Result, isolated};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{middleware, own, pipelines, sidecar};

/// An OpenID Connect issuer with one key.
struct Issuer {
    server: HttpApp,
    key: KeyPair,
    url: String,
}

impl Issuer {
    async fn start() -> Result<Self> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let jwks = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": URL_SAFE_NO_PAD.encode(key.public_key_raw()),
        }] });
        let url = Arc::new(Mutex::new(String::new()));
        let known = Arc::clone(&url);
        let server = HttpApp::start(move |request| {
            let url = known.lock().expect("nobody panics here").clone();
            let jwks = jwks.clone();
            async move {
                match request.path() {
                    "/.well-known/openid-configuration" => HttpResponse::json(&json!({
                        "issuer": url, "jwks_uri": format!("{url}/keys"),
                    })),
                    "/keys" => HttpResponse::json(&jwks),
                    _ => HttpResponse::new(404, ""),
                }
            }
        })
        .await?;
        let own = format!("http://127.0.0.1:{}", server.port());
        own.clone_into(&mut url.lock().expect("nobody panics here"));
        Ok(Self {
            server,
            key,
            url: own,
        })
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut claims = json!({ "iss": self.url, "aud": "api", "iat": now, "exp": now + 600 });
        change(&mut claims);
        let key = jsonwebtoken::EncodingKey::from_ed_pem(self.key.serialize_pem().as_bytes())?;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some("k1".to_owned());
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }
}

#[test]
fn only_callers_with_a_token_of_the_issuer_reach_the_app() {
    isolated!(async {
        let issuer = Issuer::start().await?;
        let app = HttpApp::echo().await?;
        let bearer = middleware("auth", "bearer", &[("issuer", &issuer.url), ("audience", "api")]);
        let daprd = sidecar(&app)?
            .resource("1.yaml", &bearer)?
            .configuration(&pipelines(&[("auth", "bearer")], &[]))?
            .spawn()?;
        daprd.process.wait_for_line("dapr initialized").await?;
        let ask = async |authorization: &str| {
            let request = HttpRequest::new("GET", own("x")).header("Authorization", authorization);
            daprd.send(&request).await
        };
        let good = issuer.token(|_| {})?;
        assert_eq!(ask(&format!("bearer {good}")).await?.status, 200);
        let received = app.requests_for("/x")[0]
            .headers
            .get("authorization")
            .map(str::to_owned);
        assert_eq!(received, Some(format!("bearer {good}")));
        for bad in [
            issuer.token(|claims| claims["aud"] = json!("other"))?,
            issuer.token(|claims| claims["iss"] = json!("http://elsewhere"))?,
            issuer.token(|claims| claims["exp"] = json!(1_000_000))?,
            format!("{good}x"),
            "x".to_owned(),
        ] {
            let refused = ask(&format!("Bearer {bad}")).await?;
            assert_eq!(
                (refused.status, refused.text().as_str()),
                (401, "Unauthorized"),
                "{bad}"
            );
            assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
        }
        assert_eq!(app.requests_for("/x").len(), 1);
        // Health checks go through the same handlers.
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 401);
        assert_eq!(issuer.server.requests_for("/keys").len(), 1);
        Ok(())
    });
}

#[test]
fn an_issuer_that_does_not_answer_ends_the_start_in_time() {
    isolated!(async {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", silent.local_addr()?);
        let app = HttpApp::echo().await?;
        let yaml = middleware("auth", "bearer", &[("issuer", &url), ("audience", "api")])
            .replace("version: v1", "version: v1\n  initTimeout: 1s");
        let mut daprd = sidecar(&app)?.resource("1.yaml", &yaml)?.spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        daprd
            .process
            .wait_for_line("failed to retrieve OpenID Configuration document: Get \\\"")
            .await?;
        daprd.process.wait_for_line("context deadline exceeded").await?;
        Ok(())
    });
}
