//! What the authority signs, and what it refuses.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use outrigger_api::sentry::SignCertificateRequest;
use outrigger_test_kit::{Directory, Result};
use rcgen::string::Ia5String;
use rcgen::{DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType};
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::{Pem, parse_x509_pem};

use super::authority::{Lab, nameless, pem, request, request_with};
use super::openssl::{self, extensions, field};

const DAY_AND_SKEW: i64 = (24 * 60 + 15) * 60;

#[tokio::test]
async fn the_answer_holds_the_chain_the_anchors_and_the_end_of_the_validity() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let reply = lab.sign(&request()?).await?;
    assert_eq!(
        (reply.status, reply.message.as_str(), reply.messages.len()),
        (0, "", 1)
    );

    let answer = lab.signed(&request()?).await?;
    let chain = pem(&answer.workload_certificate);
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(
        chain.ends_with(&lab.file("issuer.crt")?),
        "the issuer as it is in its file"
    );
    let anchors: Vec<_> = answer.trust_chain_certificates.iter().map(pem).collect();
    assert_eq!(anchors, [lab.file("ca.crt")?]);
    assert!(answer.jwt.is_none() && answer.per_audience_jwts.is_empty());
    openssl::verify(&anchors[0], &chain).await?;

    let block = first(&chain)?;
    let leaf = block.parse_x509()?;
    let validity = leaf.validity();
    let valid_until = answer.valid_until.context("an end")?;
    assert_eq!(
        (valid_until.seconds, valid_until.nanos),
        (validity.not_after.timestamp(), 0)
    );
    assert_eq!(
        validity.not_after.timestamp() - validity.not_before.timestamp(),
        DAY_AND_SKEW
    );
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let age = now - 15 * 60 - validity.not_before.timestamp();
    assert!(
        (0..=60).contains(&age),
        "dated back by {age} s more than the skew"
    );
    Ok(())
}

#[tokio::test]
async fn the_leaf_has_the_specified_bytes() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let chain = pem(&lab.signed(&request()?).await?.workload_certificate);
    let issuer_key_id = key_id(&lab.file("issuer.crt")?).await?;

    let text = openssl::text(&chain).await?;
    assert_eq!(
        field(&text, "Issuer:"),
        Some("O=spiffe://localhost/ns/default/dapr-sentry")
    );
    assert_eq!(field(&text, "Subject:"), Some(""));
    assert_eq!(field(&text, "Public Key Algorithm:"), Some("ED25519"));
    assert_eq!(field(&text, "Signature Algorithm:"), Some("ED25519"));
    assert_eq!(
        extensions(&text),
        [
            "X509v3 Key Usage: critical",
            "Digital Signature",
            "X509v3 Extended Key Usage:",
            "TLS Web Server Authentication, TLS Web Client Authentication",
            "X509v3 Authority Key Identifier:",
            issuer_key_id.as_str(),
            "X509v3 Subject Alternative Name: critical",
            "URI:spiffe://public/ns/default/myapp",
        ]
    );

    let directory = Directory::new()?;
    let file = directory.write("leaf.pem", &chain)?;
    let structure = openssl::run(["asn1parse".as_ref(), "-in".as_ref(), file.as_os_str()]).await?;
    let strings: Vec<_> = structure
        .lines()
        .filter_map(|line| Some(line.split_once("[HEX DUMP]:")?.1.trim()))
        .collect();
    assert_eq!(
        strings[..2],
        ["03020780", "301406082B0601050507030106082B06010505070302"]
    );
    let name = strings.last().context("a name")?;
    assert!(name.starts_with("30228620"), "{name}");
    assert!(
        structure
            .lines()
            .any(|line| line.contains("INTEGER") && line.ends_with(":02")),
        "version 3"
    );

    let block = first(&chain)?;
    let leaf = block.parse_x509()?;
    let issuer_block = first(&lab.file("issuer.crt")?)?;
    assert_eq!(
        leaf.issuer().as_raw(),
        issuer_block.parse_x509()?.subject().as_raw(),
        "the bytes of the issuer's name"
    );
    assert!(leaf.raw_serial().len() >= 14, "128 random bits");
    Ok(())
}

