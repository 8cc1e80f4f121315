//! What happens where the machine lacks something.

/// Whether a test must fail rather than be skipped: `TESTKIT_REQUIRE=1`, as in CI.
#[must_use]
pub fn is_required() -> bool {
    std::env::var("TESTKIT_REQUIRE").is_ok_and(|value| value == "1")
}

/// Says why a test is skipped.
///
/// # Panics
/// If nothing may be skipped.
pub fn skip(reason: &str) {
    assert!(!is_required(), "{reason}");
    eprintln!("skipped: {reason}");
}
