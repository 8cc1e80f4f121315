use std::path::Path;
use std::time::{Duration, SystemTime};

use outrigger_identity::anchors::{AnchorSource, TrustAnchors};
use outrigger_identity::certificate::Certificate;
use outrigger_identity::key::{KeyType, PrivateKey};
use outrigger_identity::pem;
use outrigger_identity::spiffe::{SpiffeId, TrustDomain};
use outrigger_identity::tls::signature_algorithms;
use outrigger_identity::verify::verify_chain;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::bundle::{Bundle, BundleText};
use super::request::RequestError;
use super::*;
use crate::fixtures;
use crate::scratch::Scratch;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SKEW: Duration = Duration::from_secs(15 * 60);

/// An authority of another make, for bundles that sentry did not make itself.
struct Foreign {
    certificate: rcgen::Certificate,
    params: CertificateParams,
    key: KeyPair,
}

impl Foreign {
    fn new(name: &str, parent: Option<&Self>, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::with_key(name, parent, KeyPair::generate().unwrap(), change)
    }

    fn with_key(
        name: &str,
        parent: Option<&Self>,
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        change(&mut params);
        let certificate = match parent {
            Some(parent) => params.signed_by(&key, &Issuer::from_params(&parent.params, &parent.key)),
            None => params.self_signed(&key),
        };
        Self {
            certificate: certificate.unwrap(),
            params,
            key,
        }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }
}

fn text(anchors: &[&Foreign], chain: &[&Foreign], key: &str) -> BundleText {
    let join = |certificates: &[&Foreign]| -> Vec<u8> {
        certificates
            .iter()
            .flat_map(|certificate| certificate.pem().into_bytes())
            .collect()
    };
    BundleText {
        anchors: join(anchors),
        chain: join(chain),
        key: key.as_bytes().to_vec(),
    }
}

fn load(text: &BundleText) -> Result<Bundle, String> {
    Bundle::load(text, SystemTime::now()).map_err(|error| error.to_string())
}

fn settings(directory: &Path) -> AuthoritySettings {
    AuthoritySettings {
        trust_domain: TrustDomain::parse("localhost").unwrap(),
        namespace: "default".to_owned(),
        lifetime: DAY,
        clock_skew: SKEW,
        jwt: None,
        paths: CredentialPaths {
            anchors: directory.join("ca.crt"),
            issuer_certificate: directory.join("issuer.crt"),
            issuer_key: directory.join("issuer.key"),
            jwt_key: directory.join("jwt.key"),
            jwks: directory.join("jwks.json"),
        },
    }
}

#[test]
fn a_generated_bundle_has_a_root_and_an_issuer_for_a_year() {
    let now = SystemTime::now();
    let id = "spiffe://localhost/ns/default/dapr-sentry";
    let bundle = Bundle::generate("localhost", id, SKEW, now).unwrap();
    let root = Certificate::parse(&pem::certificates(bundle.anchors().as_bytes())[0]).unwrap();
    let issuer = bundle.issuer();
    for certificate in [&root, issuer] {
        let lifetime = certificate
            .not_after()
            .duration_since(certificate.not_before())
            .unwrap();
        assert_eq!(lifetime, 365 * DAY + SKEW);
        assert!(certificate.is_authority());
        assert_eq!(certificate.authority_key_id(), None);
        assert_eq!(certificate.subject_key_id().map(<[u8]>::len), Some(20));
    }
    assert_eq!(root.subject_name(), "localhost");
    assert_eq!(issuer.subject_name(), id);
    assert!(!root.key_usage().unwrap().crl_sign && issuer.key_usage().unwrap().crl_sign);
    assert!(issuer.verify_issued_by(&root, signature_algorithms()).is_ok());

    let stored = bundle.to_text().unwrap();
    assert_eq!(stored.key.len(), 119);
    let again = Bundle::load(&stored, now).unwrap();
    assert_eq!(
        (again.anchors(), again.chain()),
        (bundle.anchors(), bundle.chain())
    );
}

