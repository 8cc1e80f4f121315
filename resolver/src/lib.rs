//! outrigger-resolver.
