//! The forms that keys are written in.

use aws_lc_rs::rsa::{PrivateDecryptingKey, PublicEncryptingKey};
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use outrigger_identity::der::{self, tag};
use outrigger_identity::pem;
use zeroize::Zeroizing;

use crate::error::ParseError;
use crate::key::Material;

/// The content type of a JSON web key.
pub const JSON: &str = "application/json";
/// The content type of PEM text.
pub const PEM: &str = "application/x-pem-file";
/// Another content type of PEM text.
const PKCS8: &str = "application/pkcs8";

/// How a content is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Jwk,
    Pem,
    Bytes,
}

/// Reads base64 with or without its padding, the last digit's spare bits whatever they are.
const fn lenient(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

const BASE64: GeneralPurpose = lenient(&STANDARD);
const BASE64_URL: GeneralPurpose = lenient(&URL_SAFE);

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// How a content of a type is to be read.
pub(crate) fn form(content: &[u8], content_type: &str) -> Form {
    match content_type {
        JSON => Form::Jwk,
        PEM | PKCS8 => Form::Pem,
        _ if content.starts_with(b"{") && !matches!(content.len(), 16 | 24 | 32) => Form::Jwk,
        _ if content.starts_with(b"-----") && content.len() > 10 => Form::Pem,
        _ => Form::Bytes,
    }
}

/// A symmetric key in base64 of either alphabet, or as it is.
pub(crate) fn symmetric(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut digits = content;
    while let [rest @ .., b'\n' | b'\r' | b'='] = digits {
        digits = rest;
    }
    let decoded = BASE64.decode(digits).or_else(|_| BASE64_URL.decode(digits));
    Zeroizing::new(decoded.unwrap_or_else(|_| content.to_vec()))
}

/// The bytes of a member of a web key, in base64 of either alphabet.
pub(crate) fn member(digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    let decoded = BASE64_URL.decode(digits).or_else(|_| BASE64.decode(digits));
    decoded.ok().map(Zeroizing::new)
}

/// The first key of a PEM text.
pub(crate) fn pem(content: &[u8]) -> Result<Material, ParseError> {
    let block = pem::blocks(content).next();
    let block = block.ok_or(ParseError::Pem("no block found"))?;
    let contents = Zeroizing::new(block.contents);
    match block.label.as_str() {
        pem::PRIVATE_KEY => private(&contents),
        "PUBLIC KEY" => public(&contents),
        "RSA PRIVATE KEY" => rsa_private(&contents).ok_or(ParseError::Pem("invalid RSA private key")),
        "RSA PUBLIC KEY" => rsa_public(&contents).ok_or(ParseError::Pem("invalid RSA public key")),
        "EC PRIVATE KEY" => Ok(Material::Curve),
        _ => Err(ParseError::Pem("unsupported block")),
    }
}

/// A private key in PKCS#8.
fn private(encoding: &[u8]) -> Result<Material, ParseError> {
    let invalid = ParseError::Pem("invalid PKCS#8 key");
    let fields = der::read(encoding).map(|(key, _)| key.contents);
    // Version, then the algorithm.
    let algorithm = fields.and_then(der::read).and_then(|(_, rest)| algorithm(rest));
    match algorithm {
        Some(RSA) => PrivateDecryptingKey::from_pkcs8(encoding)
            .map(Material::RsaPrivate)
            .map_err(|_| invalid),
        Some(_) => Ok(Material::Curve),
        None => Err(invalid),
    }
}

/// A public key in PKIX.
fn public(encoding: &[u8]) -> Result<Material, ParseError> {
    let invalid = ParseError::Pem("invalid PKIX key");
    let fields = der::read(encoding).map(|(key, _)| key.contents);
    match fields.and_then(algorithm) {
        Some(RSA) => PublicEncryptingKey::from_der(encoding)
            .map(Material::RsaPublic)
            .map_err(|_| invalid),
        Some(_) => Ok(Material::Curve),
        None => Err(invalid),
    }
}

/// The identifier of an algorithm that an encoding begins with.
fn algorithm(encoding: &[u8]) -> Option<&[u8]> {
    let (algorithm, _) = der::read(encoding)?;
    let (identifier, _) = der::read(algorithm.contents)?;
    (identifier.tag == tag::OBJECT_IDENTIFIER).then_some(identifier.contents)
}

/// An RSA key in PKCS#1, or the members of one put so.
pub(crate) fn rsa_private(encoding: &[u8]) -> Option<Material> {
    let encoding = Zeroizing::new(der::sequence(&[
        &der::unsigned_integer(&[0]),
        &rsa_identifier(),
        &Zeroizing::new(der::value(tag::OCTET_STRING, encoding)),
    ]));
    let key = PrivateDecryptingKey::from_pkcs8(&encoding).ok()?;
    Some(Material::RsaPrivate(key))
}

/// The public half of an RSA key in PKCS#1.
pub(crate) fn rsa_public(encoding: &[u8]) -> Option<Material> {
    let encoding = der::sequence(&[&rsa_identifier(), &der::bit_string(encoding)]);
    let key = PublicEncryptingKey::from_der(&encoding).ok()?;
    Some(Material::RsaPublic(key))
}

fn rsa_identifier() -> Vec<u8> {
    der::sequence(&[
        &der::value(tag::OBJECT_IDENTIFIER, RSA),
        &der::value(tag::NULL, &[]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_type_and_content() {
        let table: [(&[u8], &str, Form); 10] = [
            (b"x", JSON, Form::Jwk),
            (b"{}", PEM, Form::Pem),
            (b"{}", "application/pkcs8", Form::Pem),
            (b"{}", "", Form::Jwk),
            (b"{234567890123456", "", Form::Bytes),
            (b"{2345678901234567", "", Form::Jwk),
            (b"-----BEGIN X", "", Form::Pem),
            (b"-----12345", "", Form::Bytes),
            (b"AAAA", "Opaque", Form::Bytes),
            (b"", "", Form::Bytes),
        ];
        for (content, content_type, expected) in table {
            assert_eq!(form(content, content_type), expected, "{content:?}");
        }
    }

    #[test]
    fn symmetric_keys_are_base64_if_they_can_be() {
        let table: [(&[u8], &[u8]); 7] = [
            (b"aGVsbG8=", b"hello"),
            (b"aGVsbG8\n", b"hello"),
            (b"aGVsbG8=\r\n", b"hello"),
            (b"+/+/", &[0xfb, 0xff, 0xbf]),
            (b"-_-_", &[0xfb, 0xff, 0xbf]),
            (b"not base64!", b"not base64!"),
            (b"!ends with =", b"!ends with ="),
        ];
        for (content, expected) in table {
            assert_eq!(*symmetric(content), expected, "{content:?}");
        }
        // Thirty-two letters are 24 bytes, however they were meant.
        assert_eq!(symmetric(&[b'A'; 32]).len(), 24);
    }
}
