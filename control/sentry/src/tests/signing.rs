//! Certificates: who gets which, and who gets none.

use super::*;

#[tokio::test]
async fn a_workload_gets_a_certificate_that_its_peers_believe() {
    let lab = Lab::start("", &[]).await;
    let response = lab.sign(request()).await.unwrap();
    let chain = pem::certificates(&response.workload_certificate);
    let algorithms = tls::signature_algorithms();
    let id = verify_chain(
        &chain[0],
        &chain[1..],
        &lab.anchors(),
        SystemTime::now(),
        algorithms,
    )
    .unwrap();
    assert_eq!(id.as_str(), "spiffe://public/ns/default/myapp");
    assert_eq!(chain.len(), 2);
    assert_eq!(response.trust_chain_certificates, [lab.file("ca.crt")]);
    let leaf = leaf(&response);
    let valid_until = response.valid_until.unwrap();
    assert_eq!(
        (valid_until.seconds, valid_until.nanos),
        (crate::ca::unix_seconds(leaf.not_after()), 0)
    );
    let lifetime = leaf.not_after().duration_since(leaf.not_before()).unwrap();
    assert_eq!(lifetime, Duration::from_secs((24 * 60 + 15) * 60));
    assert_eq!((response.jwt, response.per_audience_jwts.len()), (None, 0));

    let (head, body) = get_plain(lab.handle.addresses().healthz, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && body.is_empty());
    let (_, text) = get_plain(lab.handle.addresses().metrics.unwrap(), "/").await;
    let issuer = Certificate::parse(&pem::certificates(lab.file("issuer.crt").as_bytes())[0]).unwrap();
    let expiry = crate::ca::unix_seconds(issuer.not_after()) as f64;
    for line in [
        "dapr_sentry_cert_sign_request_received_total 1".to_owned(),
        "dapr_sentry_cert_sign_success_total 1".to_owned(),
        "dapr_sentry_issuercert_changed_total 1".to_owned(),
        format!("dapr_sentry_issuercert_expiry_timestamp {}e+09", expiry / 1e9),
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    lab.handle.stop().await.unwrap();
}

#[tokio::test]
async fn trailers_have_a_message_even_if_there_is_nothing_to_say() {
    let lab = Lab::start("", &[]).await;
    let response = lab.client().await.sign_certificate(request()).await.unwrap();
    assert_eq!(response.metadata().get("grpc-message").unwrap(), "");
}

#[tokio::test]
async fn requests_fail_with_the_specified_code_and_text() {
    let lab = Lab::start("", &[]).await;
    let with = |change: fn(&mut SignCertificateRequest)| {
        let mut changed = request();
        change(&mut changed);
        changed
    };
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap().to_pem().unwrap();
    let not_enabled = "the requested validator is not enabled";
    let rows: Vec<(SignCertificateRequest, Code, &str)> = vec![
        (
            with(|request| request.token_validator = -1),
            Code::InvalidArgument,
            not_enabled,
        ),
        (
            with(|request| request.token_validator = 2),
            Code::InvalidArgument,
            not_enabled,
        ),
        (
            with(|request| request.token_validator = 3),
            Code::InvalidArgument,
            not_enabled,
        ),
        (
            with(|request| request.certificate_signing_request = "".into()),
            Code::PermissionDenied,
            "invalid request: CSR is required",
        ),
        (
            with(|request| request.namespace.clear()),
            Code::PermissionDenied,
            "invalid request: namespace is required",
        ),
        (
            SignCertificateRequest::default(),
            Code::PermissionDenied,
            "invalid request: parameter app-id cannot be empty\nCSR is required\nnamespace is required",
        ),
        (
            with(|request| request.id = "a:b".to_owned()),
            Code::Internal,
            "failed to sign certificate",
        ),
        (
            with(|request| request.id = "a/b".to_owned()),
            Code::Internal,
            "failed to sign certificate",
        ),
        (
            with(|request| request.namespace = "x/y".to_owned()),
            Code::Internal,
            "failed to sign certificate",
        ),
        (
            with(|request| request.trust_domain = "Bad".to_owned()),
            Code::PermissionDenied,
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
        ),
        (
            SignCertificateRequest {
                certificate_signing_request: key.into(),
                ..request()
            },
            Code::InvalidArgument,
            "invalid certificate signing request",
        ),
    ];
    let count = rows.len();
    for (request, code, message) in rows {
        let status = lab.sign(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
    lab.metric(&format!(
        "dapr_sentry_cert_sign_failure_total{{reason=\"sign\"}} {count}"
    ))
    .await;
}

#[tokio::test]
async fn names_of_the_control_plane_are_given_in_its_namespace() {
    let lab = Lab::start("", &[]).await;
    let ask = |id: &str, namespace: &str, trust_domain: &str| SignCertificateRequest {
        id: id.to_owned(),
        namespace: namespace.to_owned(),
        trust_domain: trust_domain.to_owned(),
        ..request()
    };
    let injector = leaf(
        &lab.sign(ask("dapr-injector", "default", "localhost"))
            .await
            .unwrap(),
    );
    assert_eq!(injector.names().dns, ["dapr-sidecar-injector.default.svc"]);
    assert_eq!(
        injector.names().uri,
        ["spiffe://localhost/ns/default/dapr-injector"]
    );
    let scheduler = leaf(
        &lab.sign(ask("dapr-scheduler", "default", "localhost"))
            .await
            .unwrap(),
    );
    assert_eq!(
        scheduler.names().dns[2],
        "dapr-scheduler-server-2.dapr-scheduler-server.default.svc.localhost"
    );
    let elsewhere = leaf(&lab.sign(ask("dapr-operator", "other", "")).await.unwrap());
    assert!(elsewhere.names().dns.is_empty());
    assert_eq!(elsewhere.names().uri, ["spiffe://public/ns/other/dapr-operator"]);
}

#[tokio::test]
async fn clients_without_h2_are_dropped() {
    let lab = Lab::start("", &[]).await;
    let mut config = tls::open_client(&AnchorSource::fixed(lab.anchors()), Expect::Any);
    config.alpn_protocols.clear();
    let stream = TcpStream::connect(lab.handle.addresses().grpc).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(tls::server_name("127.0.0.1"), stream)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap().len(), 2);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.is_empty(), "no byte of HTTP/2");
}
