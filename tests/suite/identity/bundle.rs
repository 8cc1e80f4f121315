//! The bundle that an authority without files makes for itself.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use outrigger_test_kit::Result;
use time::Duration;
use x509_parser::pem::parse_x509_pem;

use super::authority::Lab;
use super::openssl::{self, extensions, field};

const YEAR: Duration = Duration::days(365);
const SKEW: Duration = Duration::minutes(15);

#[tokio::test]
async fn an_authority_without_files_makes_a_bundle_that_only_its_owner_can_read() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let sentry = lab.start().await?;
    for name in ["ca.crt", "issuer.crt", "issuer.key"] {
        let mode = std::fs::metadata(lab.credentials().join(name))?
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(lab.credentials())?.count(), 3);
    let key = lab.file("issuer.key")?;
    assert_eq!(key.len(), 119);
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS #8");
    openssl::verify(&lab.file("ca.crt")?, &lab.file("issuer.crt")?).await?;
    for line in [
        "Root and issuer certs not found: generating self signed CA",
        "Generating self-signed CA certs and persisting to store",
        "Self-signed certs and JWT root key generated and persisted successfully",
        "CA certificate key pair ready",
    ] {
        sentry.wait_for_line(&format!("msg=\"{line}\"")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn root_and_issuer_have_the_specified_profile() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;

    let root = openssl::text(&lab.file("ca.crt")?).await?;
    assert_eq!(field(&root, "Version:"), Some("3 (0x2)"));
    assert_eq!(field(&root, "Issuer:"), Some("O=localhost"));
    assert_eq!(field(&root, "Subject:"), Some("O=localhost"));
    assert_eq!(field(&root, "Public Key Algorithm:"), Some("ED25519"));
    assert_eq!(field(&root, "Signature Algorithm:"), Some("ED25519"));
    let [usage, usages, basic, ca, key_id, _] = extensions(&root)[..] else {
        panic!("other extensions: {root:?}")
    };
    assert_eq!(
        [usage, usages],
        [
            "X509v3 Key Usage: critical",
            "Digital Signature, Certificate Sign"
        ]
    );
    assert_eq!([basic, ca], ["X509v3 Basic Constraints: critical", "CA:TRUE"]);
    assert_eq!(key_id, "X509v3 Subject Key Identifier:");

    let issuer = openssl::text(&lab.file("issuer.crt")?).await?;
    assert_eq!(field(&issuer, "Issuer:"), Some("O=localhost"));
    assert_eq!(
        field(&issuer, "Subject:"),
        Some("O=spiffe://localhost/ns/default/dapr-sentry")
    );
    let [_, usages, basic, ca, key_id, _] = extensions(&issuer)[..] else {
        panic!("other extensions: {issuer:?}")
    };
    assert_eq!(usages, "Digital Signature, Certificate Sign, CRL Sign");
    assert_eq!([basic, ca], ["X509v3 Basic Constraints: critical", "CA:TRUE"]);
    assert_eq!(key_id, "X509v3 Subject Key Identifier:");

    for name in ["ca.crt", "issuer.crt"] {
        assert_eq!(lifetime(&lab.file(name)?)?, YEAR + SKEW, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn trust_domain_namespace_and_skew_go_into_the_bundle() -> Result<()> {
    let lab = Lab::new("{enabled: true, allowedClockSkew: 1h}")?;
    let program = |program: outrigger_test_kit::Program| {
        program
            .flag("trust-domain", "cluster_one.local")
            .env("NAMESPACE", "dapr-system")
    };
    let _sentry = lab.start_with(program).await?;
    let root = openssl::text(&lab.file("ca.crt")?).await?;
    assert_eq!(field(&root, "Subject:"), Some("O=cluster_one.local"));
    let issuer = openssl::text(&lab.file("issuer.crt")?).await?;
    assert_eq!(
        field(&issuer, "Subject:"),
        Some("O=spiffe://cluster_one.local/ns/dapr-system/dapr-sentry")
    );
    assert_eq!(lifetime(&lab.file("issuer.crt")?)?, YEAR + Duration::hours(1));
    Ok(())
}

#[tokio::test]
async fn an_existing_bundle_is_used_and_an_incomplete_one_replaced() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    assert!(lab.start().await?.stop().await?.success());
    let first = (
        lab.file("ca.crt")?,
        lab.file("issuer.crt")?,
        lab.file("issuer.key")?,
    );

    let mut sentry = lab.start().await?;
    sentry
        .wait_for_line("msg=\"Root and issuer certs found: using credentials from store\"")
        .await?;
    assert!(sentry.stop().await?.success());
    assert_eq!(
        first,
        (
            lab.file("ca.crt")?,
            lab.file("issuer.crt")?,
            lab.file("issuer.key")?
        )
    );

    std::fs::remove_file(lab.credentials().join("issuer.key"))?;
    assert!(lab.start().await?.stop().await?.success());
    assert_ne!(first.0, lab.file("ca.crt")?, "all files are made anew");
    assert_ne!(first.1, lab.file("issuer.crt")?);
    Ok(())
}

#[tokio::test]
async fn the_expiry_of_the_issuer_is_a_metric() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let expiry = lab.metric("dapr_sentry_issuercert_expiry_timestamp").await?;
    let (_, block) = parse_x509_pem(lab.file("issuer.crt")?.as_bytes())?;
    let not_after = block.parse_x509()?.validity().not_after.timestamp();
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    let expected = not_after as f64;
    assert_eq!(expiry, Some(expected));
    assert_eq!(
        lab.metric("dapr_sentry_issuercert_changed_total").await?,
        Some(1.0)
    );
    Ok(())
}

fn lifetime(pem: &str) -> Result<Duration> {
    let (_, block) = parse_x509_pem(pem.as_bytes())?;
    let certificate = block.parse_x509()?;
    let validity = certificate.validity();
    (validity.not_after - validity.not_before).context("it ends before it begins")
}
