//! Everything a program is told before it binds a port: options, environment, Configuration, resources.
//!
//! ```text
//! arguments ─▶ Flags ─┐
//! environment ────────┴▶ Settings (validated, typed)
//! --config files ──────▶ Configuration (merged over the defaults, validated)
//! --resources-path ────▶ Manifests ─▶ Component, Subscription, Resiliency, …
//! ```
//!
//! Wire types are decoded leniently, as Go's decoders do; what leaves this crate is typed and checked.
//! Bad input is one clear line that names the file, the document and the field. Nothing here talks to a
//! network, and secrets are not resolved: they stay references.

pub mod configuration;
pub mod daprd;
pub mod env;
pub mod flags;
mod ids;
mod io;
mod log;
mod metrics;
pub mod resources;
pub mod sentry;
pub mod version;
pub mod watch;

pub use env::Env;
pub use flags::{FlagError, Parsed};
pub use ids::{AppId, Mode, Namespace};
pub use log::LogFlags;
