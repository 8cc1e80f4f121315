//! What can be wrong with a key, or with what it is to do.

/// Why a key did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The algorithm is unknown, or not for wrapping keys.
    #[error("unsupported algorithm")]
    Unsupported,
    /// The key is of another kind or size than the algorithm needs.
    #[error("key type mismatch")]
    KeyType,
    /// The nonce is not as long as the algorithm needs.
    #[error("invalid nonce")]
    Nonce,
    /// The tag is not as long as the algorithm makes it.
    #[error("invalid tag")]
    Tag,
    /// The algorithm cannot seal a text of this length.
    #[error("invalid plaintext length")]
    PlaintextLength,
    /// The algorithm does not make sealed texts of this length.
    #[error("invalid ciphertext length")]
    CiphertextLength,
    /// AES key wrap takes whole blocks of eight bytes.
    #[error("cek must be in 8-byte blocks")]
    KeyBlocks,
    /// The text was not wrapped with this key.
    #[error("integrity check failed - unexpected IV")]
    Integrity,
    /// The text was not sealed with this key, nonce and data.
    #[error("message authentication failed")]
    Authentication,
    /// The owner of the key says that it is not for this.
    #[error("key cannot perform the '{0}' operation")]
    Operation(&'static str),
    /// The owner of the key says that it is for another algorithm.
    #[error("key cannot be used with algorithm '{0}'")]
    Algorithm(String),
    /// The library refused without a reason.
    #[error("cryptographic operation failed")]
    Failed,
}

/// Why a text is not a key. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A web key that is no JSON, or lacks what its type needs.
    #[error("failed to parse JSON Web Key: {0}")]
    Jwk(&'static str),
    /// A text without a block that holds a key.
    #[error("failed to parse PEM key: {0}")]
    Pem(&'static str),
}

// === impl KeyError ===

impl From<aws_lc_rs::error::Unspecified> for KeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Failed
    }
}
