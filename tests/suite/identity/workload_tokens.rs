//! Tokens that a sidecar shows to sentry, and those it gets from it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use outrigger_test_kit::{Authority, Daprd, Directory, Result, isolated, until};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;

use super::super::process::messages;
use super::authority::Lab;

/// The key of an issuer of tokens that sentry knows by its key set.
struct Key(KeyPair);

// === impl Key ===

impl Key {
    fn new() -> Result<Self> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// The key set.
    fn document(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key_raw());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k", "x": x });
        json!({ "keys": [key] }).to_string()
    }

    /// The key set in base64, as an option.
    fn set(&self) -> String {
        STANDARD.encode(self.document())
    }

    /// The key itself.
    fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    fn token(&self, subject: &str, id: &str) -> Result<String> {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some("k".to_owned());
        let claims = json!({ "sub": subject, "aud": "spiffe://localhost/ns/default/dapr-sentry", "jti": id });
        let key = jsonwebtoken::EncodingKey::from_ed_pem(self.0.serialize_pem().as_bytes())?;
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }
}

#[test]
fn a_token_file_is_read_for_every_request() {
    isolated!(async {
        let key = Key::new()?;
        let lab = Lab::new(&format!(
            "{{workloadCertTTL: 4s, allowedClockSkew: 0s, tokenValidators: [{{name: jwks, options: {{source: '{}'}}}}]}}",
            key.set()
        ))?;
        let sentry = lab.start().await?;
        let directory = Directory::new()?;
        let token = key.token("spiffe://public/ns/default/x", "1")?;
        let file = directory.write("token", &token)?;
        let sidecar = |file: &str| -> Result<Daprd> {
            Daprd::builder("x")?
                .flag("enable-mtls", true)
                .flag("sentry-address", format_args!("127.0.0.1:{}", lab.port))
                .env("DAPR_TRUST_ANCHORS", &lab.file("ca.crt")?)
                .env("DAPR_SENTRY_TOKEN_FILE", file)
                .spawn()
        };
        for (file, text) in [
            (
                "",
                "environmental variable DAPR_SENTRY_TOKEN_FILE is set with an empty value",
            ),
            ("/nowhere/token", "failed to read token file '/nowhere/token': "),
        ] {
            let mut daprd = sidecar(file)?;
            assert_eq!(daprd.process.exit().await?.code(), Some(1));
            let last = messages(&daprd.process).pop().unwrap_or_default();
            assert!(last.contains(text), "{last}");
        }

        let daprd = sidecar(&file.display().to_string())?;
        daprd.ready().await?;
        daprd
            .process
            .wait_for_line("Successfully renewed workload identity; ")
            .await?;
        std::fs::write(&file, key.token("spiffe://public/ns/default/other", "2")?)?;
        let refusal = daprd
            .process
            .wait_for_line("Error renewing identity, trying again in 10 seconds: ")
            .await?;
        assert!(
            refusal.contains("token validation failed: \\\"sub\\\" not satisfied: values do not match"),
            "{refusal}"
        );
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204, "it stays up");
        let failures = "dapr_runtime_mtls_workload_cert_rotated_fail_total";
        assert_eq!(
            daprd
                .metric(failures, &[("app_id", "x"), ("reason", "sign")])
                .await?,
            Some(1.0)
        );
        std::fs::remove_file(&file)?;
        daprd
            .process
            .wait_for_lines("Error renewing identity, trying again in 10 seconds: ", 2)
            .await?;
        assert_eq!(
            daprd
                .metric(failures, &[("app_id", "x"), ("reason", "sentry_token")])
                .await?,
            Some(1.0)
        );
        std::fs::write(&file, &token)?;
        let renewals = daprd
            .process
            .lines_with("Successfully renewed workload identity; ")
            .len();
        until("a renewal with the right token", async || {
            let now = daprd
                .process
                .lines_with("Successfully renewed workload identity; ")
                .len();
            (now > renewals).then_some(())
        })
        .await?;
        drop(sentry);
        Ok(())
    });
}

#[test]
fn tokens_are_asked_for_with_the_audiences_of_the_option() {
    isolated!(async {
        let lab = Lab::new("{enabled: true}")?;
        let _sentry = lab
            .start_with(|program| program.flag("jwt-enabled", true))
            .await?;
        let daprd = Daprd::builder("x")?
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", lab.port))
            .flag("sentry-request-jwt-audiences", "a1,a2")
            .env("DAPR_TRUST_ANCHORS", &lab.file("ca.crt")?)
            .start()
            .await?;
        daprd.process.wait_for_line(", jwt expires on: ").await?;
        Ok(())
    });
}

#[test]
fn a_token_that_a_sidecar_cannot_use_is_refused() {
    isolated!(async {
        let lab = Lab::new("{enabled: true}")?;
        Authority::new()?.write(&lab.credentials())?;
        let key = Key::new()?;
        std::fs::write(lab.credentials().join("jwt.key"), key.pem())?;
        std::fs::write(lab.credentials().join("jwks.json"), key.document())?;
        let _sentry = lab
            .start_with(|program| {
                program
                    .flag("jwt-enabled", true)
                    .flag("jwt-signing-algorithm", "EdDSA")
            })
            .await?;
        let mut daprd = Daprd::builder("x")?
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", lab.port))
            .env("DAPR_TRUST_ANCHORS", &lab.file("ca.crt")?)
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert!(
            last.starts_with("Fatal error from runtime: failed to retrieve the initial identity: "),
            "{last}"
        );
        Ok(())
    });
}
