//! outrigger-kit.
