//! Certificates of peers: none panics, none is trusted without a signature, and an id comes from one URI.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use outrigger_identity::TrustAnchors;
use outrigger_identity::certificate::Certificate;
use outrigger_identity::tls::signature_algorithms;
use outrigger_identity::verify::{leaf_id, verify_chain};
use rustls_pki_types::CertificateDer;

/// The root of the seeds.
const ROOT: &[u8] = include_bytes!("../anchors/root.pem");

/// A moment at which the seeds are valid: 2026-11-23T06:00:00Z.
const NOW: Duration = Duration::from_secs(1_795_413_600);

static ANCHORS: LazyLock<TrustAnchors> =
    LazyLock::new(|| TrustAnchors::from_pem(ROOT).expect("the root is sound"));

fuzz_target!(|bytes: &[u8]| {
    // The first two bytes say where the leaf ends and the others begin.
    let [high, low, rest @ ..] = bytes else { return };
    let cut = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (leaf, other) = rest.split_at(cut);

    if let Ok(certificate) = Certificate::parse(leaf) {
        assert_eq!(certificate.as_der(), leaf);
        let names = certificate.names();
        if let Ok(id) = leaf_id(&certificate) {
            assert!(!names.is_empty());
            assert!(
                leaf.windows(id.as_str().len())
                    .any(|window| window == id.as_str().as_bytes())
            );
        }
    }
    let others = [CertificateDer::from(other)];
    let now = SystemTime::UNIX_EPOCH + NOW;
    if let Ok(id) = verify_chain(
        &CertificateDer::from(leaf),
        &others,
        &ANCHORS,
        now,
        signature_algorithms(),
    ) {
        // Nobody forges a signature by chance: only the seed itself is trusted.
        assert_eq!(id.as_str(), "spiffe://public/ns/default/myapp");
    }
});
