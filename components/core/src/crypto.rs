//! Providers of cryptographic keys: they use keys by name and do not give private ones away.
//!
//! Source: specification, cryptography.

use std::fmt;

use outrigger_svc::{BoxError, BoxFuture};

/// Keys by name, and what can be done with them.
///
/// Algorithm names are those of JSON Web Algorithms, in upper case.
pub trait CryptoProvider: fmt::Debug + Send + Sync + 'static {
    /// Wraps a symmetric key.
    ///
    /// # Errors
    /// `unsupported algorithm`, `failed to retrieve the key encryption key: …` and those of the key itself.
    fn wrap_key<'a>(&'a self, key: &'a [u8], with: KeyUse<'a>) -> BoxFuture<'a, Result<Sealed, BoxError>>;

    /// Unwraps a symmetric key.
    ///
    /// # Errors
    /// Those of [`wrap_key`](Self::wrap_key), and a wrapped key that is not from this one.
    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        with: KeyUse<'a>,
    ) -> BoxFuture<'a, Result<Vec<u8>, BoxError>>;

    /// Ends what runs in the background and closes connections.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A key and how it is used.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse<'a> {
    /// Name of the key, perhaps with its version.
    pub name: &'a str,
    /// Algorithm, such as `A256KW`.
    pub algorithm: &'a str,
    /// Nonce of algorithms that have one; else empty.
    pub nonce: &'a [u8],
    /// Tag of algorithms that check one; else empty.
    pub tag: &'a [u8],
    /// Data that are authenticated with the text; often empty.
    pub associated_data: &'a [u8],
}

/// What sealing makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The sealed bytes.
    pub bytes: Vec<u8>,
    /// Tag of algorithms that have one beside them; else empty.
    pub tag: Vec<u8>,
}
