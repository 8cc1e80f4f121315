//! The three kinds of certificates that sentry makes, byte for byte.
//!
//! Clients compare names as bytes and some compare more, so the encoding is written out here
//! instead of being left to a library: the order of the extensions, which of them are critical, and
//! the form of serial numbers and key identifiers are all part of the contract.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use outrigger_identity::der::{self, tag};
use outrigger_identity::key::{KeyError, PrivateKey};
use time::OffsetDateTime;

const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
/// 1.3.6.1.4.1.57683.100.1
const CONTAINER_IMAGES: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xc2, 0x53, 0x64, 0x01];

const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;
const CRL_SIGN: u8 = 0x02;
const ROOT_USAGE: u8 = DIGITAL_SIGNATURE | KEY_CERT_SIGN;
const ISSUER_USAGE: u8 = DIGITAL_SIGNATURE | KEY_CERT_SIGN | CRL_SIGN;

const KEY_IDENTIFIER: u8 = 0x80;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const TRUE: &[u8] = &[0xff];
const VERSION_3: &[u8] = &[2];

/// The first and last second at which a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Who signs a certificate.
#[derive(Debug)]
pub(crate) struct Issuer<'a> {
    /// The subject of the issuer's certificate, copied byte for byte.
    pub(crate) name: &'a [u8],
    /// The subject key identifier of the issuer's certificate, if it has one.
    pub(crate) key_identifier: Option<&'a [u8]>,
    pub(crate) key: &'a PrivateKey,
}

/// What a workload's certificate says.
#[derive(Debug)]
pub(crate) struct Leaf<'a> {
    /// The DER `SubjectPublicKeyInfo` of the workload.
    pub(crate) public_key_info: &'a [u8],
    pub(crate) validity: Validity,
    /// Names that stand in front of the URI.
    pub(crate) dns_names: &'a [String],
    /// The SPIFFE id.
    pub(crate) uri: &'a str,
    /// JSON list of the images that the workload runs; empty for none.
    pub(crate) container_images: &'a str,
}

/// Makes a root: it is signed with its own key.
pub(crate) fn root(name: &[u8], key: &PrivateKey, validity: Validity) -> Result<Vec<u8>, KeyError> {
    let issuer = Issuer {
        name,
        key_identifier: None,
        key,
    };
    let extensions = authority_extensions(ROOT_USAGE, key.public_key_bits());
    sign(name, &key.public_key_info()?, validity, &extensions, &issuer)
}

/// Makes an issuer: an intermediate with the given key, which signs workloads.
pub(crate) fn intermediate(
    name: &[u8],
    key: &PrivateKey,
    validity: Validity,
    issuer: &Issuer<'_>,
) -> Result<Vec<u8>, KeyError> {
    let extensions = authority_extensions(ISSUER_USAGE, key.public_key_bits());
    sign(name, &key.public_key_info()?, validity, &extensions, issuer)
}

/// Makes a workload's certificate: no subject, its identity in the one critical alternative name.
pub(crate) fn leaf(leaf: &Leaf<'_>, issuer: &Issuer<'_>) -> Result<Vec<u8>, KeyError> {
    let extensions = leaf_extensions(leaf, issuer.key_identifier);
    sign(
        &no_name(),
        leaf.public_key_info,
        leaf.validity,
        &extensions,
        issuer,
    )
}

/// The DER name `O=<organization>`.
pub(crate) fn organization(organization: &str) -> Vec<u8> {
    let printable = organization
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let kind = if printable {
        tag::PRINTABLE_STRING
    } else {
        tag::UTF8_STRING
    };
    let attribute = der::sequence(&[
        &der::value(tag::OBJECT_IDENTIFIER, ORGANIZATION),
        &der::value(kind, organization.as_bytes()),
    ]);
    der::sequence(&[&der::value(tag::SET, &attribute)])
}

/// The DER name of nobody.
fn no_name() -> Vec<u8> {
    der::sequence(&[])
}

fn authority_extensions(usage: u8, public_key_bits: &[u8]) -> Vec<Vec<u8>> {
    let constraints = der::sequence(&[&der::value(tag::BOOLEAN, TRUE)]);
    let hash = digest(&SHA256, public_key_bits);
    let (identifier, _) = hash.as_ref().split_at(20);
    vec![
        key_usage(usage),
        critical_extension(BASIC_CONSTRAINTS, &constraints),
        extension(SUBJECT_KEY_IDENTIFIER, &der::value(tag::OCTET_STRING, identifier)),
    ]
}

