use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints, SanType,
};

use super::*;
use crate::anchors::AnchorSource;
use crate::authority::{APP, Authority, Leaf, Party, anchors_of, unknown_critical_extension};
use crate::key::KeyType;
use crate::tls::signature_algorithms;
use crate::{der, fixtures, pem};

fn fixture(text: &str) -> CertificateDer<'static> {
    pem::certificates(text.as_bytes()).remove(0)
}

fn app(app_id: &str) -> Expect {
    Expect::App {
        namespace: "default".to_owned(),
        app_id: app_id.to_owned(),
    }
}

fn verdict(
    chain: &[CertificateDer<'_>],
    anchors: &TrustAnchors,
    expect: &Expect,
    now: SystemTime,
) -> Result<String, String> {
    let (leaf, others) = chain.split_first().unwrap();
    verify_peer(leaf, others, anchors, expect, now, signature_algorithms())
        .map(|id| id.to_string())
        .map_err(|error| error.to_string())
}

/// The verdict on a leaf below the issuer of a usual authority.
fn verdict_on(leaf: &Leaf) -> Result<String, String> {
    let authority = Authority::new();
    let (chain, _) = authority.chain(leaf);
    verdict(
        &chain,
        &authority.anchors().current(),
        &Expect::Any,
        SystemTime::now(),
    )
}

fn with(change: fn(&mut CertificateParams)) -> Leaf {
    Leaf {
        change,
        ..Leaf::default()
    }
}

fn named(uris: &'static [&'static str]) -> Leaf {
    Leaf {
        uris,
        ..Leaf::default()
    }
}

#[test]
fn a_real_bundle_is_judged_as_its_makers_judge_it() {
    let [root, issuer, leaf] = [fixtures::ROOT, fixtures::ISSUER, fixtures::LEAF].map(fixture);
    let anchors = TrustAnchors::from_pem(fixtures::ROOT).unwrap();
    let exact = Expect::Exact(SpiffeId::parse(APP).unwrap());
    let (now, ok) = (fixtures::now(), Ok(APP.to_owned()));
    let judge = |chain: &[&CertificateDer<'static>], expect: &Expect, now| {
        let chain: Vec<_> = chain.iter().map(|certificate| (*certificate).clone()).collect();
        verdict(&chain, &anchors, expect, now)
    };
    let other = Err(format!("unexpected SPIFFE ID: \"{APP}\""));
    for chain in [
        &[&leaf, &issuer][..],
        &[&leaf, &issuer, &root],
        &[&leaf, &root, &issuer],
    ] {
        assert_eq!(judge(chain, &exact, now), ok);
        assert_eq!(judge(chain, &app("myapp"), now), ok);
        assert_eq!(judge(chain, &app("other"), now), other);
    }
    let wrong = Expect::Exact(SpiffeId::parse("spiffe://localhost/ns/default/dapr-sentry").unwrap());
    assert_eq!(
        judge(&[&leaf, &issuer], &wrong, now),
        Err(format!("unexpected ID \"{APP}\""))
    );
    for expect in [&exact, &app("other")] {
        assert_eq!(
            judge(&[&leaf], expect, now).unwrap_err(),
            "x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority"
        );
        assert_eq!(
            judge(&[&issuer], expect, now).unwrap_err(),
            "x509svid: could not get leaf SPIFFE ID: certificate contains no URI SAN"
        );
    }
    let expires = fixtures::now() + Duration::from_secs(23 * 3600 + 23 * 60 + 27);
    assert_eq!(judge(&[&leaf, &issuer], &exact, expires), ok);
    assert_eq!(
        judge(&[&leaf, &issuer], &exact, expires + Duration::from_secs(1)).unwrap_err(),
        "x509svid: could not verify leaf certificate: x509: certificate has expired or is not yet valid: \
         current time 2026-11-24T05:23:28Z is after 2026-11-24T05:23:27Z"
    );
    let starts = fixtures::now() - Duration::from_secs(51 * 60 + 33);
    assert_eq!(judge(&[&leaf, &issuer], &exact, starts), ok);
    assert_eq!(
        judge(&[&leaf, &issuer], &exact, starts - Duration::from_secs(1)).unwrap_err(),
        "x509svid: could not verify leaf certificate: x509: certificate has expired or is not yet valid: \
         current time 2026-11-23T05:08:26Z is before 2026-11-23T05:08:27Z"
    );
}

