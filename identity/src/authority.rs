//! A certificate authority for tests: a root, an issuer below it, and leafs of every kind, good and bad.

use std::ops::Range;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::anchors::{AnchorSource, TrustAnchors};
use crate::key::{KeyType, PrivateKey};
use crate::pem;
use crate::svid::{Svid, SvidSource};

/// The id that leafs have unless told otherwise.
pub(crate) const APP: &str = "spiffe://public/ns/default/myapp";

/// The id of the authority itself.
pub(crate) const SENTRY: &str = "spiffe://localhost/ns/default/dapr-sentry";

/// A root and an issuer.
pub(crate) struct Authority {
    pub(crate) root: Party,
    pub(crate) issuer: Party,
}

/// One who may issue certificates.
pub(crate) struct Party {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
}

/// What a leaf looks like.
pub(crate) struct Leaf {
    pub(crate) uris: &'static [&'static str],
    pub(crate) key: KeyType,
    /// Validity in seconds from now.
    pub(crate) valid: Range<i64>,
    /// Last touches.
    pub(crate) change: fn(&mut CertificateParams),
}

// === impl Authority ===

impl Authority {
    pub(crate) fn new() -> Self {
        let root = Party::root("localhost", |_| {});
        let issuer = root.below(SENTRY, |_| {});
        Self { root, issuer }
    }

    pub(crate) fn chain(&self, leaf: &Leaf) -> (Vec<CertificateDer<'static>>, PrivateKey) {
        let (certificate, key) = self.issuer.leaf(leaf);
        (vec![certificate, self.issuer.der.clone()], key)
    }

    pub(crate) fn svid(&self, leaf: &Leaf) -> Svid {
        let (chain, key) = self.chain(leaf);
        Svid::new(chain, key).unwrap()
    }

    pub(crate) fn source(&self, uris: &'static [&'static str]) -> SvidSource {
        SvidSource::new(self.svid(&Leaf {
            uris,
            ..Leaf::default()
        }))
    }

    pub(crate) fn anchors_pem(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.root.der)
    }

    pub(crate) fn anchors(&self) -> AnchorSource {
        AnchorSource::fixed(TrustAnchors::from_pem(self.anchors_pem()).unwrap())
    }
}

// === impl Party ===

impl Party {
    pub(crate) fn root(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self {
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
            der,
        }
    }

    pub(crate) fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self {
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
            der,
        }
    }

    /// Another certificate of the same name and key, issued by itself.
    pub(crate) fn twin(&self, serial: u64) -> CertificateDer<'static> {
        let mut params = authority_params(&self.name);
        params.serial_number = Some(serial.into());
        let twin = params.signed_by(self.issuer.key(), &self.issuer);
        twin.unwrap().der().clone()
    }

    pub(crate) fn leaf(&self, leaf: &Leaf) -> (CertificateDer<'static>, PrivateKey) {
        let key = PrivateKey::generate(leaf.key).unwrap();
        (self.certify(leaf, &key.public_key_info().unwrap()), key)
    }

    pub(crate) fn certify(&self, leaf: &Leaf, public_key_info: &[u8]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::seconds(leaf.valid.start);
        params.not_after = now + Duration::seconds(leaf.valid.end);
        params.subject_alt_names = leaf
            .uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()))
            .collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        (leaf.change)(&mut params);
        let key = SubjectPublicKeyInfo::from_der(public_key_info).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

// === impl Leaf ===

impl Default for Leaf {
    fn default() -> Self {
        Self {
            uris: &[APP],
            key: KeyType::Ed25519,
            valid: -900..86_400,
            change: |_| {},
        }
    }
}

/// An extension that nobody knows.
pub(crate) fn unknown_critical_extension() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![4, 0]);
    extension.set_criticality(true);
    extension
}

/// Parses certificates into shared anchors.
pub(crate) fn anchors_of(certificates: &[&CertificateDer<'_>]) -> Arc<TrustAnchors> {
    let text: String = certificates
        .iter()
        .map(|certificate| pem::encode(pem::CERTIFICATE, certificate))
        .collect();
    Arc::new(TrustAnchors::from_pem(text).unwrap())
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::minutes(15);
    params.not_after = now + Duration::days(365);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params
}
