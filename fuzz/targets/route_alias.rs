//! Patterns of route aliases: none panics, texts stand for themselves, variables are parts of the path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component_local::middleware::routeralias::Pattern;

fuzz_target!(|text: &str| {
    // The first line is a pattern, the second a decoded path.
    let (pattern, path) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(parsed) = Pattern::parse(pattern) else {
        return;
    };
    assert!(pattern.starts_with('/'));
    if !pattern.contains(['{', '}']) {
        assert_eq!(parsed.variables(pattern), Some(Vec::new()));
        assert_eq!(parsed.variables(path).is_some(), path == pattern);
    }
    if let Some(variables) = parsed.variables(path) {
        for (name, value) in variables {
            assert!(!name.is_empty() && pattern.contains(name));
            assert!(path.contains(value));
        }
    }
});
