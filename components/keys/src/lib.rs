//! Keys that a provider uses inside the sidecar: how they are written, what they may do, and how they do it.
//!
//! ```text
//! file, Secret, key set ──parse──▶ Key { material, usage }
//!                                    │ may it? is it of the right kind?
//!                                    ▼
//!                     AES key wrap │ AES-CBC │ AES-GCM │ CBC with HMAC │ (X)ChaCha20-Poly1305 │ RSA
//! ```
//!
//! [`Provider`] is a crypto provider over any [`KeySource`]: local files, key sets and Secrets differ only in where
//! their keys come from. Elliptic keys are read, but nothing here wraps with them. All primitives are those of
//! AWS-LC, but for HChaCha20, which it does not have.
//!
//! Source: specification, cryptography 3.

mod aes_kw;
mod algorithm;
mod error;
mod hchacha;
mod jwk;
mod key;
mod parse;
mod provider;
mod rsa;
mod symmetric;
#[cfg(test)]
mod testing;

pub use error::{KeyError, ParseError};
pub use jwk::parse_set;
pub use key::Key;
pub use parse::{JSON, PEM};
pub use provider::{KeySource, Provider};
