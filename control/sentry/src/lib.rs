//! outrigger-sentry.
