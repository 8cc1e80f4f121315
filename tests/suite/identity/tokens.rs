//! JWTs beside certificates, and what their verifiers are told.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use outrigger_api::sentry::SignCertificateRequest;
use outrigger_test_kit::http::{get, send};
use outrigger_test_kit::{
    Authority, Certificate, Directory, HttpReply, HttpRequest, Leaf, Program, Result, until,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::authority::{Lab, request};

fn with_tokens(program: Program) -> Program {
    program
        .flag("jwt-enabled", true)
        .flag("oidc-enabled", true)
        .flag("oidc-server-tls-enabled", false)
}

async fn fetch(lab: &Lab, path: &str) -> Result<HttpReply> {
    get(format!("http://localhost:{}{path}", lab.oidc_port)).await
}

#[tokio::test]
async fn discovery_describes_the_issuer() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start_with(with_tokens).await?;
    let reply = fetch(&lab, "/.well-known/openid-configuration").await?;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=3600"));
    let issuer = format!("http://localhost:{}", lab.oidc_port);
    let expected = format!(
        "{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{issuer}/jwks.json\",\"response_types_supported\":[\"id_token\"],\
         \"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"RS256\"],\
         \"scopes_supported\":[\"openid\"],\"claims_supported\":[\"sub\",\"iss\",\"aud\",\"exp\",\"iat\",\"nbf\",\"use\"]}}\n"
    );
    assert_eq!(reply.text(), expected);

    let url = format!("{issuer}/.well-known/openid-configuration");
    let forged = send(&HttpRequest::new("GET", url).header("X-Forwarded-Host", "evil.example")).await?;
    assert_eq!(forged.json()?["issuer"], issuer);
    Ok(())
}

#[tokio::test]
async fn the_key_set_has_one_rsa_key_named_by_its_thumbprint() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start_with(with_tokens).await?;
    let reply = fetch(&lab, "/jwks.json").await?;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let text = reply.text();
    let set = reply.json()?;
    let key = &set["keys"][0];
    let (n, kid) = (text_of(&key["n"]), text_of(&key["kid"]));
    assert_eq!(
        text,
        format!(
            "{{\"keys\":[{{\"alg\":\"RS256\",\"e\":\"AQAB\",\"kid\":\"{kid}\",\"kty\":\"RSA\",\"n\":\"{n}\",\"use\":\"sig\"}}]}}"
        )
    );
    let thumbprint = Sha256::digest(format!("{{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"{n}\"}}"));
    assert_eq!(kid, STANDARD.encode(thumbprint));
    assert_eq!(URL_SAFE_NO_PAD.decode(n)?.len(), 256, "2048 bits");
    assert_eq!(lab.file("jwks.json")?.trim_end(), text);
    Ok(())
}