#[tokio::test]
async fn every_mistake_in_a_request_has_its_code_and_text() -> Result<()> {
    type Change = fn(&mut SignCertificateRequest);
    const DISABLED: &str = "the requested validator is not enabled";
    const DOMAIN: &str =
        "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores";
    let table: &[(Change, i32, &str)] = &[
        (|request| request.token_validator = -1, 3, DISABLED),
        (|request| request.token_validator = 2, 3, DISABLED),
        (|request| request.token_validator = 3, 3, DISABLED),
        (|request| request.token_validator = 99, 3, DISABLED),
        (|request| request.token_validator = 1, 0, ""),
        (
            |request| request.certificate_signing_request.clear(),
            7,
            "invalid request: CSR is required",
        ),
        (
            |request| request.namespace.clear(),
            7,
            "invalid request: namespace is required",
        ),
        (
            |request| request.id.clear(),
            7,
            "invalid request: parameter app-id cannot be empty",
        ),
        (
            |request| request.id = "a.b".to_owned(),
            7,
            "invalid request: parameter app-id cannot contain dots",
        ),
        (
            |request| request.id = "a".repeat(65),
            7,
            "invalid request: app ID must be 64 characters or less",
        ),
        (|request| request.id = "a".repeat(64), 0, ""),
        (
            |request| {
                request.id.clear();
                request.namespace.clear();
                request.certificate_signing_request.clear();
            },
            7,
            "invalid request: parameter app-id cannot be empty\nCSR is required\nnamespace is required",
        ),
        (
            |request| request.id = "a:b".to_owned(),
            13,
            "failed to sign certificate",
        ),
        (
            |request| request.id = "a/b".to_owned(),
            13,
            "failed to sign certificate",
        ),
        (
            |request| request.namespace = "x/y".to_owned(),
            13,
            "failed to sign certificate",
        ),
        (|request| request.trust_domain = "Bad".to_owned(), 7, DOMAIN),
        (|request| request.trust_domain = "foo/bar".to_owned(), 7, DOMAIN),
        (|request| request.trust_domain = "spiffe://foo".to_owned(), 0, ""),
        (|request| request.id = "a_b".to_owned(), 0, ""),
        (|request| request.namespace = "UPPER".to_owned(), 0, ""),
        (|request| request.namespace = "n".repeat(253), 0, ""),
        (
            |request| {
                let key = KeyPair::generate().expect("a key");
                request.certificate_signing_request = key.serialize_pem().into();
            },
            3,
            "invalid certificate signing request",
        ),
        (
            |request| relabel(request, "NEW CERTIFICATE REQUEST"),
            3,
            "invalid certificate signing request",
        ),
        (|request| relabel(request, "CERTIFICATE"), 0, ""),
        (
            |request| request.certificate_signing_request = "no PEM".into(),
            3,
            "invalid certificate signing request",
        ),
        (forge, 3, "invalid signature"),
    ];
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let mut failures = 0;
    for (row, (change, status, message)) in table.iter().enumerate() {
        let mut request = request()?;
        change(&mut request);
        let reply = lab.sign(&request).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (*status, *message),
            "row {row}"
        );
        failures += i32::from(*status != 0);
    }
    let (all, failures) = (f64::from(u32::try_from(table.len())?), f64::from(failures));
    assert_eq!(
        lab.metric("dapr_sentry_cert_sign_request_received_total").await?,
        Some(all)
    );
    assert_eq!(
        lab.metric("dapr_sentry_cert_sign_failure_total{reason=\"sign\"}")
            .await?,
        Some(failures)
    );
    assert_eq!(
        lab.metric("dapr_sentry_cert_sign_success_total").await?,
        Some(all - failures)
    );
    Ok(())
}

