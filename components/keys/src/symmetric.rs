//! Sealing with keys that both sides have.

use aws_lc_rs::aead::{
    self, AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use aws_lc_rs::cipher::{
    self, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use outrigger_component::crypto::{KeyUse, Sealed};
use zeroize::Zeroizing;

use crate::aes_kw;
use crate::algorithm::{AesSize, Algorithm};
use crate::error::KeyError;
use crate::hchacha::subkey;

/// A block of AES, and the length of its vectors.
const BLOCK: usize = 16;
/// The tag of an AEAD.
const TAG: usize = 16;

/// Seals a text.
pub(crate) fn seal(
    algorithm: Algorithm,
    key: &[u8],
    text: &[u8],
    with: KeyUse<'_>,
) -> Result<Sealed, KeyError> {
    match algorithm {
        Algorithm::KeyWrap(size) => Ok(Sealed {
            bytes: aes_kw::wrap(size, sized(key, size.key_length())?, text)?,
            tag: Vec::new(),
        }),
        Algorithm::Cbc(size) => Ok(Sealed {
            bytes: seal_cbc(size, sized(key, size.key_length())?, text, with.nonce)?,
            tag: Vec::new(),
        }),
        Algorithm::CbcHmac(size) => {
            let composite = Composite::new(size, key)?;
            let bytes = seal_cbc(size, composite.encryption, text, with.nonce)?;
            let tag = composite.tag(&bytes, with);
            Ok(Sealed { bytes, tag })
        }
        Algorithm::Gcm(size) => seal_aead(gcm(size), sized(key, size.key_length())?, text, with),
        Algorithm::ChaCha => seal_aead(&CHACHA20_POLY1305, sized(key, 32)?, text, with),
        Algorithm::XChaCha => {
            let (key, nonce) = extended(key, with.nonce)?;
            seal_aead(
                &CHACHA20_POLY1305,
                &*key,
                text,
                KeyUse {
                    nonce: &nonce,
                    ..with
                },
            )
        }
        Algorithm::RsaPkcs1 | Algorithm::RsaOaep(_) => Err(KeyError::KeyType),
    }
}

/// Opens a sealed text.
pub(crate) fn open(
    algorithm: Algorithm,
    key: &[u8],
    sealed: &[u8],
    with: KeyUse<'_>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match algorithm {
        Algorithm::KeyWrap(size) => aes_kw::unwrap(size, sized(key, size.key_length())?, sealed),
        Algorithm::Cbc(size) => open_cbc(size, sized(key, size.key_length())?, sealed, with.nonce),
        Algorithm::CbcHmac(size) => {
            let composite = Composite::new(size, key)?;
            if with.tag.len() != size.key_length() {
                return Err(KeyError::Tag);
            }
            let expected = composite.tag(sealed, with);
            verify_slices_are_equal(&expected, with.tag).map_err(|_| KeyError::Authentication)?;
            open_cbc(size, composite.encryption, sealed, with.nonce)
        }
        Algorithm::Gcm(size) => open_aead(gcm(size), sized(key, size.key_length())?, sealed, with),
        Algorithm::ChaCha => open_aead(&CHACHA20_POLY1305, sized(key, 32)?, sealed, with),
        Algorithm::XChaCha => {
            let (key, nonce) = extended(key, with.nonce)?;
            open_aead(
                &CHACHA20_POLY1305,
                &*key,
                sealed,
                KeyUse {
                    nonce: &nonce,
                    ..with
                },
            )
        }
        Algorithm::RsaPkcs1 | Algorithm::RsaOaep(_) => Err(KeyError::KeyType),
    }
}

/// AES of a size.
pub(crate) fn aes(size: AesSize) -> &'static cipher::Algorithm {
    match size {
        AesSize::Aes128 => &cipher::AES_128,
        AesSize::Aes192 => &cipher::AES_192,
        AesSize::Aes256 => &cipher::AES_256,
    }
}

fn gcm(size: AesSize) -> &'static aead::Algorithm {
    match size {
        AesSize::Aes128 => &AES_128_GCM,
        AesSize::Aes192 => &AES_192_GCM,
        AesSize::Aes256 => &AES_256_GCM,
    }
}

fn sized(key: &[u8], length: usize) -> Result<&[u8], KeyError> {
    (key.len() == length).then_some(key).ok_or(KeyError::KeyType)
}

