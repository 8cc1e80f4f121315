//! outrigger-api.
