//! X.509 certificates, parsed once into the facts that verification asks for.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{X509Name, X509Version};

use crate::{der, pem};
use extensions::Extensions;

mod extensions;

/// The facts of one certificate. Clones share the bytes of the encoding.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    encoding: Bytes,
    tbs: Bytes,
    issuer: Bytes,
    subject: Bytes,
    subject_name: String,
    is_version_3: bool,
    not_before: SystemTime,
    not_after: SystemTime,
    public_key_info: Bytes,
    key_algorithm: Bytes,
    public_key: Bytes,
    signature_algorithm: Bytes,
    signature: Bytes,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    subject_key_id: Option<Bytes>,
    authority_key_id: Option<Bytes>,
    names: Names,
    name_constraints: Option<NameConstraints>,
    unhandled_critical_extension: Option<String>,
}

/// Whether a certificate is an authority, and how many authorities may stand below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// The certificate may issue others.
    pub is_authority: bool,
    /// How many intermediates may follow before the leaf; any number if absent.
    pub path_length: Option<u32>,
}

/// The uses of a key that a certificate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// Signing certificates.
    pub cert_sign: bool,
    /// Signing revocation lists.
    pub crl_sign: bool,
}

/// The subject alternative names of a certificate, by kind; other kinds are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// URIs, as written.
    pub uri: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Mail addresses.
    pub mail: Vec<String>,
    /// IP addresses of 4 or 16 bytes.
    pub ip: Vec<Vec<u8>>,
}

/// The names that an authority may, or may not, issue certificates for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// If a kind has entries here, every name of that kind must match one.
    pub permitted: Names,
    /// No name may match one of these. IP entries are an address and a mask.
    pub excluded: Names,
}

/// Where a moment lies in relation to a certificate's validity period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Before its start.
    NotYet,
    /// Within it.
    Valid,
    /// After its end.
    Expired,
}

/// Why bytes are no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The encoding is broken.
    #[error("x509: malformed certificate")]
    Malformed,
    /// Bytes follow the certificate.
    #[error("x509: trailing data")]
    TrailingData,
    /// The algorithm inside the signed part is not the one outside.
    #[error("x509: inner and outer signature algorithm identifiers don't match")]
    SignatureAlgorithms,
    /// An extension is there twice.
    #[error("x509: certificate contains duplicate extensions")]
    DuplicateExtension,
    /// An extension is broken.
    #[error("x509: malformed extension {0}")]
    Extension(String),
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is not by this key.
    #[error("{0}")]
    Invalid(&'static str),
    /// The pair of key and signature is of no supported kind.
    #[error("x509: cannot verify signature: algorithm unimplemented")]
    Unsupported,
}

/// Checks a signature; both algorithms are given as the contents of their `AlgorithmIdentifier`.
///
/// # Errors
/// When the signature is wrong, or no supported algorithm fits key and signature.
pub fn verify_signature(
    algorithms: WebPkiSupportedAlgorithms,
    key_algorithm: &[u8],
    public_key: &[u8],
    signature_algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let algorithm = algorithms
        .all
        .iter()
        .find(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.signature_alg_id().as_ref() == signature_algorithm
        })
        .ok_or(SignatureError::Unsupported)?;
    algorithm
        .verify_signature(public_key, message, signature)
        .map_err(|_| SignatureError::Invalid(signature_failure(key_algorithm)))
}

/// Cuts a `SubjectPublicKeyInfo` into the contents of its `AlgorithmIdentifier` and the bits of the key.
#[must_use]
pub fn split_public_key_info(encoding: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, []) = der::read(encoding)? else {
        return None;
    };
    let (algorithm, rest) = der::read(info.contents)?;
    let (key, []) = der::read(rest)? else { return None };
    let bits = key.contents.strip_prefix(&[0])?;
    let well_formed = info.tag == der::tag::SEQUENCE
        && algorithm.tag == der::tag::SEQUENCE
        && key.tag == der::tag::BIT_STRING;
    well_formed.then_some((algorithm.contents, bits))
}

// === impl Certificate ===

