//! Certificates, right ones and every kind of wrong one.

use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
    PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::Result;

/// Length of the secret part of an Ed25519 key.
const ED25519_SEED: usize = 32;
/// What stands before it in PKCS #8.
const ED25519_KEY: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];
/// What stands before it if the public key follows.
const ED25519_KEY_V2: [u8; 16] = [
    0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// A root and an issuer below it, in the form in which the certificate authority keeps them.
pub struct Authority {
    root: String,
    issuer: String,
    signer: Issuer<'static, KeyPair>,
}

/// A certificate with the chain that is sent along, and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM text of the chain, the leaf first.
    pub chain: String,
    /// PEM text of the key, PKCS #8.
    pub key: String,
}

/// The shape of a leaf. The default is what the authority issues, without a name.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// URIs of the subject alternative name.
    pub uris: Vec<String>,
    /// DNS names of the subject alternative name.
    pub dns_names: Vec<String>,
    /// Begin of the validity in minutes from now.
    pub begin: i64,
    /// End of the validity in minutes from now.
    pub end: i64,
    /// Key usages beside the digital signature.
    pub usages: Vec<KeyUsagePurpose>,
    /// Purposes; none leaves the extension out.
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    /// What the basic constraints say; none leaves the extension out.
    pub authority: Option<bool>,
    /// What is sent along.
    pub tail: Tail,
    /// The kind of key.
    pub key: Key,
    /// Adds a critical extension that nobody knows.
    pub unknown_extension: bool,
    /// Signs with a key that is not the issuer's.
    pub forged: bool,
}

/// The certificates after a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// None.
    Nothing,
    /// The issuer.
    Issuer,
    /// The issuer and the root.
    IssuerAndRoot,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256.
    P256,
    /// RSA with 2048 bits.
    Rsa,
}

// === impl Authority ===

impl Authority {
    /// Makes a root and an issuer, valid for a year.
    ///
    /// # Errors
    /// If a key cannot be made.
    pub fn new() -> Result<Self> {
        let root_key = KeyPair::generate_for(&PKCS_ED25519)?;
        let usages = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(authority("localhost", &usages), root_key)?;
        let usages = [usages.as_slice(), &[KeyUsagePurpose::CrlSign]].concat();
        let issuer = authority("spiffe://localhost/ns/default/dapr-sentry", &usages);
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = issuer.signed_by(&key, &root)?;
        Ok(Self {
            root: root.pem(),
            issuer: certificate.pem(),
            signer: Issuer::new(issuer, key),
        })
    }

    /// Reads the files that the certificate authority keeps.
    ///
    /// # Errors
    /// If they are missing or broken.
    pub fn read(directory: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (root, issuer) = (read("ca.crt")?, read("issuer.crt")?);
        let signer = Issuer::from_ca_cert_pem(&issuer, KeyPair::from_pem(&read("issuer.key")?)?)?;
        Ok(Self { root, issuer, signer })
    }