#[test]
fn key_identifiers_are_the_start_of_a_hash() {
    let (root, issuer, leaf) = fixtures::chain();
    let identifier: String = root
        .subject_key_id()
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(identifier, "86a445d048243138f0555e5feed9a6f596d3ca49");
    assert_eq!(leaf.authority_key_id(), issuer.subject_key_id());
}

#[test]
fn bundles_of_other_makers_are_accepted() {
    let keys = [
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap(),
        KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap(),
    ];
    for key in keys {
        let root = Foreign::new("root", None, |_| {});
        let middle = Foreign::new("middle", Some(&root), |_| {});
        let issuer = Foreign::with_key("issuer", Some(&middle), key, |_| {});
        let old = Foreign::new("old", None, |_| {});
        let mut stored = text(
            &[&old, &root],
            &[&issuer, &middle, &root],
            &issuer.key.serialize_pem(),
        );
        stored.anchors.splice(0..0, *b"# comment\n");

        let bundle = load(&stored).unwrap();
        assert_eq!(bundle.chain().len(), 2, "the root is not part of the chain");
        assert!(
            bundle.anchors().starts_with("-----BEGIN"),
            "comments are left out"
        );
        assert_eq!(bundle.anchors().matches("BEGIN").count(), 2);
        let again = load(&bundle.to_text().unwrap()).unwrap();
        assert_eq!(again.anchors(), bundle.anchors());
        assert_leads_to_anchor(&bundle);
    }
}

/// Signs a workload with the bundle and verifies it as peers do.
fn assert_leads_to_anchor(bundle: &Bundle) {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let now = SystemTime::now();
    let leaf = Leaf {
        public_key_info: &key.public_key_info().unwrap(),
        validity: Validity {
            not_before: now - SKEW,
            not_after: now + DAY,
        },
        dns_names: &[],
        uri: "spiffe://public/ns/default/myapp",
        container_images: "",
    };
    let leaf = bundle.sign(&leaf).unwrap().into();
    let anchors = AnchorSource::fixed(TrustAnchors::from_pem(bundle.anchors().to_owned()).unwrap());
    let id = verify_chain(
        &leaf,
        bundle.chain(),
        &anchors.current(),
        now,
        signature_algorithms(),
    )
    .unwrap();
    assert_eq!(id.as_str(), "spiffe://public/ns/default/myapp");
}

