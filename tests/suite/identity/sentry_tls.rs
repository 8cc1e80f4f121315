//! How the authority speaks TLS.

use outrigger_test_kit::http::send_h2c;
use outrigger_test_kit::{HttpRequest, Result};

use super::authority::{Lab, request};
use super::openssl::{self, alert, extensions, s_client};

const DONE: Option<&str> = Some("Verify return code:");

#[tokio::test]
async fn the_authority_shows_its_identity_and_asks_for_none() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let anchors = lab.credentials().join("ca.crt").display().to_string();
    let text = s_client(
        lab.port,
        &["-alpn", "h2", "-CAfile", &anchors, "-showcerts"],
        DONE,
    )
    .await?;
    for line in [
        "ALPN protocol: h2",
        "New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256",
        "Verify return code: 0 (ok)",
        "No client certificate CA names sent",
        "Peer signature type: ed25519",
    ] {
        assert!(
            text.to_lowercase().contains(&line.to_lowercase()),
            "no {line:?} in\n{text}"
        );
    }
    assert!(
        !text.contains("Acceptable client certificate"),
        "no CertificateRequest"
    );
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "leaf and issuer");

    let begin = text.find("-----BEGIN CERTIFICATE").unwrap_or_default();
    let leaf = openssl::text(text.split_at(begin).1).await?;
    assert_eq!(
        extensions(&leaf).last(),
        Some(&"URI:spiffe://localhost/ns/default/dapr-sentry")
    );
    Ok(())
}

#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let old = s_client(lab.port, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], None).await?;
    assert_eq!(alert(&old), Some(70), "{old}");
    for suite in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ] {
        let text = s_client(lab.port, &["-tls1_2", "-alpn", "h2", "-cipher", suite], DONE).await?;
        assert!(
            text.contains(&format!("New, TLSv1.2, Cipher is {suite}")),
            "{suite}:\n{text}"
        );
    }
    for suite in ["ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"] {
        let text = s_client(lab.port, &["-tls1_2", "-alpn", "h2", "-cipher", suite], None).await?;
        assert_eq!(alert(&text), Some(40), "{suite}:\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn sessions_are_never_resumed() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let text = s_client(lab.port, &["-alpn", "h2", "-tls1_2"], DONE).await?;
    assert!(!text.contains("TLS session ticket:"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_client_without_tls_gets_nothing() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let _sentry = lab.start().await?;
    let url = format!("http://127.0.0.1:{}/", lab.port);
    assert!(send_h2c(&HttpRequest::new("POST", url)).await.is_err());
    assert_eq!(
        lab.sign(&request()?).await?.status,
        0,
        "others are served all the same"
    );
    Ok(())
}
