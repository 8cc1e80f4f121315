//! Why a handshake failed, in the words that operators of the peers know.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use rustls_pki_types::ServerName;

use crate::verify::VerifyError;

/// Why a link could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// This side refused the peer's certificate; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The peer refused, by an alert.
    #[error("remote error: tls: {}", alert_text(*.0))]
    Alert(AlertDescription),
    /// The peer agreed on no protocol.
    #[error("credentials: cannot check peer: missing selected ALPN property")]
    NoAlpn,
    /// The peer speaks a version of TLS before 1.2.
    #[error("tls: client offered only unsupported versions")]
    OldVersion,
    /// The peer does not speak TLS.
    #[error("tls: first record does not look like a TLS handshake")]
    NotTls,
    /// The handshake failed for another reason.
    #[error("tls: {0}")]
    Tls(Error),
    /// The connection broke.
    #[error("{0}")]
    Io(io::Error),
}

/// Turns a refusal into the error that makes TLS send alert 42, `bad_certificate`, and that keeps the words.
///
/// The alert follows from the kind of error, and only two kinds mean alert 42 and can carry text at all.
pub(super) fn refuse(refusal: &VerifyError) -> Error {
    Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        expected: ServerName::IpAddress(std::net::IpAddr::from([0, 0, 0, 0]).into()),
        presented: vec![refusal.to_string()],
    })
}

// === impl HandshakeError ===

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(error) => Self::from(error),
            Err(error) => Self::Io(error),
        }
    }
}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { mut presented, .. })
                if presented.len() == 1 =>
            {
                Self::Refused(presented.remove(0))
            }
            Error::AlertReceived(alert) => Self::Alert(alert),
            Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Self::NotTls,
            other => Self::Tls(other),
        }
    }
}

fn alert_text(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record MAC",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::IllegalParameter => "illegal parameter",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecodeError => "error decoding message",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InternalError => "internal error",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        _ => "alert",
    }
}
