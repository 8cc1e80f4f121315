//! Headers of encrypted documents: none panics, and pieces of any size say what the whole says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_proxy::bench_support::document_key_name;

fuzz_target!(|document: &[u8]| {
    let whole = document_key_name(document, usize::MAX);
    for piece in [1, 7, 4096] {
        assert_eq!(document_key_name(document, piece), whole);
    }
    if whole.is_ok() {
        assert!(document.starts_with(b"dapr.io/enc/v1\n"));
    }
});