fn seal_aead(
    algorithm: &'static aead::Algorithm,
    key: &[u8],
    text: &[u8],
    with: KeyUse<'_>,
) -> Result<Sealed, KeyError> {
    let nonce = Nonce::try_assume_unique_for_key(with.nonce).map_err(|_| KeyError::Nonce)?;
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
    let mut bytes = text.to_vec();
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(with.associated_data), &mut bytes)?;
    let tag = tag.as_ref().to_vec();
    Ok(Sealed { bytes, tag })
}

fn open_aead(
    algorithm: &'static aead::Algorithm,
    key: &[u8],
    sealed: &[u8],
    with: KeyUse<'_>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let nonce = Nonce::try_assume_unique_for_key(with.nonce).map_err(|_| KeyError::Nonce)?;
    if with.tag.len() != TAG {
        return Err(KeyError::Tag);
    }
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
    let mut text = Zeroizing::new(vec![0; sealed.len()]);
    key.open_separate_gather(
        nonce,
        Aad::from(with.associated_data),
        sealed,
        with.tag,
        &mut text,
    )
    .map_err(|_| KeyError::Authentication)?;
    Ok(text)
}

fn seal_cbc(size: AesSize, key: &[u8], text: &[u8], nonce: &[u8]) -> Result<Vec<u8>, KeyError> {
    let vector: [u8; BLOCK] = nonce.try_into().map_err(|_| KeyError::Nonce)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(aes(size), key)?)?;
    let mut bytes = Vec::with_capacity(text.len() + BLOCK);
    bytes.extend_from_slice(text);
    key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(vector.into()))?;
    Ok(bytes)
}

fn open_cbc(size: AesSize, key: &[u8], sealed: &[u8], nonce: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let vector: [u8; BLOCK] = nonce.try_into().map_err(|_| KeyError::Nonce)?;
    if sealed.is_empty() || !sealed.len().is_multiple_of(BLOCK) {
        return Err(KeyError::CiphertextLength);
    }
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(aes(size), key)?)?;
    let mut text = Zeroizing::new(sealed.to_vec());
    let length = key
        .decrypt(&mut text, DecryptionContext::Iv128(vector.into()))?
        .len();
    text.truncate(length);
    Ok(text)
}

/// The key that HChaCha20 makes of the first part of a nonce, and the nonce that is left.
fn extended(key: &[u8], nonce: &[u8]) -> Result<(Zeroizing<[u8; 32]>, [u8; 12]), KeyError> {
    let key = key.try_into().map_err(|_| KeyError::KeyType)?;
    let nonce: &[u8; 24] = nonce.try_into().map_err(|_| KeyError::Nonce)?;
    let (first, rest) = nonce.split_first_chunk().expect("a nonce has more than 16 bytes");
    let mut short = [0; 12];
    let (_, end) = short.split_at_mut(4);
    end.copy_from_slice(rest);
    Ok((subkey(key, first), short))
}

/// The two halves of a key for CBC with an HMAC.
struct Composite<'a> {
    size: AesSize,
    authentication: &'a [u8],
    encryption: &'a [u8],
}

// === impl Composite ===

impl<'a> Composite<'a> {
    fn new(size: AesSize, key: &'a [u8]) -> Result<Self, KeyError> {
        let half = size.key_length();
        let (authentication, encryption) = sized(key, 2 * half)?.split_at(half);
        Ok(Self {
            size,
            authentication,
            encryption,
        })
    }

    fn tag(&self, sealed: &[u8], with: KeyUse<'_>) -> Vec<u8> {
        let algorithm = match self.size {
            AesSize::Aes128 => hmac::HMAC_SHA256,
            AesSize::Aes192 => hmac::HMAC_SHA384,
            AesSize::Aes256 => hmac::HMAC_SHA512,
        };
        let mut mac = hmac::Context::with_key(&hmac::Key::new(algorithm, self.authentication));
        let bits = 8 * with.associated_data.len() as u64;
        for part in [with.associated_data, with.nonce, sealed, &bits.to_be_bytes()] {
            mac.update(part);
        }
        let mut tag = mac.sign().as_ref().to_vec();
        tag.truncate(self.size.key_length());
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, key_use};

    /// The text of RFC 7518 B.
    const PRINCIPLE: &[u8] = b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience";

    fn lengths(algorithm: &str) -> (usize, usize, usize) {
        match algorithm {
            "A128KW" => (16, 0, 0),
            "A192KW" => (24, 0, 0),
            "A256KW" => (32, 0, 0),
            "A128CBC" => (16, 16, 0),
            "A192CBC" => (24, 16, 0),
            "A256CBC" => (32, 16, 0),
            "A128GCM" => (16, 12, 16),
            "A192GCM" => (24, 12, 16),
            "A256GCM" | "C20P" | "C20PKW" => (32, 12, 16),
            "A128CBC-HS256" => (32, 16, 16),
            "A192CBC-HS384" => (48, 16, 24),
            "A256CBC-HS512" => (64, 16, 32),
            _ => (32, 24, 16),
        }
    }