fn leaf_extensions(leaf: &Leaf<'_>, issuer_key_identifier: Option<&[u8]>) -> Vec<Vec<u8>> {
    let usages = [SERVER_AUTH, CLIENT_AUTH].map(|usage| der::value(tag::OBJECT_IDENTIFIER, usage));
    let mut names = Vec::new();
    for name in leaf.dns_names {
        names.extend(der::value(DNS_NAME, name.as_bytes()));
    }
    names.extend(der::value(URI, leaf.uri.as_bytes()));

    let mut extensions = vec![
        key_usage(DIGITAL_SIGNATURE),
        extension(EXTENDED_KEY_USAGE, &der::sequence(&[&usages.concat()])),
    ];
    if let Some(identifier) = issuer_key_identifier {
        let identifier = der::value(KEY_IDENTIFIER, identifier);
        extensions.push(extension(
            AUTHORITY_KEY_IDENTIFIER,
            &der::sequence(&[&identifier]),
        ));
    }
    extensions.push(critical_extension(
        SUBJECT_ALTERNATIVE_NAME,
        &der::sequence(&[&names]),
    ));
    if !leaf.container_images.is_empty() {
        let images = der::value(tag::OCTET_STRING, leaf.container_images.as_bytes());
        extensions.push(extension(CONTAINER_IMAGES, &images));
    }
    extensions
}

fn key_usage(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros()).expect("a byte has at most eight zeros");
    critical_extension(KEY_USAGE, &der::value(tag::BIT_STRING, &[unused, bits]))
}

fn extension(identifier: &[u8], value: &[u8]) -> Vec<u8> {
    der::sequence(&[
        &der::value(tag::OBJECT_IDENTIFIER, identifier),
        &der::value(tag::OCTET_STRING, value),
    ])
}

fn critical_extension(identifier: &[u8], value: &[u8]) -> Vec<u8> {
    der::sequence(&[
        &der::value(tag::OBJECT_IDENTIFIER, identifier),
        &der::value(tag::BOOLEAN, TRUE),
        &der::value(tag::OCTET_STRING, value),
    ])
}