impl Certificate {
    /// Parses one certificate.
    ///
    /// # Errors
    /// When the bytes are not exactly one well-formed certificate.
    pub fn parse(encoding: &[u8]) -> Result<Self, CertificateError> {
        let encoding = Bytes::copy_from_slice(encoding);
        let (rest, certificate) =
            X509Certificate::from_der(&encoding).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingData);
        }
        if certificate.signature != certificate.signature_algorithm {
            return Err(CertificateError::SignatureAlgorithms);
        }
        let signature_algorithm = outer_algorithm(&encoding).ok_or(CertificateError::Malformed)?;
        let (key_algorithm, public_key) =
            split_public_key_info(certificate.public_key().raw).ok_or(CertificateError::Malformed)?;
        let extensions = Extensions::collect(&certificate)?;
        let part = |bytes: &[u8]| encoding.slice_ref(bytes);
        Ok(Self {
            tbs: part(certificate.tbs_certificate.as_ref()),
            issuer: part(certificate.issuer().as_raw()),
            subject: part(certificate.subject().as_raw()),
            subject_name: display_name(certificate.subject()),
            is_version_3: certificate.version() == X509Version::V3,
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
            public_key_info: part(certificate.public_key().raw),
            key_algorithm: part(key_algorithm),
            public_key: part(public_key),
            signature_algorithm: part(signature_algorithm),
            signature: part(&certificate.signature_value.data),
            basic_constraints: extensions.basic_constraints,
            key_usage: extensions.key_usage,
            subject_key_id: extensions.subject_key_id.map(part),
            authority_key_id: extensions.authority_key_id.map(part),
            names: extensions.names,
            name_constraints: extensions.name_constraints,
            unhandled_critical_extension: extensions.unhandled_critical,
            encoding,
        })
    }

    /// The whole encoding.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.encoding
    }

    /// The whole encoding as TLS sends it.
    #[must_use]
    pub fn to_der(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.encoding.to_vec())
    }

    /// The certificate as a PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.encoding)
    }

    /// The subject name's encoding: what the issuer field of an issued certificate must repeat byte for byte.
    #[must_use]
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The issuer name's encoding.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// What an operator knows the subject by: its common name, else its organisation, else nothing.
    #[must_use]
    pub fn subject_name(&self) -> &str {
        &self.subject_name
    }

    /// First moment of the validity period.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Last moment of the validity period.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// `SubjectPublicKeyInfo` of the subject.
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }

    /// The bits of the subject's key.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The basic constraints, if stated.
    #[must_use]
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.basic_constraints
    }

    /// The key usage, if stated.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    /// The subject key id, if stated.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// The id of the issuer's key, if stated.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// The subject alternative names.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The name constraints, if stated.
    #[must_use]
    pub fn name_constraints(&self) -> Option<&NameConstraints> {
        self.name_constraints.as_ref()
    }

    /// Object identifier of a critical extension that nothing here understands.
    #[must_use]
    pub fn unhandled_critical_extension(&self) -> Option<&str> {
        self.unhandled_critical_extension.as_deref()
    }

    /// Whether the certificate is of version 3 and says that it is an authority.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.is_version_3
            && self
                .basic_constraints
                .is_some_and(|constraints| constraints.is_authority)
    }

    /// Whether the certificate is signed by its own key.
    #[must_use]
    pub fn is_self_signed(&self, algorithms: WebPkiSupportedAlgorithms) -> bool {
        self.subject == self.issuer && self.verify_issued_by(self, algorithms).is_ok()
    }

    /// Checks that the certificate is signed by the key of `issuer`, and nothing else about the two.
    ///
    /// # Errors
    /// When the signature is wrong or of no supported kind.
    pub fn verify_issued_by(
        &self,
        issuer: &Self,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<(), SignatureError> {
        verify_signature(
            algorithms,
            &issuer.key_algorithm,
            &issuer.public_key,
            &self.signature_algorithm,
            &self.tbs,
            &self.signature,
        )
    }

    /// Whether `now` lies in the validity period, both ends included.
    #[must_use]
    pub fn validity(&self, now: SystemTime) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject_name)
            .field("uri", &self.names.uri)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

// === impl Names ===

impl Names {
    /// Whether there is no name of any kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uri.is_empty() && self.dns.is_empty() && self.mail.is_empty() && self.ip.is_empty()
    }
}

/// The contents of the `AlgorithmIdentifier` that stands between the signed part and the signature.
fn outer_algorithm(encoding: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = der::read(encoding)?;
    let (_tbs, rest) = der::read(certificate.contents)?;
    let (algorithm, _) = der::read(rest)?;
    Some(algorithm.contents)
}

fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn display_name(name: &X509Name<'_>) -> String {
    name.iter_common_name()
        .chain(name.iter_organization())
        .find_map(|attribute| attribute.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn signature_failure(key_algorithm: &[u8]) -> &'static str {
    use rustls_pki_types::alg_id;
    if key_algorithm == alg_id::ED25519.as_ref() {
        "x509: Ed25519 verification failure"
    } else if key_algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        "crypto/rsa: verification error"
    } else {
        "x509: ECDSA verification failure"
    }
}
