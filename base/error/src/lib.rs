//! outrigger-error.