#[test]
fn leafs_of_every_harmless_kind_are_accepted() {
    let rows = [
        ("usual", Leaf::default()),
        (
            "with a DNS name",
            with(|params| {
                let name = SanType::DnsName("foo.example".try_into().unwrap());
                params.subject_alt_names.insert(0, name);
            }),
        ),
        ("CA:FALSE", with(|params| params.is_ca = IsCa::ExplicitNoCa)),
        ("no keyUsage", with(|params| params.key_usages.clear())),
        (
            "no extended key usage",
            with(|params| params.extended_key_usages.clear()),
        ),
        (
            "codeSigning only",
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
        ),
        (
            "P-256",
            Leaf {
                key: KeyType::EcdsaP256,
                ..Leaf::default()
            },
        ),
        (
            "RSA",
            Leaf {
                key: KeyType::Rsa2048,
                ..Leaf::default()
            },
        ),
        (
            "unknown extension, not critical",
            with(|params| {
                let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![4, 0]);
                params.custom_extensions.push(extension);
            }),
        ),
    ];
    for (kind, leaf) in rows {
        assert_eq!(verdict_on(&leaf), Ok(APP.to_owned()), "{kind}");
    }
    for uris in [
        &["spiffe://othertd/ns/default/myapp"],
        &["spiffe://public/ns/default/myapp/extra"],
        &["spiffe://public/myapp"],
    ] {
        assert_eq!(verdict_on(&named(uris)), Ok(uris[0].to_owned()));
    }
}

#[test]
fn leafs_that_break_a_rule_are_refused_with_its_text() {
    let no_id = "x509svid: could not get leaf SPIFFE ID: ";
    let unverified = "x509svid: could not verify leaf certificate: ";
    let rows: [(Leaf, String); 12] = [
        (named(&[]), format!("{no_id}certificate contains no URI SAN")),
        (
            named(&[APP, "spiffe://public/ns/default/other"]),
            format!("{no_id}certificate contains more than one URI SAN"),
        ),
        (
            named(&["https://public/ns/default/myapp"]),
            format!("{no_id}scheme is missing or invalid"),
        ),
        (
            named(&["spiffe://PUBLIC/ns/default/myapp"]),
            format!("{no_id}{}", SpiffeIdError::TrustDomainCharacter),
        ),
        (
            named(&["spiffe://public/ns/default/my%61pp"]),
            format!("{no_id}{}", SpiffeIdError::SegmentCharacter),
        ),
        (named(&["spiffe://public"]), format!("{no_id}path is missing")),
        (
            with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            "x509svid: leaf certificate with CA flag set to true".to_owned(),
        ),
        (
            with(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
            "x509svid: leaf certificate with KeyCertSign key usage".to_owned(),
        ),
        (
            with(|params| params.key_usages.push(KeyUsagePurpose::CrlSign)),
            "x509svid: leaf certificate with KeyCrlSign key usage".to_owned(),
        ),
        (
            with(|params| params.custom_extensions.push(unknown_critical_extension())),
            format!("{unverified}x509: unhandled critical extension (1.2.3.4.5)"),
        ),
        (
            Leaf {
                valid: -3600..-60,
                ..Leaf::default()
            },
            format!("{unverified}x509: certificate has expired or is not yet valid: current time "),
        ),
        (
            Leaf {
                valid: 60..3600,
                ..Leaf::default()
            },
            format!("{unverified}x509: certificate has expired or is not yet valid: current time "),
        ),
    ];
    for (leaf, expected) in rows {
        let error = verdict_on(&leaf).unwrap_err();
        assert!(error.starts_with(&expected), "{error} is not {expected}");
    }
}

#[test]
fn a_leaf_of_a_stranger_is_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let now = SystemTime::now();
    let (chain, _) = theirs.chain(&Leaf::default());
    let anchors = ours.anchors().current();
    let error = verdict(&chain, &anchors, &Expect::Any, now).unwrap_err();
    assert_eq!(
        error,
        "x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority \
         (possibly because of \"x509: Ed25519 verification failure\" while trying to verify candidate authority \
         certificate \"localhost\")"
    );
    // Their leaf, our issuer of the same name: the signature does not fit.
    let mixed = [chain[0].clone(), ours.issuer.der.clone()];
    assert!(verdict(&mixed, &anchors, &Expect::Any, now).is_err());
}

#[test]
fn a_signature_over_other_bytes_is_refused() {
    let authority = Authority::new();
    let (mut chain, _) = authority.chain(&Leaf::default());
    let mut forged = chain[0].to_vec();
    *forged.last_mut().unwrap() ^= 1;
    chain[0] = CertificateDer::from(forged);
    let error = verdict(
        &chain,
        &authority.anchors().current(),
        &Expect::Any,
        SystemTime::now(),
    );
    assert!(error.unwrap_err().contains("x509: Ed25519 verification failure"));
}

