//! Secret stores that need no server: the environment of the sidecar, and a file.
//!
//! Source: specification, secrets A3.

mod env;
mod file;

use outrigger_component::Registry;
use outrigger_component::secrets::SecretStore;

pub use env::EnvSecrets;
pub use file::FileSecrets;

/// Adds the types of this module.
pub(crate) fn register(registry: &mut Registry<dyn SecretStore>) {
    registry.register("secretstores.local.env", EnvSecrets::make);
    registry.register("secretstores.local.file", FileSecrets::make);
}
