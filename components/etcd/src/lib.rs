//! etcd: state, in two layouts.
//!
//! ```text
//! EtcdStore ── Layout: v1 bytes, v2 a message with the time of writing
//!     └── Client ── KV, Lease ──▶ channel ──▶ Dialer ──▶ the first of the endpoints that answers
//! ```
//!
//! The code in `src/gen` is made of `proto/etcd.proto` by `cargo xtask gen`.

mod client;
mod dial;
#[path = "gen/mod.rs"]
#[allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::wildcard_imports,
    reason = "generated code"
)]
mod generated;
mod settings;
mod state;

use outrigger_component::{Catalogue, Versions};

pub use state::EtcdStore;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .state
        .register_version("state.etcd", "v1", state::make_v1);
    catalogue
        .state
        .register_version("state.etcd", "v2", state::make_v2);
    let versions = Versions {
        default: "v1",
        preferred: "v2",
        deprecated: &["v1"],
    };
    catalogue.state.set_versions("state.etcd", versions);
}
