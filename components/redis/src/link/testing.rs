//! Clients whose trust is that of a test.

use outrigger_component::Condition;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Client;
use super::dial::{Dialer, client_config};
use crate::settings::Settings;

/// A client that trusts the authorities of a PEM text and nobody else.
pub(crate) fn with_roots(settings: &Settings, anchors: &str) -> Client {
    let mut roots = RootCertStore::empty();
    let anchors = CertificateDer::pem_slice_iter(anchors.as_bytes());
    roots.add_parsable_certificates(anchors.map(Result::unwrap));
    let tls = settings.tls.as_ref().unwrap();
    let tls = client_config(tls, || roots).unwrap();
    let dialer = Dialer::with(settings.dial_timeout, Some(tls));
    Client::with(settings, dialer, Condition::default())
}