#[test]
fn an_anchor_must_still_be_valid() {
    let expired = |params: &mut CertificateParams| {
        params.not_after = time::OffsetDateTime::now_utc() - time::Duration::minutes(1);
    };
    let root = Party::root("localhost", expired);
    let issuer = root.below("issuer", |_| {});
    let (leaf, _) = issuer.leaf(&Leaf::default());
    let anchors = anchors_of(&[&root.der]);
    let error = verdict(&[leaf, issuer.der], &anchors, &Expect::Any, SystemTime::now());
    assert!(error.unwrap_err().contains("certificate has expired"));
}

#[test]
fn issuers_must_be_allowed_to_issue() {
    let root = Party::root("localhost", |_| {});
    let no_authority: fn(&mut CertificateParams) = |params| params.is_ca = IsCa::ExplicitNoCa;
    let no_signing: fn(&mut CertificateParams) =
        |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let silent: fn(&mut CertificateParams) = |params| params.is_ca = IsCa::NoCa;
    for change in [no_authority, no_signing, silent] {
        let issuer = root.below("issuer", change);
        let (leaf, _) = issuer.leaf(&Leaf::default());
        let chain = [leaf, issuer.der];
        let error = verdict(&chain, &anchors_of(&[&root.der]), &Expect::Any, SystemTime::now());
        assert!(
            error
                .unwrap_err()
                .contains("parent certificate cannot sign this kind of certificate")
        );
    }
    let silent_about_use: fn(&mut CertificateParams) = |params| params.key_usages.clear();
    let issuer = root.below("issuer", silent_about_use);
    let (leaf, _) = issuer.leaf(&Leaf::default());
    assert!(
        verdict(
            &[leaf, issuer.der],
            &anchors_of(&[&root.der]),
            &Expect::Any,
            SystemTime::now()
        )
        .is_ok()
    );
}

#[test]
fn intermediates_may_come_in_any_order_and_in_excess() {
    let root = Party::root("root", |_| {});
    let upper = root.below("upper", |_| {});
    let middle = upper.below("middle", |_| {});
    let lower = middle.below("lower", |_| {});
    let (leaf, _) = lower.leaf(&Leaf::default());
    let stranger = Party::root("lower", |_| {});
    let ok = Ok(APP.to_owned());
    let judge = |others: &[&Party]| {
        let chain: Vec<_> = [&leaf]
            .into_iter()
            .chain(others.iter().map(|party| &party.der))
            .cloned()
            .collect();
        verdict(&chain, &anchors_of(&[&root.der]), &Expect::Any, SystemTime::now())
    };
    assert_eq!(judge(&[&lower, &middle, &upper]), ok);
    assert_eq!(judge(&[&upper, &root, &stranger, &middle, &lower, &lower]), ok);
    assert!(judge(&[&lower, &upper]).is_err());
}

#[test]
fn an_anchor_need_not_be_self_signed() {
    let authority = Authority::new();
    let (chain, _) = authority.chain(&Leaf::default());
    let anchors = anchors_of(&[&authority.issuer.der]);
    let now = SystemTime::now();
    assert!(verdict(&chain, &anchors, &Expect::Any, now).is_ok());
    assert!(verdict(&chain[..1], &anchors, &Expect::Any, now).is_ok());
    let pinned = anchors_of(&[&chain[0]]);
    assert!(verdict(&chain[..1], &pinned, &Expect::Any, now).is_ok());
}

#[test]
fn two_roots_serve_while_one_replaces_the_other() {
    let (old, new) = (Authority::new(), Authority::new());
    let anchors = anchors_of(&[&old.root.der, &new.root.der]);
    for authority in [&old, &new] {
        let (chain, _) = authority.chain(&Leaf::default());
        assert!(verdict(&chain, &anchors, &Expect::Any, SystemTime::now()).is_ok());
    }
}

#[test]
fn the_number_of_intermediates_is_limited_by_those_above() {
    let limited: fn(&mut CertificateParams) =
        |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = Party::root("root", |_| {});
    let upper = root.below("upper", limited);
    let (leaf, _) = upper.leaf(&Leaf::default());
    let anchors = anchors_of(&[&root.der]);
    let now = SystemTime::now();
    assert!(verdict(&[leaf, upper.der.clone()], &anchors, &Expect::Any, now).is_ok());
    let lower = upper.below("lower", |_| {});
    let (leaf, _) = lower.leaf(&Leaf::default());
    assert_eq!(
        verdict(&[leaf, lower.der, upper.der], &anchors, &Expect::Any, now).unwrap_err(),
        "x509svid: could not verify leaf certificate: x509: too many intermediates for path length constraint"
    );
}

/// An issuer that may issue only for URIs of one host.
fn constrained_to(host: &str) -> CustomExtension {
    let uri = der::value(0x86, host.as_bytes());
    let permitted = der::context(0, &der::sequence(&[&uri]));
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], der::sequence(&[&permitted]));
    extension.set_criticality(true);
    extension
}

