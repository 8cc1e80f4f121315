//! Cryptography: documents that are sealed and opened while they stream through, under keys that a provider holds.
//!
//! ```text
//! plaintext ─▶ Conversion::encrypt ─▶ header │ segment │ segment │ …      the file key is wrapped by the provider
//! document  ─▶ Conversion::decrypt ─▶ plaintext, a segment at a time      … and unwrapped by it
//! ```
//!
//! A document is of the scheme `dapr.io/enc/v1`: three lines of header, then segments of 64 KiB that are sealed each
//! for itself. A [`Conversion`] holds one segment at most, whatever the length of the document; both edges of the API
//! feed it what arrives and pass on what it makes.
//!
//! Source: specification, cryptography 1 and 2.

mod conversion;
mod header;
mod options;
mod segments;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use outrigger_component::crypto::{CryptoProvider, KeyUse};
use outrigger_error::Error;
use zeroize::Zeroizing;

use crate::components::{Calls, Table};

pub(crate) use self::conversion::Conversion;
#[cfg(feature = "bench")]
pub(crate) use self::header::key_name;
pub(crate) use self::options::{EncryptOptions, EncryptRequest};

/// The providers of a sidecar and what applies to calls of them. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Crypto {
    providers: Table<dyn CryptoProvider>,
    calls: Calls,
}

/// One provider. Its calls run under the policies of the component, and are counted.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    name: String,
    provider: Arc<dyn CryptoProvider>,
    calls: Calls,
}

/// Why a document cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    /// The scheme does not know the algorithm.
    #[error("option Algorithm is not valid: algorithm {0} is not supported")]
    Algorithm(String),
    /// The scheme does not know the cipher.
    #[error("option Cipher is not valid: cipher {0} is not supported")]
    Cipher(String),
    /// The provider did not wrap the key of the document.
    #[error("failed to wrap the file key: {0}")]
    Wrap(String),
    /// The name of the key is too long to write down.
    #[error("header is too long")]
    HeaderTooLong,
    /// There are more segments than can be counted.
    #[error("input stream is too large")]
    TooLarge,
    /// What should be the header is none.
    #[error("invalid header: {0}")]
    Header(&'static str),
    /// Nobody says which key opens the document.
    #[error("document's manifest does not contain a key name, and no key name was provided")]
    NoKeyName,
    /// The third line is not base64.
    #[error("failed to decode header's signature: {0}")]
    SignatureEncoding(String),
    /// The header was not written with the key of the document.
    #[error("failed to validate the document's signature")]
    Signature,
    /// A segment was changed, moved, or cut off.
    #[error("error processing segment {0}: failed to decrypt segment")]
    Segment(u64),
    /// The library refused without a reason.
    #[error("cryptographic operation failed")]
    Failed,
}

/// Name of the operation in metrics.
const OPERATION: &str = "crypto_op";
/// Bytes of the key of a document.
const FILE_KEY: usize = 32;

// === impl Crypto ===

impl Crypto {
    /// A block over providers that come and go.
    pub(crate) fn new(providers: Table<dyn CryptoProvider>, calls: Calls) -> Self {
        Self { providers, calls }
    }

    /// The provider of a name.
    ///
    /// # Errors
    /// No provider is loaded, or none of that name.
    pub(crate) fn find(&self, name: &str) -> Result<Keys, Error> {
        if self.providers.is_empty() {
            return Err(Error::CryptoNotConfigured);
        }
        if name.is_empty() {
            return Err(Error::BadRequest("missing component name".to_owned()));
        }
        let provider = self.providers.find(name);
        let provider = provider.ok_or_else(|| Error::CryptoNotFound(name.to_owned()))?;
        Ok(Keys {
            name: name.to_owned(),
            provider,
            calls: self.calls.clone(),
        })
    }
}

// === impl Keys ===

impl Keys {
    /// Wraps the key of a document.
    async fn wrap(&self, file_key: &[u8], algorithm: &str, key_name: &str) -> Result<Vec<u8>, DocumentError> {
        let with = key_use(algorithm, key_name);
        let attempt = || self.provider.wrap_key(file_key, with);
        let wrapped = self.calls.run(&self.name, OPERATION, attempt).await;
        wrapped
            .map(|sealed| sealed.bytes)
            .map_err(|error| DocumentError::Wrap(error.to_string()))
    }

    /// Unwraps the key of a document; why it could not is for the log only.
    async fn unwrap(
        &self,
        wrapped: &[u8],
        algorithm: &str,
        key_name: &str,
    ) -> Option<Zeroizing<[u8; FILE_KEY]>> {
        let with = key_use(algorithm, key_name);
        let attempt = || self.provider.unwrap_key(wrapped, with);
        let unwrapped = self.calls.run(&self.name, OPERATION, attempt).await;
        let unwrapped = unwrapped.map(Zeroizing::new).inspect_err(
            |error| tracing::debug!(target: LOG, "failed to unwrap a key with '{}': {error}", self.name),
        );
        let mut key = Zeroizing::new([0; FILE_KEY]);
        let unwrapped = unwrapped.ok().filter(|unwrapped| unwrapped.len() == FILE_KEY)?;
        key.copy_from_slice(&unwrapped);
        Some(key)
    }
}

const LOG: &str = "dapr.runtime";

fn key_use<'a>(algorithm: &'a str, name: &'a str) -> KeyUse<'a> {
    KeyUse {
        name,
        algorithm,
        nonce: &[],
        tag: &[],
        associated_data: &[],
    }
}

// === impl DocumentError ===

impl From<aws_lc_rs::error::Unspecified> for DocumentError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Failed
    }
}

impl From<DocumentError> for Error {
    fn from(error: DocumentError) -> Self {
        Self::Crypto(error.to_string())
    }
}
