//! SPIFFE ids and trust domains: what is accepted is what is printed, and it is within the rules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_identity::{SpiffeId, TrustDomain};

fuzz_target!(|text: &str| {
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#%@\\".contains(&byte))
        );
        let segments: Vec<_> = id.path().split('/').skip(1).collect();
        assert!(segments.iter().all(|segment| !["", ".", ".."].contains(segment)));
        let domain = TrustDomain::parse(id.trust_domain()).expect("an id has a valid trust domain");
        assert_eq!(
            SpiffeId::from_segments(&domain, &segments).expect("an id has valid segments"),
            id
        );
        if let Ok(workload) = id.split() {
            let again = SpiffeId::workload(&domain, workload.namespace, workload.app_id);
            assert!(again.is_ok_and(|again| text.starts_with(again.as_str())));
        }
    }
    if let Ok(domain) = TrustDomain::parse(text) {
        assert_eq!(TrustDomain::parse(domain.as_str()).as_ref(), Ok(&domain));
    }
});