/// A point in time in whole seconds: two-digit years until 2049, four digits beyond (RFC 5280 4.1.2.5).
fn time(at: SystemTime) -> Vec<u8> {
    let at = OffsetDateTime::from(at);
    let (month, day) = (u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    match at.year() {
        year @ 1950..2050 => der::value(tag::UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        year => der::value(tag::GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

fn sign(
    subject: &[u8],
    public_key_info: &[u8],
    validity: Validity,
    extensions: &[Vec<u8>],
    issuer: &Issuer<'_>,
) -> Result<Vec<u8>, KeyError> {
    let mut serial = [0; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| KeyError::Failed)?;
    let algorithm = issuer.key.signature_algorithm();
    let signed = signed_part(
        &der::unsigned_integer(&serial),
        &algorithm,
        issuer.name,
        validity,
        subject,
        public_key_info,
        extensions,
    );
    let signature = issuer.key.sign(&signed)?;
    Ok(der::sequence(&[
        &signed,
        &algorithm,
        &der::bit_string(&signature),
    ]))
}

/// The `TBSCertificate` (RFC 5280 4.1) from its parts, which are encoded already.
fn signed_part(
    serial: &[u8],
    algorithm: &[u8],
    issuer: &[u8],
    validity: Validity,
    subject: &[u8],
    public_key_info: &[u8],
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    der::sequence(&[
        &der::context(0, &der::value(tag::INTEGER, VERSION_3)),
        serial,
        algorithm,
        issuer,
        &der::sequence(&[&time(validity.not_before), &time(validity.not_after)]),
        subject,
        public_key_info,
        &der::context(3, &der::sequence(&[&extensions.concat()])),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_identity::certificate::Certificate;
    use outrigger_identity::pem;
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::fixtures;

    /// Checks that a certificate made from the facts of `known` has the same bytes as `known`.
    fn assert_same(known: &str, organizations: (Option<&str>, Option<&str>), extensions: &[Vec<u8>]) {
        let encoding = pem::certificates(known.as_bytes()).remove(0);
        let facts = Certificate::parse(&encoding).unwrap();
        let (_, parsed) = X509Certificate::from_der(&encoding).unwrap();
        let name = |name: Option<&str>| name.map_or_else(no_name, organization);
        let made = signed_part(
            &der::unsigned_integer(parsed.raw_serial()),
            &der::sequence(&[&[tag::OBJECT_IDENTIFIER, 3, 0x2b, 0x65, 0x70]]),
            &name(organizations.0),
            Validity {
                not_before: facts.not_before(),
                not_after: facts.not_after(),
            },
            &name(organizations.1),
            facts.public_key_info(),
            extensions,
        );
        assert_eq!(made, parsed.tbs_certificate.as_ref());
    }

    #[test]
    fn each_kind_of_certificate_has_the_bytes_of_a_known_one() {
        let (root, issuer, leaf) = fixtures::chain();
        let sentry = "spiffe://localhost/ns/default/dapr-sentry";
        assert_same(
            fixtures::ROOT,
            (Some("localhost"), Some("localhost")),
            &authority_extensions(ROOT_USAGE, root.public_key()),
        );
        assert_same(
            fixtures::ISSUER,
            (Some("localhost"), Some(sentry)),
            &authority_extensions(ISSUER_USAGE, issuer.public_key()),
        );
        let facts = Leaf {
            public_key_info: leaf.public_key_info(),
            validity: Validity {
                not_before: leaf.not_before(),
                not_after: leaf.not_after(),
            },
            dns_names: &[],
            uri: "spiffe://public/ns/default/myapp",
            container_images: "",
        };
        assert_same(
            fixtures::LEAF,
            (Some(sentry), None),
            &leaf_extensions(&facts, issuer.subject_key_id()),
        );
    }

    #[test]
    fn serial_numbers_are_random_and_positive() {
        let key = PrivateKey::generate(outrigger_identity::key::KeyType::Ed25519).unwrap();
        let now = SystemTime::now();
        let validity = Validity {
            not_before: now,
            not_after: now,
        };
        let mut serials = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let encoding = root(&organization("a"), &key, validity).unwrap();
            let (_, parsed) = X509Certificate::from_der(&encoding).unwrap();
            assert!(parsed.serial.bits() <= 128 && parsed.raw_serial()[0] < 0x80);
            assert!(serials.insert(parsed.raw_serial().to_vec()));
        }
    }

    #[test]
    fn dns_names_precede_the_uri_and_images_come_last() {
        let now = SystemTime::now();
        let leaf = Leaf {
            public_key_info: &[],
            validity: Validity {
                not_before: now,
                not_after: now,
            },
            dns_names: &["a.b".to_owned(), "c".to_owned()],
            uri: "spiffe://x",
            container_images: "[]",
        };
        let extensions = leaf_extensions(&leaf, None);
        assert_eq!(
            extensions.len(),
            4,
            "no authority key identifier without an issuer's"
        );
        assert!(extensions[2].ends_with(b"\x30\x14\x82\x03a.b\x82\x01c\x86\x0aspiffe://x"));
        assert_eq!(
            extensions[3],
            b"\x30\x12\x06\x0a\x2b\x06\x01\x04\x01\x83\xc2\x53\x64\x01\x04\x04\x04\x02[]"
        );
    }

    #[test]
    fn names_are_printable_strings_where_the_alphabet_allows() {
        let kind = |name| organization(name)[11];
        assert_eq!(
            kind("spiffe://localhost/ns/default/dapr-sentry"),
            tag::PRINTABLE_STRING
        );
        assert_eq!(kind("my_domain"), tag::UTF8_STRING);
        assert_eq!(kind("a*"), tag::UTF8_STRING);
    }

    #[test]
    fn times_switch_to_four_digit_years_in_2050() {
        let cases = [
            (2_524_607_999, tag::UTC_TIME, "491231235959Z"),
            (2_524_608_000, tag::GENERALIZED_TIME, "20500101000000Z"),
        ];
        for (seconds, kind, text) in cases {
            let encoding = time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!((encoding[0], &encoding[2..]), (kind, text.as_bytes()));
        }
    }
}