#[test]
fn name_constraints_bind_the_ids_below() {
    let judge = |change: fn(&mut CertificateParams)| {
        let root = Party::root("root", |_| {});
        let issuer = root.below("issuer", change);
        let (leaf, _) = issuer.leaf(&Leaf::default());
        verdict(
            &[leaf, issuer.der],
            &anchors_of(&[&root.der]),
            &Expect::Any,
            SystemTime::now(),
        )
    };
    assert_eq!(
        judge(|params| params.custom_extensions.push(constrained_to("public"))),
        Ok(APP.to_owned())
    );
    assert_eq!(
        judge(|params| params.custom_extensions.push(constrained_to("other"))).unwrap_err(),
        format!(
            "x509svid: could not verify leaf certificate: x509: a root or intermediate certificate is not \
             authorized to sign for this name: URI \"{APP}\" is not permitted by any constraint"
        )
    );
    let directory: fn(&mut CertificateParams) = |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DirectoryName(rcgen::DistinguishedName::new())],
            excluded_subtrees: Vec::new(),
        });
    };
    assert_eq!(
        judge(directory).unwrap_err(),
        "x509svid: could not verify leaf certificate: x509: unhandled critical extension (2.5.29.30)"
    );
}

#[test]
fn the_work_for_one_peer_is_bounded() {
    let root = Party::root("root", |_| {});
    // Thirty-one authorities that all have the same name: any may be the issuer of any.
    let twins: Vec<_> = (0..31).map(|_| Party::root("twin", |_| {}).der).collect();
    let hidden = Party::root("twin", |_| {});
    let (leaf, _) = hidden.leaf(&Leaf::default());
    let anchors = anchors_of(&[&root.der]);
    let mut chain = vec![leaf.clone()];
    chain.extend(twins.iter().cloned());
    assert!(verdict(&chain, &anchors, &Expect::Any, SystemTime::now()).is_err());
    chain.push(leaf);
    assert_eq!(
        verdict(&chain, &anchors, &Expect::Any, SystemTime::now()).unwrap_err(),
        "x509svid: too many certificates"
    );
}

#[test]
fn a_maze_of_cross_signatures_ends_at_the_limit_of_checks() {
    // Certificates of one name and key: each may have issued any other, so the number of paths explodes.
    let maze = Party::root("maze", |_| {});
    let mut chain = vec![maze.leaf(&Leaf::default()).0];
    chain.extend((0..31).map(|serial| maze.twin(serial)));
    let anchors = anchors_of(&[&Party::root("elsewhere", |_| {}).der]);
    assert_eq!(
        verdict(&chain, &anchors, &Expect::Any, SystemTime::now()).unwrap_err(),
        "x509svid: could not verify leaf certificate: x509: signature check attempts limit reached while \
         verifying certificate chain"
    );
    // With the way out at hand it is found.
    let anchors = anchors_of(&[&maze.der]);
    assert!(verdict(&chain, &anchors, &Expect::Any, SystemTime::now()).is_ok());
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let authority = Authority::new();
    let (chain, _) = authority.chain(&Leaf::default());
    let anchors = authority.anchors().current();
    let judge = |chain: &[CertificateDer<'_>]| verdict(chain, &anchors, &Expect::Any, SystemTime::now());
    let parse = "x509svid: could not parse certificate: ";
    for bytes in [&b""[..], b"x", &chain[0][..chain[0].len() - 1]] {
        let error = judge(&[CertificateDer::from(bytes)]).unwrap_err();
        assert_eq!(error, format!("{parse}x509: malformed certificate"));
    }
    let long = [&chain[0][..], b"x"].concat();
    assert_eq!(
        judge(&[CertificateDer::from(long)]).unwrap_err(),
        format!("{parse}x509: trailing data")
    );
    let broken_extra = [
        chain[0].clone(),
        chain[1].clone(),
        CertificateDer::from(&b"x"[..]),
    ];
    assert!(judge(&broken_extra).is_err());
}

#[test]
fn no_damage_to_a_certificate_makes_verification_panic_or_pass() {
    let [issuer, leaf] = [fixtures::ISSUER, fixtures::LEAF].map(fixture);
    let anchors = AnchorSource::fixed(TrustAnchors::from_pem(fixtures::ROOT).unwrap()).current();
    for position in 0..leaf.len() {
        let mut damaged = leaf.to_vec();
        damaged[position] ^= 0x41;
        let chain = [CertificateDer::from(damaged), issuer.clone()];
        assert!(
            verdict(&chain, &anchors, &Expect::Any, fixtures::now()).is_err(),
            "byte {position}"
        );
    }
}
