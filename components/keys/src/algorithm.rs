//! Algorithms by their names.

use crate::error::KeyError;

/// An algorithm that can wrap a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// RFC 3394.
    KeyWrap(AesSize),
    /// CBC with the padding of PKCS#7.
    Cbc(AesSize),
    /// GCM with the tag beside the text.
    Gcm(AesSize),
    /// CBC with an HMAC (RFC 7518 5.2).
    CbcHmac(AesSize),
    /// RFC 8439.
    ChaCha,
    /// The same with a nonce of 24 bytes.
    XChaCha,
    /// Encryption of PKCS#1 1.5.
    RsaPkcs1,
    /// Optimal padding; the mask uses the same hash.
    RsaOaep(Hash),
}

/// How long an AES key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AesSize {
    Aes128,
    Aes192,
    Aes256,
}

/// The hash of optimal padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

// === impl Algorithm ===

impl Algorithm {
    /// The algorithm of a name in upper case.
    ///
    /// # Errors
    /// Any other name, those of agreements, signatures and CBC without padding among them.
    pub(crate) fn of(name: &str) -> Result<Self, KeyError> {
        use AesSize::{Aes128, Aes192, Aes256};
        Ok(match name {
            "A128KW" => Self::KeyWrap(Aes128),
            "A192KW" => Self::KeyWrap(Aes192),
            "A256KW" => Self::KeyWrap(Aes256),
            "A128CBC" => Self::Cbc(Aes128),
            "A192CBC" => Self::Cbc(Aes192),
            "A256CBC" => Self::Cbc(Aes256),
            "A128GCM" => Self::Gcm(Aes128),
            "A192GCM" => Self::Gcm(Aes192),
            "A256GCM" => Self::Gcm(Aes256),
            "A128CBC-HS256" => Self::CbcHmac(Aes128),
            "A192CBC-HS384" => Self::CbcHmac(Aes192),
            "A256CBC-HS512" => Self::CbcHmac(Aes256),
            "C20P" | "C20PKW" => Self::ChaCha,
            "XC20P" | "XC20PKW" => Self::XChaCha,
            "RSA1_5" => Self::RsaPkcs1,
            "RSA-OAEP" => Self::RsaOaep(Hash::Sha1),
            "RSA-OAEP-256" => Self::RsaOaep(Hash::Sha256),
            "RSA-OAEP-384" => Self::RsaOaep(Hash::Sha384),
            "RSA-OAEP-512" => Self::RsaOaep(Hash::Sha512),
            _ => return Err(KeyError::Unsupported),
        })
    }
}

// === impl AesSize ===

impl AesSize {
    /// Bytes of the key.
    pub(crate) const fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}
