//! Starting, changing and ending.

use super::*;

#[tokio::test]
async fn new_files_are_taken_into_use_without_closing_a_port() {
    let lab = Lab::start("", &[]).await;
    let addresses = lab.handle.addresses();
    let before = leaf(&lab.sign(request()).await.unwrap());
    let names = ["ca.crt", "issuer.crt", "issuer.key"];
    for (name, text) in names.iter().zip(foreign_bundle()) {
        std::fs::write(lab.scratch.path().join(name), text).unwrap();
    }
    lab.metric("dapr_sentry_issuercert_changed_total 2").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    // The old bundle is in use until all files have been replaced; then clients must know the new anchors.
    let after = loop {
        let expect = Expect::Exact(SpiffeId::parse(SENTRY).unwrap());
        let config = Arc::new(tls::open_client(&AnchorSource::fixed(lab.anchors()), expect));
        let stream = TcpStream::connect(addresses.grpc).await.unwrap();
        if tls::connect(config, "127.0.0.1", stream).await.is_ok() {
            break leaf(&lab.sign(request()).await.unwrap());
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new bundle is not in use"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_ne!(after.issuer(), before.issuer());
    assert_eq!(lab.handle.addresses(), addresses);
    lab.handle.stop().await.unwrap();
}

#[tokio::test]
async fn files_that_do_not_fit_together_end_the_authority() {
    let mut lab = Lab::start("", &[]).await;
    std::fs::write(
        lab.scratch.path().join("issuer.key"),
        foreign_bundle()[2].as_str(),
    )
    .unwrap();
    let error = lab.handle.ended().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "error creating CA: failed to get CA bundle: failed to verify CA bundle: issuer key does not match issuer certificate"
    );
    assert!(
        TcpStream::connect(lab.handle.addresses().healthz).await.is_err(),
        "all ports are closed"
    );
}

#[tokio::test]
async fn the_own_certificate_is_renewed() {
    let short = "spec: {mtls: {enabled: true, workloadCertTTL: 2s, allowedClockSkew: 0s}}";
    let lab = Lab::start(short, &[]).await;
    let certificate = async || {
        let config = tls::open_client(&AnchorSource::fixed(lab.anchors()), Expect::Any);
        let stream = TcpStream::connect(lab.handle.addresses().grpc).await.unwrap();
        let stream = tls::connect(Arc::new(config), "127.0.0.1", stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = certificate().await;
    while certificate().await == first {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn mistakes_at_the_start_are_reported_exactly() {
    let start = async |configuration: &str, flags: &[&str]| {
        let failed = Lab::try_start(Scratch::new(), configuration, flags).await;
        failed.err().expect("sentry does not start").to_string()
    };
    let error = start("spec: {mtls: {tokenValidators: [{name: insecure}]}}", &[]).await;
    assert!(
        error.starts_with("loading default config. couldn't find config name \"/"),
        "{error}"
    );
    assert!(
        error.ends_with(
            "/config.yaml\": invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured manually"
        ),
        "{error}"
    );
    let error = start("spec: {mtls: {tokenValidators: [{name: jwks}]}}", &[]).await;
    assert_eq!(
        error,
        "error initializing validators: property 'location' must not be empty"
    );
    let error = start("", &["--issuer-ca-filename=/no/such/ca.crt"]).await;
    assert_eq!(error, "failed to add target /no/such: no such file or directory");
    let error = start("", &["--trust-domain=Bad"]).await;
    assert!(
        error.starts_with("invalid control plane trust domain: trust domain characters"),
        "{error}"
    );
}
