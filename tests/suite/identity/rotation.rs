//! Files of the authority that change while it runs.

use std::time::Duration;

use outrigger_test_kit::{Authority, Result, until, until_within};

use super::authority::{Lab, pem, request};
use super::openssl;

#[tokio::test]
async fn a_new_issuer_is_taken_into_use_without_a_restart() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    Authority::new()?.write(&lab.credentials())?;
    let mut sentry = lab.start().await?;
    let before = pem(&lab.signed(&request()?).await?.workload_certificate);

    let second = Authority::new()?;
    second.write(&lab.credentials())?;
    // Files are looked at within 2 s; the rest is for a busy machine.
    let after = until_within(Duration::from_secs(10), "a leaf of the new issuer", async || {
        let answer = lab.signed(&request().ok()?).await.ok()?;
        (pem(answer.trust_chain_certificates.first()?) == second.anchors())
            .then(|| pem(&answer.workload_certificate))
    })
    .await?;
    openssl::verify(second.anchors(), &after).await?;
    assert!(openssl::verify(second.anchors(), &before).await.is_err());
    let changes = lab
        .metric("dapr_sentry_issuercert_changed_total")
        .await?
        .unwrap_or_default();
    assert!((1.0..=3.0).contains(&changes), "{changes} changes");
    sentry
        .wait_for_line("level=warning msg=\"Issuer credentials changed; reloading\"")
        .await?;
    let own = openssl::s_client(
        lab.port,
        &["-alpn", "h2", "-showcerts"],
        Some("Verify return code:"),
    )
    .await?;
    let begin = own.find("-----BEGIN CERTIFICATE").unwrap_or_default();
    openssl::verify(second.anchors(), own.split_at(begin).1).await?;
    assert!(sentry.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn leafs_of_old_and_new_root_are_valid_while_both_are_anchors() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    let (old, new) = (Authority::new()?, Authority::new()?);
    old.write(&lab.credentials())?;
    let _sentry = lab.start().await?;
    let leaf_of_old = pem(&lab.signed(&request()?).await?.workload_certificate);

    let both = format!("# old\n{}# new\n{}", old.anchors(), new.anchors());
    std::fs::write(lab.credentials().join("ca.crt"), &both)?;
    let plain = [old.anchors(), new.anchors()].concat();
    let anchors = until("both anchors in an answer", async || {
        let answer = lab.signed(&request().ok()?).await.ok()?;
        let anchors = pem(answer.trust_chain_certificates.first()?);
        (anchors.matches("BEGIN").count() == 2).then_some(anchors)
    })
    .await?;
    assert_eq!(anchors, plain, "without the comments");

    new.write(&lab.credentials())?;
    std::fs::write(lab.credentials().join("ca.crt"), &both)?;
    let leaf_of_new = until("a leaf of the new root", async || {
        let answer = lab.signed(&request().ok()?).await.ok()?;
        let chain = pem(&answer.workload_certificate);
        openssl::verify(new.anchors(), &chain)
            .await
            .is_ok()
            .then_some(chain)
    })
    .await?;
    // Each by itself: the tool does not try a second anchor of the same name.
    openssl::verify(old.anchors(), &leaf_of_old).await?;
    openssl::verify(new.anchors(), &leaf_of_new).await?;
    Ok(())
}

#[tokio::test]
async fn a_broken_file_ends_the_authority() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    Authority::new()?.write(&lab.credentials())?;
    let mut sentry = lab.start().await?;
    std::fs::write(lab.credentials().join("issuer.crt"), "broken")?;
    let status = sentry.exit().await?;
    assert_eq!(status.code(), Some(1));
    let line = sentry
        .wait_for_line("level=fatal msg=\"error creating CA: failed to get CA bundle: ")
        .await?;
    assert!(line.contains("failed to verify CA bundle: "), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_key_of_somebody_else_is_refused_at_the_start() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    Authority::new()?.write(&lab.credentials())?;
    let other = lab.directory.path().join("other");
    Authority::new()?.write(&other)?;
    std::fs::copy(other.join("issuer.key"), lab.credentials().join("issuer.key"))?;
    let (status, sentry) = lab.program()?.run().await?;
    assert_eq!(status.code(), Some(1));
    sentry
        .wait_for_line("failed to verify CA bundle: issuer key does not match issuer certificate")
        .await?;
    assert_eq!(sentry.stderr(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_missing_folder_is_named() -> Result<()> {
    let lab = Lab::new("{enabled: true}")?;
    std::fs::remove_dir(lab.credentials())?;
    let (status, sentry) = lab.program()?.run().await?;
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "level=fatal msg=\"failed to add target {}: no such file or directory\"",
        lab.credentials().display()
    );
    sentry.wait_for_line(&expected).await?;
    Ok(())
}

#[tokio::test]
async fn the_own_certificate_is_renewed_in_time() -> Result<()> {
    let lab = Lab::new("{workloadCertTTL: 4s, allowedClockSkew: 0s}")?;
    let _sentry = lab.start().await?;
    let mut seen = std::collections::BTreeSet::new();
    until("three certificates, each valid", async || {
        let shown = openssl::s_client(
            lab.port,
            &["-alpn", "h2", "-showcerts"],
            Some("Verify return code:"),
        )
        .await
        .ok()?;
        let begin = shown.find("-----BEGIN CERTIFICATE")?;
        let chain = shown.split_at(begin).1;
        openssl::verify(&lab.file("ca.crt").ok()?, chain)
            .await
            .expect("a valid certificate at every moment");
        let end = chain.find("-----END")?;
        seen.insert(chain.split_at(end).0.to_owned());
        (seen.len() >= 3).then_some(())
    })
    .await
}