#[test]
fn a_bundle_that_does_not_hang_together_is_refused_with_its_reason() {
    let root = Foreign::new("root", None, |_| {});
    let issuer = Foreign::new("issuer", Some(&root), |_| {});
    let key = issuer.key.serialize_pem();
    let other = Foreign::new("other", None, |_| {});
    let plain = Foreign::new("plain", Some(&root), |params| {
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let expired = Foreign::new("expired", Some(&root), |params| {
        params.not_after = (SystemTime::now() - DAY).into();
    });
    let client = Foreign::new("client", Some(&root), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let stale_root = Foreign::new("stale root", None, |params| {
        params.not_after = (SystemTime::now() - DAY).into();
    });
    let below_stale_root = Foreign::new("below", Some(&stale_root), |_| {});
    let unknown =
        "issuer chain does not belong to trust anchors: x509: certificate signed by unknown authority";
    let no_ca = "certificate in trust anchor is not self-signed: x509: invalid signature: parent certificate cannot sign this kind of certificate";
    let rows: [(&str, BundleText, &str); 13] = [
        (
            "no anchors",
            BundleText {
                anchors: Vec::new(),
                ..text(&[], &[&issuer], &key)
            },
            "failed to decode trust anchors: no certificates found",
        ),
        (
            "an anchor below another",
            text(&[&issuer], &[&issuer], &key),
            "certificate in trust anchor is not self-signed: x509: ECDSA verification failure",
        ),
        (
            "an anchor that may not sign",
            text(&[&plain], &[&issuer], &key),
            no_ca,
        ),
        (
            "no issuer",
            text(&[&root], &[], &key),
            "failed to decode issuer chain: no certificates found",
        ),
        (
            "a broken chain",
            text(&[&root], &[&issuer, &other], &key),
            "certificate chain is not valid",
        ),
        (
            "a leaf as issuer",
            text(&[&root], &[&plain], &plain.key.serialize_pem()),
            "intermediate certificate is not valid for signing",
        ),
        (
            "only a root",
            text(&[&root], &[&root], &root.key.serialize_pem()),
            "issuer chain is empty after re-encoding",
        ),
        ("no key", text(&[&root], &[&issuer], ""), "key is not PEM encoded"),
        (
            "a certificate as key",
            text(&[&root], &[&issuer], &issuer.pem()),
            "unsupported block type CERTIFICATE",
        ),
        (
            "the key of another",
            text(&[&root], &[&issuer], &root.key.serialize_pem()),
            "issuer key does not match issuer certificate",
        ),
        ("another root", text(&[&other], &[&issuer], &key), unknown),
        (
            "an issuer for clients",
            text(&[&root], &[&client], &client.key.serialize_pem()),
            "issuer chain does not belong to trust anchors: x509: certificate specifies an incompatible key usage",
        ),
        (
            "nothing but an expired root",
            text(
                &[&stale_root],
                &[&below_stale_root],
                &below_stale_root.key.serialize_pem(),
            ),
            "issuer chain does not belong to trust anchors: x509: certificate has expired or is not yet valid: current time ",
        ),
    ];
    for (name, stored, reason) in rows {
        let error = load(&stored).unwrap_err();
        assert!(error.starts_with(reason), "{name}: {error}");
    }
    let error = load(&text(&[&root], &[&expired], &expired.key.serialize_pem())).unwrap_err();
    assert!(error.contains("has expired"), "{error}");
}

#[test]
fn a_request_gives_nothing_but_its_key() {
    for algorithm in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA512,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(["evil.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "evil");
        let request = params.serialize_request(&key).unwrap();
        let found = public_key(request.pem().unwrap().as_bytes()).unwrap();
        assert!(found.ends_with(key.public_key_raw()), "{algorithm:?}");
    }
}

#[test]
fn requests_that_are_none_are_refused() {
    let key = KeyPair::generate().unwrap();
    let der = CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .der()
        .to_vec();
    let labelled = |label: &str, der: &[u8]| public_key(pem::encode(label, der).as_bytes());
    assert!(labelled("CERTIFICATE REQUEST", &der).is_ok());
    assert!(labelled("CERTIFICATE", &der).is_ok(), "old clients call it so");
    for label in ["NEW CERTIFICATE REQUEST", "PRIVATE KEY"] {
        assert_eq!(labelled(label, &der), Err(RequestError::NotARequest));
    }
    assert_eq!(public_key(b"no PEM"), Err(RequestError::NotARequest));

    let mut tampered = der.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(
        labelled("CERTIFICATE REQUEST", &tampered),
        Err(RequestError::Signature)
    );

    for broken in [
        &der[..der.len() - 1],
        b"".as_slice(),
        &[der.as_slice(), b"\0"].concat(),
    ] {
        let error = labelled("CERTIFICATE REQUEST", broken).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to parse certificate signing request: "),
            "{error}"
        );
    }
}

#[test]
fn files_are_written_once_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("ca.crt"), "will be replaced").unwrap();
    let now = SystemTime::now();
    let first = Authority::open(settings(scratch.path()), now).unwrap();
    assert!(first.is_generated());
    for name in ["ca.crt", "issuer.crt", "issuer.key"] {
        let mode = std::fs::metadata(scratch.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!scratch.path().join("jwt.key").exists());
    let second = Authority::open(settings(scratch.path()), now).unwrap();
    assert!(!second.is_generated());
    assert_eq!(second.anchors(), first.anchors());

    std::fs::remove_file(scratch.path().join("issuer.key")).unwrap();
    let third = Authority::open(settings(scratch.path()), now).unwrap();
    assert!(third.is_generated());
    assert_ne!(third.anchors(), first.anchors());
}

#[test]
fn a_bad_file_is_reported_the_way_operators_know_it() {
    let scratch = Scratch::new();
    Authority::open(settings(scratch.path()), SystemTime::now()).unwrap();
    std::fs::write(scratch.path().join("ca.crt"), "").unwrap();
    let error = Authority::open(settings(scratch.path()), SystemTime::now()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to get CA bundle: failed to verify CA bundle: failed to decode trust anchors: no certificates found"
    );
}

#[test]
fn a_workload_holds_its_own_key_and_id() {
    let scratch = Scratch::new();
    let authority = Authority::open(settings(scratch.path()), SystemTime::now()).unwrap();
    let id = SpiffeId::parse("spiffe://public/ns/default/myapp").unwrap();
    let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let info = key.public_key_info().unwrap();
    let signed = authority
        .sign(&id, &info, &["a.b".to_owned()], "", SystemTime::now())
        .unwrap();
    let [leaf, issuer] = signed.chain.as_slice() else {
        panic!("leaf and issuer")
    };
    let (leaf, issuer) = (
        Certificate::parse(leaf).unwrap(),
        Certificate::parse(issuer).unwrap(),
    );
    assert_eq!(leaf.public_key_info(), info);
    assert_eq!(leaf.names().uri, [id.as_str()]);
    assert_eq!(leaf.names().dns, ["a.b"]);
    assert_eq!(leaf.subject(), [0x30, 0]);
    assert_eq!(leaf.issuer(), issuer.subject());
    assert_eq!(leaf.authority_key_id(), issuer.subject_key_id());
    assert_eq!((leaf.subject_key_id(), leaf.basic_constraints()), (None, None));
    assert_eq!(
        leaf.not_after().duration_since(leaf.not_before()).unwrap(),
        DAY + SKEW
    );
    assert_eq!(signed.to_pem(), [leaf.to_pem(), issuer.to_pem()].concat());
}

#[test]
fn keys_for_tokens_are_made_in_pairs_and_kept() {
    let scratch = Scratch::new();
    let with_tokens = || AuthoritySettings {
        jwt: Some(Jwt {
            issuer: None,
            signing_algorithm: "RS256".to_owned(),
            key_id: None,
            ttl: DAY,
        }),
        ..settings(scratch.path())
    };
    let now = SystemTime::now();
    let read = |name: &str| std::fs::read(scratch.path().join(name)).unwrap();
    Authority::open(settings(scratch.path()), now).unwrap();
    let anchors = read("ca.crt");
    assert!(Authority::open(with_tokens(), now).unwrap().is_generated());
    assert_eq!(read("ca.crt"), anchors, "the bundle stays");
    let key = read("jwt.key");

    std::fs::remove_file(scratch.path().join("ca.crt")).unwrap();
    assert!(Authority::open(with_tokens(), now).unwrap().is_generated());
    assert_ne!(read("ca.crt"), anchors);
    assert_eq!(read("jwt.key"), key, "a new bundle does not replace the keys");

    std::fs::remove_file(scratch.path().join("jwks.json")).unwrap();
    assert!(Authority::open(with_tokens(), now).unwrap().is_generated());
    assert_ne!(read("jwt.key"), key, "half a pair is none");

    std::fs::write(scratch.path().join("jwks.json"), "").unwrap();
    let off = Authority::open(settings(scratch.path()), now)
        .unwrap_err()
        .to_string();
    assert!(
        off.starts_with("failed to get CA bundle: failed to parse JWKS: "),
        "{off}"
    );
}
