//! outrigger-link.