    /// Writes the files that the certificate authority keeps: `ca.crt`, `issuer.crt`, `issuer.key`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        let key = key_to_pem(self.signer.key());
        for (name, text) in [
            ("ca.crt", &self.root),
            ("issuer.crt", &self.issuer),
            ("issuer.key", &key),
        ] {
            std::fs::write(directory.join(name), text)?;
        }
        Ok(())
    }

    /// PEM text of the root.
    #[must_use]
    pub fn anchors(&self) -> &str {
        &self.root
    }

    /// Issues a leaf.
    ///
    /// # Errors
    /// If the shape cannot be encoded at all.
    pub fn issue(&self, leaf: &Leaf) -> Result<Certificate> {
        let key = leaf.key.generate()?;
        let params = leaf.params()?;
        let certificate = match leaf.forged {
            false => params.signed_by(&key, &self.signer)?,
            true => {
                let issuer = authority(
                    "spiffe://localhost/ns/default/dapr-sentry",
                    self.signer.key_usages(),
                );
                params.signed_by(&key, &Issuer::new(issuer, KeyPair::generate_for(&PKCS_ED25519)?))?
            }
        };
        let mut chain = certificate.pem();
        if leaf.tail != Tail::Nothing {
            chain.push_str(&self.issuer);
        }
        if leaf.tail == Tail::IssuerAndRoot {
            chain.push_str(&self.root);
        }
        Ok(Certificate {
            chain,
            key: key_to_pem(&key),
        })
    }

    /// Issues what the authority would issue to an app of the namespace `default`.
    ///
    /// # Errors
    /// If the app id has no place in a certificate.
    pub fn issue_to(&self, app_id: &str) -> Result<Certificate> {
        self.issue(&Leaf::of(format!("spiffe://public/ns/default/{app_id}")))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

// === impl Leaf ===

impl Leaf {
    /// A leaf with one URI.
    pub fn of(uri: impl Into<String>) -> Self {
        Self {
            uris: vec![uri.into()],
            ..Self::default()
        }
    }

    /// The shapes that a server must judge, by name, and whether it must let them in at all.
    ///
    /// Those that are let in have the id `spiffe://public/ns/default/<app id>` but for `td`, `short` and
    /// `long`. Source: interop checks of identity and TLS, section 4.
    #[must_use]
    pub fn shapes(app_id: &str) -> Vec<(&'static str, Self, bool)> {
        let own = format!("spiffe://public/ns/default/{app_id}");
        let named = |uri: &str| Self::of(uri.replace("{}", app_id));
        let right = || Self::of(own.clone());
        let two = vec![own.clone(), "spiffe://public/ns/default/other".to_owned()];
        vec![
            ("ok", right(), true),
            ("nouri", Self::default(), false),
            (
                "twouri",
                Self {
                    uris: two,
                    ..Self::default()
                },
                false,
            ),
            ("https", named("https://public/ns/default/{}"), false),
            ("td", named("spiffe://othertd/ns/default/{}"), true),
            ("short", named("spiffe://public/{}"), true),
            ("long", named("spiffe://public/ns/default/{}/extra"), true),
            ("nopath", named("spiffe://public"), false),
            ("upper", named("spiffe://PUBLIC/ns/default/{}"), false),
            (
                "expired",
                Self {
                    begin: -180,
                    end: -60,
                    ..right()
                },
                false,
            ),
            (
                "future",
                Self {
                    begin: 60,
                    end: 180,
                    ..right()
                },
                false,
            ),
            (
                "noeku",
                Self {
                    purposes: vec![],
                    ..right()
                },
                true,
            ),
            (
                "codesign",
                Self {
                    purposes: vec![ExtendedKeyUsagePurpose::CodeSigning],
                    ..right()
                },
                true,
            ),
            (
                "certsign",
                Self {
                    usages: vec![KeyUsagePurpose::KeyCertSign],
                    ..right()
                },
                false,
            ),
            (
                "crlsign",
                Self {
                    usages: vec![KeyUsagePurpose::CrlSign],
                    ..right()
                },
                false,
            ),
            (
                "isca",
                Self {
                    authority: Some(true),
                    ..right()
                },
                false,
            ),
            (
                "notca",
                Self {
                    authority: Some(false),
                    ..right()
                },
                true,
            ),
            (
                "noint",
                Self {
                    tail: Tail::Nothing,
                    ..right()
                },
                false,
            ),
            (
                "withroot",
                Self {
                    tail: Tail::IssuerAndRoot,
                    ..right()
                },
                true,
            ),
            (
                "ec",
                Self {
                    key: Key::P256,
                    ..right()
                },
                true,
            ),
            (
                "rsa",
                Self {
                    key: Key::Rsa,
                    ..right()
                },
                true,
            ),
            (
                "dns",
                Self {
                    dns_names: vec!["foo.example".to_owned()],
                    ..right()
                },
                true,
            ),
            (
                "unknown",
                Self {
                    unknown_extension: true,
                    ..right()
                },
                false,
            ),
            (
                "badsig",
                Self {
                    forged: true,
                    ..right()
                },
                false,
            ),
        ]
    }

    fn params(&self) -> Result<CertificateParams> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::minutes(self.begin);
        params.not_after = now + Duration::minutes(self.end);
        for name in &self.dns_names {
            params
                .subject_alt_names
                .push(SanType::DnsName(Ia5String::try_from(name.as_str())?));
        }
        for uri in &self.uris {
            params
                .subject_alt_names
                .push(SanType::URI(Ia5String::try_from(uri.as_str())?));
        }
        params.key_usages = [&[KeyUsagePurpose::DigitalSignature], self.usages.as_slice()].concat();
        params.extended_key_usages.clone_from(&self.purposes);
        params.is_ca = match self.authority {
            None => IsCa::NoCa,
            Some(false) => IsCa::ExplicitNoCa,
            Some(true) => IsCa::Ca(BasicConstraints::Unconstrained),
        };
        params.use_authority_key_identifier_extension = true;
        if self.unknown_extension {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![4, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        Ok(params)
    }
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            dns_names: Vec::new(),
            begin: -15,
            end: 24 * 60,
            usages: Vec::new(),
            purposes: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            authority: None,
            tail: Tail::Issuer,
            key: Key::Ed25519,
            unknown_extension: false,
            forged: false,
        }
    }
}

// === impl Key ===

impl Key {
    fn generate(self) -> Result<KeyPair> {
        Ok(match self {
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Self::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        })
    }
}

/// PKCS #8 in its first version, as the authority writes it and all tools read it: `rcgen` adds the public key to
/// Ed25519 keys.
fn key_to_pem(key: &KeyPair) -> String {
    let encoded = key.serialize_der();
    let Some(rest) = encoded.strip_prefix(&ED25519_KEY_V2) else {
        return key.serialize_pem();
    };
    let seed = rest.split_at(ED25519_SEED).0;
    let text = STANDARD.encode([&ED25519_KEY, seed].concat());
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn authority(organization: &str, usages: &[KeyUsagePurpose]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, organization);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages.to_vec();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::minutes(15);
    params.not_after = now + Duration::days(365);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[test]
    fn every_shape_can_be_made() {
        let authority = Authority::new().unwrap();
        for (name, leaf, _) in Leaf::shapes("myapp") {
            let certificate = authority.issue(&leaf).unwrap();
            let count = certificate.chain.matches("BEGIN CERTIFICATE").count();
            let expected = match leaf.tail {
                Tail::Nothing => 1,
                Tail::Issuer => 2,
                Tail::IssuerAndRoot => 3,
            };
            assert_eq!(count, expected, "{name}");
            assert!(
                certificate.key.starts_with("-----BEGIN PRIVATE KEY-----"),
                "{name}"
            );
            assert!(leaf.key != Key::Ed25519 || certificate.key.len() == 119, "{name}");
        }
    }

    #[test]
    fn the_files_can_be_read_back() {
        let directory = Directory::new().unwrap();
        let authority = Authority::new().unwrap();
        authority.write(directory.path()).unwrap();
        let read = Authority::read(directory.path()).unwrap();
        assert_eq!(read.anchors(), authority.anchors());
        assert!(read.issue_to("myapp").is_ok());
    }
}
