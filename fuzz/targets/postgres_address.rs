//! Connection strings of PostgreSQL: reading one never panics and finds no more keywords than it has room for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component_postgres::keywords_of;

fuzz_target!(|text: &str| {
    if let Some(count) = keywords_of(text) {
        assert!(count <= text.len());
    }
});
