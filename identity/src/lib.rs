//! outrigger-identity.
