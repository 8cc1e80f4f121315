//! A key, and what its owner lets it do.

use std::fmt;

use aws_lc_rs::rsa::{PrivateDecryptingKey, PublicEncryptingKey};
use outrigger_component::crypto::{KeyUse, Sealed};
use zeroize::Zeroizing;

use crate::algorithm::Algorithm;
use crate::error::{KeyError, ParseError};
use crate::{jwk, parse, rsa, symmetric};

/// A key with the limits of its use. Its debug form says of which kind it is and nothing more.
pub struct Key {
    pub(crate) material: Material,
    pub(crate) usage: Usage,
}

/// What a key is made of. Private parts are wiped when it is dropped.
pub(crate) enum Material {
    /// Bytes that both sides have.
    Symmetric(Zeroizing<Vec<u8>>),
    /// Both halves of an RSA key.
    RsaPrivate(PrivateDecryptingKey),
    /// The public half of an RSA key.
    RsaPublic(PublicEncryptingKey),
    /// A key on an elliptic curve, which wraps nothing.
    Curve,
}

/// What a web key says of its use; all of it may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) operations: Option<Vec<String>>,
    pub(crate) purpose: Option<String>,
    pub(crate) algorithm: Option<String>,
}

const WRAP: &str = "wrapKey";
const UNWRAP: &str = "unwrapKey";

// === impl Key ===

impl Key {
    /// Reads a key from a text of a type: [`JSON`](crate::JSON), [`PEM`](crate::PEM), or anything else, and then
    /// the text itself tells what it is.
    ///
    /// Bytes that are no web key and no PEM are a symmetric key, in base64 or as they are.
    ///
    /// # Errors
    /// A web key or a PEM text that does not hold a key.
    pub fn parse(content: &[u8], content_type: &str) -> Result<Self, ParseError> {
        let material = match parse::form(content, content_type) {
            parse::Form::Jwk => return jwk::parse(content),
            parse::Form::Pem => parse::pem(content)?,
            parse::Form::Bytes => Material::Symmetric(parse::symmetric(content)),
        };
        Ok(Self {
            material,
            usage: Usage::default(),
        })
    }

    /// Wraps a key with this one.
    ///
    /// # Errors
    /// If the owner does not allow it, or key, nonce or text are not what the algorithm takes.
    pub fn wrap(&self, text: &[u8], with: KeyUse<'_>) -> Result<Sealed, KeyError> {
        self.usage.permits(WRAP, with.algorithm)?;
        let algorithm = Algorithm::of(with.algorithm)?;
        let seal = |key: &PublicEncryptingKey| {
            let bytes = rsa::seal(algorithm, key, text, with)?;
            let tag = Vec::new();
            Ok(Sealed { bytes, tag })
        };
        match &self.material {
            Material::Symmetric(key) => symmetric::seal(algorithm, key, text, with),
            Material::RsaPrivate(key) => seal(&key.public_key()),
            Material::RsaPublic(key) => seal(key),
            Material::Curve => Err(KeyError::KeyType),
        }
    }

    /// Unwraps a key that was wrapped with this one.
    ///
    /// # Errors
    /// Those of [`wrap`](Self::wrap), and a text that was wrapped otherwise.
    pub fn unwrap(&self, sealed: &[u8], with: KeyUse<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.usage.permits(UNWRAP, with.algorithm)?;
        let algorithm = Algorithm::of(with.algorithm)?;
        match &self.material {
            Material::Symmetric(key) => symmetric::open(algorithm, key, sealed, with),
            Material::RsaPrivate(key) => rsa::open(algorithm, key, sealed, with),
            Material::RsaPublic(_) | Material::Curve => Err(KeyError::KeyType),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.material {
            Material::Symmetric(_) => "symmetric",
            Material::RsaPrivate(_) => "private RSA",
            Material::RsaPublic(_) => "public RSA",
            Material::Curve => "elliptic curve",
        };
        f.debug_struct("Key").field("kind", &kind).finish_non_exhaustive()
    }
}

// === impl Usage ===

impl Usage {
    /// Whether the key may wrap or unwrap with an algorithm.
    fn permits(&self, operation: &'static str, algorithm: &str) -> Result<(), KeyError> {
        let listed = |operations: &Vec<String>| operations.iter().any(|listed| listed == operation);
        let allowed = self.operations.as_ref().is_none_or(listed);
        if !allowed || self.purpose.as_ref().is_some_and(|purpose| purpose != "enc") {
            return Err(KeyError::Operation(operation));
        }
        if self.algorithm.as_ref().is_some_and(|own| own != algorithm) {
            return Err(KeyError::Algorithm(algorithm.to_owned()));
        }
        Ok(())
    }
}
