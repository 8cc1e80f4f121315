//! outrigger-telemetry.
