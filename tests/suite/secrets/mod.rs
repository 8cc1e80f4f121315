//! Secrets: over both APIs, and in the place of references in resources.

mod api;
mod local;
mod references;

use super::state::component;

/// A secret store of the type `secretstores.local.<kind>` with these settings.
fn store(name: &str, kind: &str, settings: &[(&str, &str)]) -> String {
    component(name, &format!("secretstores.local.{kind}"), settings)
}
