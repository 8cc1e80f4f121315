//! Tokens: those that are issued, and those that are asked for.

use super::*;

#[tokio::test]
async fn tokens_come_with_certificates_and_their_keys_are_published() {
    let flags = [
        "--jwt-enabled",
        "--oidc-enabled",
        "--oidc-server-tls-enabled=false",
    ];
    let lab = Lab::start("", &flags).await;
    let jwt_audiences = vec!["a1".to_owned(), "a2".to_owned()];
    let response = lab
        .sign(SignCertificateRequest {
            jwt_audiences,
            ..request()
        })
        .await
        .unwrap();
    let oidc = lab.handle.addresses().oidc.unwrap();
    let (head, jwks) = get_plain(oidc, "/jwks.json").await;
    assert!(
        head.contains("Content-Type: application/json")
            && head.contains("Cache-Control: public, max-age=3600")
    );
    assert_eq!(jwks, lab.file("jwks.json"));
    let (_, discovery) = get_plain(oidc, "/.well-known/openid-configuration").await;
    assert!(
        discovery.starts_with(r#"{"issuer":"http://h:1","jwks_uri":"http://h:1/jwks.json","#),
        "{discovery}"
    );

    let audience = |token: &str| {
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&jwks).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&keys.keys[0]).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "spiffe://public/ns/default/myapp");
        claims["aud"].clone()
    };
    assert_eq!(
        audience(&response.jwt.unwrap()),
        serde_json::json!(["public", "a1", "a2"])
    );
    assert_eq!(response.per_audience_jwts.len(), 3);
    for (name, token) in response.per_audience_jwts {
        assert_eq!(audience(&token), serde_json::json!([name]));
    }
}

#[tokio::test]
async fn discovery_comes_by_tls_with_a_certificate_that_may_come_late() {
    let scratch = Scratch::new();
    let (certificate, key) = (scratch.path().join("tls.crt"), scratch.path().join("tls.key"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    let files = [
        format!("--oidc-server-tls-cert-file={}", certificate.display()),
        format!("--oidc-server-tls-key-file={}", key.display()),
    ];
    let flags = ["--jwt-enabled", "--oidc-enabled", &files[0], &files[1]];
    let lab = Lab::try_start(scratch, "", &flags).await.unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(loopback(lab.handle.addresses().oidc.unwrap()))
        .await
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    let (_, discovery) = get(stream, "/.well-known/openid-configuration").await;
    assert!(
        discovery.starts_with(r#"{"issuer":"https://h:1","#),
        "{discovery}"
    );
}

#[tokio::test]
async fn with_known_keys_only_good_tokens_get_certificates() {
    let keys = r#"spec: {mtls: {tokenValidators: [{name: JWKS, options: {source: '{"keys":[]}'}}]}}"#;
    let lab = Lab::start(keys, &[]).await;
    let ask = async |token_validator: i32, token: &str| {
        let request = SignCertificateRequest {
            token_validator,
            token: token.to_owned(),
            ..request()
        };
        let status = lab.sign(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let no_default = "a validator name must be specified in this environment";
    assert_eq!(ask(0, "").await, (Code::InvalidArgument, no_default.to_owned()));
    assert_eq!(
        ask(1, "").await,
        (
            Code::InvalidArgument,
            "the requested validator is not enabled".to_owned()
        )
    );
    let no_token = "the request does not contain a token";
    assert_eq!(ask(3, "").await, (Code::PermissionDenied, no_token.to_owned()));
    let (head, _) = get_plain(lab.handle.addresses().healthz, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"));
    let bad_token = "token validation failed: invalid JWT";
    assert_eq!(ask(3, "x").await, (Code::PermissionDenied, bad_token.to_owned()));
}