#[tokio::test]
async fn a_request_contributes_nothing_but_its_key() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let keys = [
        (
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
            "rsaEncryption",
        ),
        (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, "id-ecPublicKey"),
    ];
    for (key, algorithm) in keys {
        let mut evil = nameless();
        evil.distinguished_name.push(DnType::CommonName, "evil");
        let name = Ia5String::try_from("spiffe://public/ns/other/evil")?;
        evil.subject_alt_names.push(SanType::URI(name));
        let chain = pem(&lab.signed(&request_with(&key, evil)?).await?.workload_certificate);
        let text = openssl::text(&chain).await?;
        assert_eq!(field(&text, "Subject:"), Some(""));
        assert_eq!(field(&text, "Public Key Algorithm:"), Some(algorithm));
        assert_eq!(field(&text, "Signature Algorithm:"), Some("ED25519"));
        assert_eq!(
            extensions(&text).last(),
            Some(&"URI:spiffe://public/ns/default/myapp")
        );
        openssl::verify(&lab.file("ca.crt")?, &chain).await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_the_control_plane_of_the_own_namespace_gets_dns_names() -> Result<()> {
    let scheduler = (0..3)
        .map(|replica| {
            format!("DNS:dapr-scheduler-server-{replica}.dapr-scheduler-server.default.svc.localhost, ")
        })
        .collect::<String>()
        + "URI:spiffe://localhost/ns/default/dapr-scheduler";
    let table = [
        (
            "dapr-injector",
            "default",
            "localhost",
            "DNS:dapr-sidecar-injector.default.svc, URI:spiffe://localhost/ns/default/dapr-injector",
        ),
        (
            "dapr-operator",
            "default",
            "localhost",
            "DNS:dapr-webhook.default.svc, URI:spiffe://localhost/ns/default/dapr-operator",
        ),
        ("dapr-scheduler", "default", "localhost", scheduler.as_str()),
        (
            "dapr-placement",
            "default",
            "localhost",
            "URI:spiffe://localhost/ns/default/dapr-placement",
        ),
        (
            "dapr-operator",
            "other",
            "",
            "URI:spiffe://public/ns/other/dapr-operator",
        ),
        ("myapp", "default", "foo", "URI:spiffe://foo/ns/default/myapp"),
    ];
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    for (id, namespace, trust_domain, expected) in table {
        let request = SignCertificateRequest {
            id: id.to_owned(),
            namespace: namespace.to_owned(),
            trust_domain: trust_domain.to_owned(),
            ..request()?
        };
        let chain = pem(&lab.signed(&request).await?.workload_certificate);
        let text = openssl::text(&chain).await?;
        assert_eq!(extensions(&text).last(), Some(&expected), "{id} in {namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn lifetime_and_skew_are_those_of_the_configuration() -> Result<()> {
    let lab = Lab::new("{workloadCertTTL: 20s, allowedClockSkew: 0s}")?;
    let _sentry = lab.start().await?;
    let chain = pem(&lab.signed(&request()?).await?.workload_certificate);
    let block = first(&chain)?;
    let leaf = block.parse_x509()?;
    assert_eq!(
        leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp(),
        20
    );
    Ok(())
}

fn first(chain: &str) -> Result<Pem> {
    Ok(parse_x509_pem(chain.as_bytes())?.1)
}

/// The subject key id of a certificate, as the tool prints it.
async fn key_id(certificate: &str) -> Result<String> {
    let block = first(certificate)?;
    let certificate = block.parse_x509()?;
    let id = certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        });
    let bytes: Vec<_> = id
        .context("no key id")?
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    Ok(bytes.join(":"))
}

fn relabel(request: &mut SignCertificateRequest, label: &str) {
    let text = pem(&request.certificate_signing_request);
    request.certificate_signing_request = text.replace("CERTIFICATE REQUEST", label).into();
}

/// Flips the last bit of the signature.
fn forge(request: &mut SignCertificateRequest) {
    let text = pem(&request.certificate_signing_request);
    let (_, block) = parse_x509_pem(text.as_bytes()).expect("a PEM block");
    let mut contents = block.contents;
    *contents.last_mut().expect("a signature") ^= 1;
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, contents);
    request.certificate_signing_request =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n").into();
}
