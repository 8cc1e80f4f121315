//! Secrets in Secrets Manager and in Parameter Store.
//!
//! Source: specification, secrets A3.

mod manager;
mod parameters;

pub use self::manager::SecretManager;
pub(crate) use self::manager::make as make_manager;
pub use self::parameters::ParameterStore;
pub(crate) use self::parameters::make as make_parameters;

/// Name of the request metadata that say the version.
const VERSION: &str = "version_id";

/// The most pages of a list, whatever the service says of a next one.
const MAX_PAGES: usize = 10_000;