    #[test]
    fn what_is_sealed_opens_again_and_nothing_else_does() {
        for name in [
            "A128KW",
            "A192KW",
            "A256KW",
            "A128CBC",
            "A192CBC",
            "A256CBC",
            "A128GCM",
            "A192GCM",
            "A256GCM",
            "A128CBC-HS256",
            "A192CBC-HS384",
            "A256CBC-HS512",
            "C20P",
            "C20PKW",
            "XC20P",
            "XC20PKW",
        ] {
            let algorithm = Algorithm::of(name).unwrap();
            let (key_length, nonce_length, tag_length) = lengths(name);
            let (key, nonce) = (vec![5; key_length], vec![9; nonce_length]);
            let with = KeyUse {
                nonce: &nonce,
                associated_data: b"data",
                ..key_use(name)
            };
            let text = [1; 40];
            let sealed = seal(algorithm, &key, &text, with).unwrap();
            assert_eq!(sealed.tag.len(), tag_length, "{name}");
            let with = KeyUse {
                tag: &sealed.tag,
                ..with
            };
            assert_eq!(
                *open(algorithm, &key, &sealed.bytes, with).unwrap(),
                text,
                "{name}"
            );

            let short = vec![5; key_length - 1];
            assert_eq!(
                seal(algorithm, &short, &text, with),
                Err(KeyError::KeyType),
                "{name}"
            );
            assert_eq!(
                open(algorithm, &short, &sealed.bytes, with),
                Err(KeyError::KeyType),
                "{name}"
            );
            if nonce_length > 0 {
                let with = KeyUse {
                    nonce: &[0; 3],
                    ..with
                };
                assert_eq!(seal(algorithm, &key, &text, with), Err(KeyError::Nonce), "{name}");
            }
            if tag_length > 0 {
                let shorter = KeyUse { tag: &[0; 3], ..with };
                assert_eq!(
                    open(algorithm, &key, &sealed.bytes, shorter),
                    Err(KeyError::Tag),
                    "{name}"
                );
                let other = KeyUse {
                    associated_data: b"atad",
                    ..with
                };
                let opened = open(algorithm, &key, &sealed.bytes, other);
                assert_eq!(opened, Err(KeyError::Authentication), "{name}");
            }
        }
    }

    #[test]
    fn cbc_takes_whole_blocks_only() {
        let with = KeyUse {
            nonce: &[0; 16],
            ..key_use("A128CBC")
        };
        for length in [0, 1, 15, 17] {
            let opened = open(Algorithm::Cbc(AesSize::Aes128), &[1; 16], &vec![0; length], with);
            assert_eq!(opened, Err(KeyError::CiphertextLength));
        }
    }

    #[test]
    fn cbc_with_hmac_is_that_of_the_standard() {
        // RFC 7518 B.1: the tag and the first block.
        let key: Vec<u8> = (0..32).collect();
        let nonce = hex("1af38c2dc2b96ffdd86694092341bc04");
        let with = KeyUse {
            nonce: &nonce,
            associated_data: b"The second principle of Auguste Kerckhoffs",
            ..key_use("A128CBC-HS256")
        };
        let sealed = seal(Algorithm::CbcHmac(AesSize::Aes128), &key, PRINCIPLE, with).unwrap();
        assert_eq!(sealed.tag, hex("652c3fa36b0a7c5b3219fab3a30bc1c4"));
        assert_eq!(sealed.bytes[..16], hex("c80edfa32ddf39d5ef00c0b468834279"));
    }

    #[test]
    fn a_longer_nonce_works_as_in_the_draft() {
        // draft-irtf-cfrg-xchacha A.3.1.
        let key: Vec<u8> = (0x80..0xa0).collect();
        let nonce: Vec<u8> = (0x40..0x58).collect();
        let data = hex("50515253c0c1c2c3c4c5c6c7");
        let with = KeyUse {
            nonce: &nonce,
            associated_data: &data,
            ..key_use("XC20P")
        };
        let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let sealed = seal(Algorithm::XChaCha, &key, text, with).unwrap();
        assert_eq!(sealed.tag, hex("c0875924c1c7987947deafd8780acf49"));
        assert_eq!(sealed.bytes[..16], hex("bd6d179d3e83d43b9576579493c0e939"));
    }
}
