//! Keys as files and sets hold them: none panics, and what one wraps it unwraps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component::crypto::KeyUse;
use outrigger_component_keys::{JSON, Key, PEM, parse_set};

fuzz_target!(|content: &[u8]| {
    if let Ok(keys) = parse_set(content) {
        keys.values().for_each(check);
    }
    for content_type in [JSON, PEM, ""] {
        if let Ok(key) = Key::parse(content, content_type) {
            check(&key);
        }
    }
});

fn check(key: &Key) {
    for (algorithm, nonce) in [("A128KW", 0), ("A256KW", 0), ("A192GCM", 12), ("XC20P", 24), ("A128CBC-HS256", 16)] {
        let nonce = vec![3; nonce];
        let with = KeyUse {
            name: "key",
            algorithm,
            nonce: &nonce,
            tag: &[],
            associated_data: b"data",
        };
        // Keys of other sizes and kinds refuse.
        if let Ok(sealed) = key.wrap(&[7; 32], with) {
            let with = KeyUse { tag: &sealed.tag, ..with };
            if let Ok(text) = key.unwrap(&sealed.bytes, with) {
                assert_eq!(*text, [7; 32]);
            }
        }
    }
}
