//! Signed tokens and key sets: none panics, and no token is believed without its key's signature.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use outrigger_identity::jose::{Compact, JwkSet, check_times, is_for};

/// A set whose private half nobody has any more.
static KEYS: LazyLock<JwkSet> = LazyLock::new(|| {
    let set = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    JwkSet::parse(set).expect("the set is sound")
});

fuzz_target!(|text: &str| {
    if let Ok(keys) = JwkSet::parse(text.as_bytes()) {
        // What is shown of a set is the same set.
        let shown = keys.to_json();
        let again = JwkSet::parse(shown.as_bytes()).expect("what is shown is a set");
        assert_eq!(again.to_json(), shown);
    }
    if let Some(token) = Compact::parse(text) {
        assert_eq!(text.trim_ascii().split('.').count(), 3);
        // Claims of any shape are judged without a panic.
        check_times(&token.claims, 1_800_000_000.0, 300.0).ok();
        is_for(&token.claims, "api").ok();
    }
    assert!(KEYS.verify(text).is_err());
});
