//! outrigger-proxy.
