//! outrigger-test-kit.
