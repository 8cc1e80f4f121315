//! Wrapping with RSA: the public half seals, the private one opens.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use outrigger_component::crypto::KeyUse;
use zeroize::Zeroizing;

use crate::algorithm::{Algorithm, Hash};
use crate::error::KeyError;

/// Seals a text with a public key.
pub(crate) fn seal(
    algorithm: Algorithm,
    key: &PublicEncryptingKey,
    text: &[u8],
    with: KeyUse<'_>,
) -> Result<Vec<u8>, KeyError> {
    let mut sealed = vec![0; key.key_size_bytes()];
    let length = match algorithm {
        Algorithm::RsaPkcs1 => {
            let key = Pkcs1PublicEncryptingKey::new(key.clone())?;
            fits(text, key.max_plaintext_size())?;
            key.encrypt(text, &mut sealed)?.len()
        }
        Algorithm::RsaOaep(hash) => {
            let key = OaepPublicEncryptingKey::new(key.clone())?;
            fits(text, key.max_plaintext_size(padding(hash)))?;
            key.encrypt(padding(hash), text, &mut sealed, label(with))?.len()
        }
        _ => return Err(KeyError::KeyType),
    };
    sealed.truncate(length);
    Ok(sealed)
}

/// Opens a sealed text with a private key.
pub(crate) fn open(
    algorithm: Algorithm,
    key: &PrivateDecryptingKey,
    sealed: &[u8],
    with: KeyUse<'_>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if sealed.len() != key.key_size_bytes() {
        return Err(KeyError::CiphertextLength);
    }
    let mut text = Zeroizing::new(vec![0; key.key_size_bytes()]);
    let opened = match algorithm {
        Algorithm::RsaPkcs1 => {
            let key = Pkcs1PrivateDecryptingKey::new(key.clone())?;
            key.decrypt(sealed, &mut text).map(|text| text.len())
        }
        Algorithm::RsaOaep(hash) => {
            let key = OaepPrivateDecryptingKey::new(key.clone())?;
            let opened = key.decrypt(padding(hash), sealed, &mut text, label(with));
            opened.map(|text| text.len())
        }
        _ => return Err(KeyError::KeyType),
    };
    let length = opened.map_err(|_| KeyError::Authentication)?;
    text.truncate(length);
    Ok(text)
}

fn fits(text: &[u8], most: usize) -> Result<(), KeyError> {
    (text.len() <= most)
        .then_some(())
        .ok_or(KeyError::PlaintextLength)
}

fn label(with: KeyUse<'_>) -> Option<&[u8]> {
    Some(with.associated_data).filter(|data| !data.is_empty())
}

fn padding(hash: Hash) -> &'static OaepAlgorithm {
    match hash {
        Hash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        Hash::Sha384 => &OAEP_SHA384_MGF1SHA384,
        Hash::Sha512 => &OAEP_SHA512_MGF1SHA512,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use outrigger_identity::{der, pem};

    use super::*;
    use crate::testing::key_use;
    use crate::{Key, PEM};

    /// An RSA key in every form that it is written in: private ones, then public ones.
    fn forms() -> (Vec<Key>, Vec<Key>) {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let pkix = key.public_key().as_der().unwrap();
        let (fields, _) = der::read(pkcs8.as_ref()).unwrap();
        let values = |mut rest| {
            let mut values = Vec::new();
            while let Some((value, next)) = der::read(rest) {
                values.push(value.contents);
                rest = next;
            }
            values
        };
        let pkcs1 = values(fields.contents)[2];
        let numbers = values(der::read(pkcs1).unwrap().0.contents);
        let public = der::sequence(
            &[1, 2]
                .map(|index| der::unsigned_integer(numbers[index]))
                .each_ref()
                .map(Vec::as_slice),
        );
        let members = ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
        let members: Vec<_> = members.iter().zip(&numbers).skip(1).collect();
        let jwk = |count: usize| {
            let members: Vec<_> = members[..count]
                .iter()
                .map(|(name, number)| format!(r#""{name}":"{}""#, URL_SAFE_NO_PAD.encode(number)))
                .collect();
            format!(r#"{{"kty":"RSA",{}}}"#, members.join(","))
        };
        let parse = |text: &str, content_type| Key::parse(text.as_bytes(), content_type).unwrap();
        let private = vec![
            parse(&pem::encode("PRIVATE KEY", pkcs8.as_ref()), PEM),
            parse(&pem::encode("RSA PRIVATE KEY", pkcs1), ""),
            parse(&jwk(8), ""),
        ];
        let public = vec![
            parse(&pem::encode("PUBLIC KEY", pkix.as_ref()), PEM),
            parse(&pem::encode("RSA PUBLIC KEY", &public), ""),
            parse(&jwk(2), ""),
        ];
        (private, public)
    }

    #[test]
    fn a_key_is_the_same_in_every_form() {
        let (private, public) = forms();
        let text = [7; 32];
        for algorithm in [
            "RSA1_5",
            "RSA-OAEP",
            "RSA-OAEP-256",
            "RSA-OAEP-384",
            "RSA-OAEP-512",
        ] {
            let with = KeyUse {
                associated_data: b"label",
                ..key_use(algorithm)
            };
            for (private, public) in private.iter().zip(&public) {
                let sealed = public.wrap(&text, with).unwrap();
                assert_eq!(sealed.bytes.len(), 256);
                assert_eq!(*private.unwrap(&sealed.bytes, with).unwrap(), text, "{algorithm}");
                let sealed = private.wrap(&text, with).unwrap();
                assert_eq!(*private.unwrap(&sealed.bytes, with).unwrap(), text, "{algorithm}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (private, public) = forms();
        let with = key_use("RSA-OAEP-256");
        let refused = |outcome: Result<_, KeyError>| outcome.unwrap_err();
        assert_eq!(
            refused(public[0].wrap(&[0; 200], with).map(|_| ())),
            KeyError::PlaintextLength
        );
        assert_eq!(
            refused(private[0].unwrap(&[0; 3], with).map(|_| ())),
            KeyError::CiphertextLength
        );
        assert_eq!(
            refused(private[0].unwrap(&[0; 256], with).map(|_| ())),
            KeyError::Authentication
        );
        assert_eq!(
            refused(public[0].unwrap(&[0; 256], with).map(|_| ())),
            KeyError::KeyType
        );
        assert_eq!(
            refused(public[0].wrap(&[0; 16], key_use("A128KW")).map(|_| ())),
            KeyError::KeyType
        );
        assert_eq!(
            refused(public[0].wrap(&[0; 16], key_use("ECDH-ES")).map(|_| ())),
            KeyError::Unsupported
        );
    }
}
