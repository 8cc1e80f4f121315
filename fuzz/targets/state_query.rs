//! Queries of state: none panics, and what is read is what was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component::state::{Filter, Query};

fuzz_target!(|text: &[u8]| {
    let Ok(query) = Query::parse(text) else {
        return;
    };
    assert_eq!(query.filter.is_none(), query.filter_members.is_empty());
    if let Some(filter) = &query.filter {
        check(filter);
    }
    let document: serde_json::Value = serde_json::from_slice(text).expect("a query is JSON");
    let again = serde_json::to_vec(&document).expect("JSON can be written");
    assert_eq!(Query::parse(&again).as_ref(), Ok(&query));
});

/// Combinations have two parts at least.
fn check(filter: &Filter) {
    if let Filter::And(parts) | Filter::Or(parts) = filter {
        assert!(parts.len() >= 2);
        parts.iter().for_each(check);
    }
}