#[tokio::test]
async fn other_paths_and_verbs_are_refused_in_plain_text() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start_with(with_tokens).await?;
    for verb in ["POST", "PUT", "DELETE"] {
        let url = format!("http://localhost:{}/jwks.json", lab.oidc_port);
        let reply = send(&HttpRequest::new(verb, url)).await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (405, "Method not allowed\n"),
            "{verb}"
        );
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    for path in ["/", "/authorize", "/jwks.json/x", "/.well-known"] {
        let reply = fetch(&lab, path).await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn prefix_issuer_and_allowed_hosts_are_obeyed() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let program = |program| {
        with_tokens(program)
            .flag("oidc-path-prefix", "/custom/")
            .flag("jwt-issuer", "https://h:1/custom")
            .flag("oidc-allowed-hosts", "localhost,good.example")
    };
    let _sentry = lab.start_with(program).await?;
    let document = fetch(&lab, "/custom/.well-known/openid-configuration")
        .await?
        .json()?;
    assert_eq!(document["issuer"], "https://h:1/custom");
    assert_eq!(document["jwks_uri"], "https://h:1/custom/jwks.json");
    assert_eq!(fetch(&lab, "/jwks.json").await?.status, 404);

    let url = format!("http://localhost:{}/custom/jwks.json", lab.oidc_port);
    for (host, status) in [
        ("good.example", 200),
        ("good.example:1", 200),
        ("evil.example", 403),
    ] {
        let reply = send(&HttpRequest::new("GET", &url).header("X-Forwarded-Host", host)).await?;
        assert_eq!(reply.status, status, "{host}");
        if status == 403 {
            assert_eq!(reply.text(), "Forbidden: unauthorized domain\n");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_token_has_the_specified_claims_and_a_signature_that_verifies() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start_with(with_tokens).await?;
    let request = SignCertificateRequest {
        jwt_audiences: vec!["a1".to_owned(), "a2".to_owned()],
        ..request()?
    };
    let answer = lab.signed(&request).await?;
    let set = fetch(&lab, "/jwks.json").await?.json()?;
    let key = &set["keys"][0];

    let token = answer.jwt.unwrap_or_default();
    let (header, claims, signature) = parts(&token)?;
    assert_eq!(header, json!({ "alg": "RS256", "kid": key["kid"], "typ": "JWT" }));
    assert_eq!(signature.len(), 256);
    assert_eq!(claims["aud"], json!(["public", "a1", "a2"]));
    assert_eq!(number(&claims["exp"]) - number(&claims["iat"]), 86_400);
    assert_eq!(number(&claims["iat"]) - number(&claims["nbf"]), 900);
    assert_eq!(claims["sub"], "spiffe://public/ns/default/myapp");
    assert_eq!(claims["use"], "sig");
    let id = text_of(&claims["jti"]);
    assert!(
        id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    let names: Vec<_> = claims
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["aud", "exp", "iat", "jti", "nbf", "sub", "use"]);

    let decoding = jsonwebtoken::DecodingKey::from_rsa_components(text_of(&key["n"]), text_of(&key["e"]))?;
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["a2"]);
    jsonwebtoken::decode::<Value>(&token, &decoding, &validation)?;

    let mut audiences: Vec<_> = answer.per_audience_jwts.iter().collect();
    audiences.sort();
    let mut ids = vec![id.to_owned()];
    for (audience, token) in &audiences {
        let (_, claims, _) = parts(token)?;
        assert_eq!(claims["aud"], json!([audience]));
        ids.push(text_of(&claims["jti"]).to_owned());
    }
    let keys: Vec<_> = audiences.iter().map(|(audience, _)| audience.as_str()).collect();
    assert_eq!(keys, ["a1", "a2", "public"]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each token has an id of its own");
    Ok(())
}

#[tokio::test]
async fn issuer_lifetime_and_key_id_are_those_of_the_options() -> Result<()> {
    let lab = Lab::new("{allowedClockSkew: 1m}")?;
    let program = |program| {
        with_tokens(program)
            .flag("jwt-issuer", "https://issuer.example")
            .flag("jwt-ttl", "1h")
    };
    let _sentry = lab.start_with(program).await?;
    let answer = lab.signed(&request()?).await?;
    let (_, claims, _) = parts(&answer.jwt.unwrap_or_default())?;
    assert_eq!(claims["iss"], "https://issuer.example");
    assert_eq!(claims["aud"], json!(["public"]));
    assert_eq!(number(&claims["exp"]) - number(&claims["iat"]), 3600);
    assert_eq!(number(&claims["iat"]) - number(&claims["nbf"]), 60);
    Ok(())
}

#[tokio::test]
async fn a_key_set_without_the_key_ends_the_authority() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    assert!(lab.start_with(with_tokens).await?.stop().await?.success());
    let path = lab.credentials().join("jwks.json");
    for (content, text) in [("{\"keys\":[]}", "JWKS doesn't contain any keys"), ("", "")] {
        std::fs::write(&path, content)?;
        let (status, sentry) = with_tokens(lab.program()?).run().await?;
        assert_eq!(status.code(), Some(1));
        let line = sentry.wait_for_line("level=fatal").await?;
        assert!(line.contains(text), "{line}");
    }
    Ok(())
}

/// Header, claims and signature.
fn parts(token: &str) -> Result<(Value, Value, Vec<u8>)> {
    let parts: Vec<_> = token
        .split('.')
        .map(|part| URL_SAFE_NO_PAD.decode(part))
        .collect::<Result<_, _>>()?;
    let [header, claims, signature] = <[Vec<u8>; 3]>::try_from(parts).expect("a token has three parts");
    Ok((
        serde_json::from_slice(&header)?,
        serde_json::from_slice(&claims)?,
        signature,
    ))
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

#[tokio::test]
async fn discovery_over_tls_names_an_https_issuer_and_follows_its_files() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let directory = Directory::new()?;
    let write = |certificate: &Certificate| -> Result<()> {
        directory.write("tls.crt", &certificate.chain)?;
        directory.write("tls.key", &certificate.key)?;
        Ok(())
    };
    let leaf = Leaf {
        dns_names: vec!["localhost".to_owned()],
        ..Leaf::of("spiffe://public/ns/default/oidc")
    };
    let (first, second) = (Authority::new()?, Authority::new()?);
    write(&first.issue(&leaf)?)?;
    let _sentry = lab
        .start_with(|program| {
            program
                .flag("jwt-enabled", true)
                .flag("oidc-enabled", true)
                .flag(
                    "oidc-server-tls-cert-file",
                    directory.path().join("tls.crt").display(),
                )
                .flag(
                    "oidc-server-tls-key-file",
                    directory.path().join("tls.key").display(),
                )
        })
        .await?;
    let fetch = async |authority: &Authority| -> Result<String> {
        let anchors = directory.write("anchors.pem", authority.anchors())?;
        let url = format!(
            "https://localhost:{}/.well-known/openid-configuration",
            lab.oidc_port
        );
        let output = tokio::process::Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "5", "--cacert"])
            .arg(anchors)
            .arg(url)
            .output()
            .await?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let document: Value = serde_json::from_str(&fetch(&first).await?)?;
    assert_eq!(document["issuer"], format!("https://localhost:{}", lab.oidc_port));
    assert_eq!(
        document["jwks_uri"],
        format!("https://localhost:{}/jwks.json", lab.oidc_port)
    );

    assert!(fetch(&second).await.is_err());
    write(&second.issue(&leaf)?)?;
    until("the new certificate", async || fetch(&second).await.ok()).await?;
    Ok(())
}
