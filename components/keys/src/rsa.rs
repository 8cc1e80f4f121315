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
