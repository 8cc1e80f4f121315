//! outrigger-config.
