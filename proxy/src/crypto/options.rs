//! What a document is made with.

use super::DocumentError;

/// What a client asks for, as it writes it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncryptRequest<'a> {
    /// Name of the key that wraps the document's own.
    pub(crate) key_name: &'a str,
    /// How it wraps; names are read whatever their case.
    pub(crate) algorithm: &'a str,
    /// How the text is sealed; empty is the default.
    pub(crate) cipher: &'a str,
    /// Whether the document does not name the key that opens it.
    pub(crate) omits_key_name: bool,
    /// Another name of the key, under which it opens the document.
    pub(crate) decryption_key_name: &'a str,
}

/// What a document is made with, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncryptOptions {
    pub(super) key_name: String,
    pub(super) algorithm: WrapAlgorithm,
    pub(super) cipher: Cipher,
    /// The name in the document; empty if it has none.
    pub(super) named: String,
}

/// How the key of a document is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrapAlgorithm {
    Aes256KeyWrap,
    Aes128Cbc,
    Aes192Cbc,
    Aes256Cbc,
    RsaOaep256,
}

/// How the text of a document is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    AesGcm,
    ChaCha20Poly1305,
}

// === impl EncryptOptions ===

impl TryFrom<EncryptRequest<'_>> for EncryptOptions {
    type Error = DocumentError;

    fn try_from(request: EncryptRequest<'_>) -> Result<Self, DocumentError> {
        let named = match (request.omits_key_name, request.decryption_key_name) {
            (true, _) => "",
            (false, "") => request.key_name,
            (false, name) => name,
        };
        Ok(Self {
            key_name: request.key_name.to_owned(),
            algorithm: WrapAlgorithm::of_name(request.algorithm)?,
            cipher: Cipher::of_name(request.cipher)?,
            named: named.to_owned(),
        })
    }
}

// === impl WrapAlgorithm ===

impl WrapAlgorithm {
    const ALL: [Self; 5] = [
        Self::Aes256KeyWrap,
        Self::Aes128Cbc,
        Self::Aes192Cbc,
        Self::Aes256Cbc,
        Self::RsaOaep256,
    ];

    /// The name that providers know.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aes256KeyWrap => "A256KW",
            Self::Aes128Cbc => "A128CBC-NOPAD",
            Self::Aes192Cbc => "A192CBC-NOPAD",
            Self::Aes256Cbc => "A256CBC-NOPAD",
            Self::RsaOaep256 => "RSA-OAEP-256",
        }
    }

    /// The number in a manifest.
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Aes256KeyWrap => 1,
            Self::Aes128Cbc => 2,
            Self::Aes192Cbc => 3,
            Self::Aes256Cbc => 4,
            Self::RsaOaep256 => 5,
        }
    }

    pub(super) fn of_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|known| i64::from(known.id()) == id)
    }

    fn of_name(name: &str) -> Result<Self, DocumentError> {
        let name = name.to_uppercase();
        let known = match name.as_str() {
            "AES" => Some(Self::Aes256KeyWrap),
            "RSA" => Some(Self::RsaOaep256),
            name => Self::ALL.into_iter().find(|known| known.name() == name),
        };
        known.ok_or(DocumentError::Algorithm(name))
    }
}

// === impl Cipher ===

impl Cipher {
    /// The number in a manifest.
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::AesGcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    pub(super) fn of_id(id: i64) -> Option<Self> {
        match id {
            1 => Some(Self::AesGcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    fn of_name(name: &str) -> Result<Self, DocumentError> {
        let name = name.to_uppercase();
        match name.as_str() {
            "" | "AES-GCM" => Ok(Self::AesGcm),
            "CHACHA20-POLY1305" => Ok(Self::ChaCha20Poly1305),
            _ => Err(DocumentError::Cipher(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whatever_their_case() {
        let table = [
            ("A256KW", "", Ok((1, 1))),
            ("aes", "aes-gcm", Ok((1, 1))),
            ("a128cbc-nopad", "ChaCha20-Poly1305", Ok((2, 2))),
            ("A192CBC-NOPAD", "", Ok((3, 1))),
            ("A256CBC-NOPAD", "", Ok((4, 1))),
            ("rsa-oaep-256", "", Ok((5, 1))),
            ("RSA", "", Ok((5, 1))),
            (
                "rsa-oaep",
                "",
                Err("option Algorithm is not valid: algorithm RSA-OAEP is not supported"),
            ),
            (
                "",
                "",
                Err("option Algorithm is not valid: algorithm  is not supported"),
            ),
            (
                "AES",
                "aes-cbc",
                Err("option Cipher is not valid: cipher AES-CBC is not supported"),
            ),
        ];
        for (algorithm, cipher, expected) in table {
            let request = EncryptRequest {
                algorithm,
                cipher,
                ..EncryptRequest::default()
            };
            let options = EncryptOptions::try_from(request);
            let found = options.map(|options| (options.algorithm.id(), options.cipher.id()));
            assert_eq!(
                found.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned)
            );
        }
    }

    #[test]
    fn a_document_names_the_key_that_opens_it() {
        for (omits_key_name, decryption_key_name, named) in [
            (false, "", "key"),
            (false, "other", "other"),
            (true, "other", ""),
            (true, "", ""),
        ] {
            let options = EncryptOptions::try_from(EncryptRequest {
                key_name: "key",
                algorithm: "AES",
                omits_key_name,
                decryption_key_name,
                ..EncryptRequest::default()
            });
            assert_eq!(options.unwrap().named, named);
        }
    }

    #[test]
    fn numbers_of_manifests_lead_back() {
        for algorithm in WrapAlgorithm::ALL {
            assert_eq!(WrapAlgorithm::of_id(algorithm.id().into()), Some(algorithm));
        }
        for id in [-1, 0, 6, 257] {
            assert_eq!(WrapAlgorithm::of_id(id), None);
            assert_eq!(Cipher::of_id(id + 2).is_some(), id <= 0);
        }
    }
}
