//! Whole documents over HTTP.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger_test_kit::{Daprd, Directory, Result};

use super::{World, manifest, openssl};
use crate::suite::world::resolving_to;

#[tokio::test]
async fn documents_come_back_with_every_kind_of_key() -> Result<()> {
    let world = World::start().await?;
    let text = vec![7; 200_000];
    for (key, algorithm, opens_with) in [
        ("aes", "A256KW", ""),
        ("raw", "aes", ""),
        ("pkcs1.pem", "RSA-OAEP-256", ""),
        ("pkcs8.pem", "RSA", "pkcs1.pem"),
        ("public.pem", "RSA", "pkcs8.pem"),
    ] {
        let document = world.encrypt(key, algorithm, &text).await?;
        assert_eq!(document.status, 200, "{}", document.text());
        assert_eq!(document.header("content-type"), Some("application/octet-stream"));
        assert!(document.body.starts_with(b"dapr.io/enc/v1\n{\"k\":\""));
        let headers = [("dapr-key-name", opens_with)];
        let headers = if opens_with.is_empty() { &[][..] } else { &headers };
        let opened = world.put("vault/decrypt", headers, &document.body).await?;
        assert_eq!(opened.status, 200, "{}", opened.text());
        assert!(opened.body == text, "{key}");
    }
    let labels = |success: &'static str| {
        [
            ("component", "vault"),
            ("operation", "crypto_op"),
            ("success", success),
        ]
    };
    let count = world
        .daprd
        .metric("dapr_component_crypto_count", &labels("true"))
        .await?;
    assert_eq!(count, Some(10.0));
    Ok(())
}

#[tokio::test]
async fn openssl_unwraps_the_key_of_a_document() -> Result<()> {
    let world = World::start().await?;
    let document = world.encrypt("public.pem", "RSA-OAEP-256", b"text").await?;
    let wrapped = manifest(&document.body)?["wfk"]
        .as_str()
        .map(|key| STANDARD.decode(key));
    world.keys.write("wrapped", wrapped.context("no key")??)?;
    let arguments = [
        "pkeyutl",
        "-decrypt",
        "-inkey",
        "pkcs8.pem",
        "-in",
        "wrapped",
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-pkeyopt",
        "rsa_oaep_md:sha256",
    ];
    assert_eq!(openssl(world.keys.path(), &arguments)?.len(), 32);
    Ok(())
}

#[tokio::test]
async fn a_document_says_what_its_maker_lets_it_say() -> Result<()> {
    let world = World::start().await?;
    let aes = ("dapr-key-wrap-algorithm", "A256KW");
    let key = ("dapr-key-name", "aes");
    let named = ("dapr-decryption-key-name", "raw");
    let cipher = ("dapr-data-encryption-cipher", "chacha20-poly1305");
    let document = world
        .put("vault/encrypt", &[aes, key, named, cipher], b"")
        .await?;
    let found = manifest(&document.body)?;
    assert_eq!(
        (&found["k"], &found["kw"], &found["cph"]),
        (&"raw".into(), &1.into(), &2.into())
    );

    let omitted = ("dapr-omit-decryption-key-name", "yes");
    let document = world.put("vault/encrypt", &[aes, key, omitted], b"text").await?;
    assert!(manifest(&document.body)?.get("k").is_none());
    let refused = world.put("vault/decrypt", &[], &document.body).await?;
    let text = "document's manifest does not contain a key name, and no key name was provided";
    assert_eq!(
        refused.text(),
        error("ERR_CRYPTO", &format!("failed to perform operation: {text}"))
    );
    let opened = world.put("vault/decrypt", &[key], &document.body).await?;
    assert_eq!((opened.status, opened.text().as_str()), (200, "text"));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_reason() -> Result<()> {
    let world = World::start().await?;
    let (key, aes) = (("dapr-key-name", "aes"), ("dapr-key-wrap-algorithm", "A256KW"));
    let failed = |reason: &str| {
        (
            500,
            "ERR_CRYPTO",
            format!("failed to perform operation: {reason}"),
        )
    };
    let bad = |reason: &str| (400, "ERR_BAD_REQUEST", format!("invalid request: {reason}"));
    let no_key = "failed to wrap the file key: failed to retrieve the key encryption key:";
    let table: Vec<(&str, Vec<(&str, &str)>, _)> = vec![
        ("vault/encrypt", vec![], bad("missing header 'dapr-key-name'")),
        (
            "vault/encrypt",
            vec![key],
            bad("missing header 'dapr-key-wrap-algorithm'"),
        ),
        (
            "other/encrypt",
            vec![],
            (
                400,
                "ERR_CRYPTO_PROVIDER_NOT_FOUND",
                "crypto provider other not found".to_owned(),
            ),
        ),
        (
            "vault/encrypt",
            vec![key, ("dapr-key-wrap-algorithm", "rot13")],
            failed("option Algorithm is not valid: algorithm ROT13 is not supported"),
        ),
        (
            "vault/encrypt",
            vec![key, aes, ("dapr-data-encryption-cipher", "none")],
            failed("option Cipher is not valid: cipher NONE is not supported"),
        ),
        (
            "vault/encrypt",
            vec![key, ("dapr-key-wrap-algorithm", "A256CBC-NOPAD")],
            failed("failed to wrap the file key: unsupported algorithm"),
        ),
        (
            "vault/encrypt",
            vec![("dapr-key-name", "curve.pem"), ("dapr-key-wrap-algorithm", "RSA")],
            failed("failed to wrap the file key: key type mismatch"),
        ),
        (
            "vault/encrypt",
            vec![("dapr-key-name", "absent"), aes],
            failed(&format!("{no_key} key not found")),
        ),
        (
            "vault/encrypt",
            vec![("dapr-key-name", "../x"), aes],
            failed(&format!("{no_key} invalid key path: cannot contain '..'")),
        ),
        (
            "vault/decrypt",
            vec![],
            failed("invalid header: unsupported scheme"),
        ),
    ];
    for (path, headers, (status, code, message)) in table {
        let reply = world.put(path, &headers, b"x\ny\n").await?;
        assert_eq!(
            (reply.status, reply.text()),
            (status, error(code, &message)),
            "{path}"
        );
    }
    let document = world.encrypt("aes", "A256KW", b"text").await?;
    let opened = world
        .put("vault/decrypt", &[("dapr-key-name", "raw")], &document.body)
        .await?;
    let expected = error(
        "ERR_CRYPTO",
        "failed to perform operation: failed to validate the document's signature",
    );
    assert_eq!((opened.status, opened.text()), (500, expected));
    Ok(())
}

#[tokio::test]
async fn without_a_provider_everything_is_refused() -> Result<()> {
    let daprd = Daprd::builder("app")?
        .configuration(&resolving_to(1))?
        .start()
        .await?;
    let keys = Directory::new()?;
    let world = World { daprd, keys };
    let refused = world.put("vault/encrypt", &[], b"").await?;
    let expected = error(
        "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED",
        "crypto providers not configured",
    );
    assert_eq!((refused.status, refused.text()), (500, expected));
    Ok(())
}

fn error(code: &str, message: &str) -> String {
    format!(r#"{{"errorCode":"{code}","message":"{message}"}}"#)
}
