//! JSON web keys, signatures and tokens (RFC 7515, 7517, 7518, 7519), as far as identities need them.

mod algorithm;
mod claims;
mod jwk;
mod jws;

pub use algorithm::Algorithm;
pub use claims::{check_times, is_for};
pub use jwk::{Jwk, JwkSet, JwkSetError};
pub use jws::{Compact, Encoder};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Base64 of the URL alphabet without padding, the only one in these formats.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`encode`] writes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
