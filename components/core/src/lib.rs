//! What a component is: the traits that implementations have, and the catalogue they are found in.
//!
//! ```text
//! vendor crates ──register──▶ Catalogue ──find(type, version)──▶ maker ──Init──▶ component
//!                                 ▲                                                  │
//!             the binary builds it and hands it to the sidecar        a trait object of its family
//! ```
//!
//! A vendor crate implements the traits of the families it serves and has one function `register`. The facade
//! `outrigger-components` calls those of the vendors that a build has. The sidecar knows traits and registries
//! only; a type that is not in the catalogue is an unknown type.

pub mod configuration;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod crypto;
pub mod http_client;
pub mod http_middleware;
pub mod lock;
pub mod name_resolution;
pub mod secrets;
pub mod sql;
pub mod state;
#[cfg(feature = "conformance")]
pub mod testing;

mod answer;
mod catalogue;
mod condition;
mod feature;
mod init;
mod properties;
mod registry;

pub use answer::{answer, answer_text};
pub use catalogue::Catalogue;
pub use condition::Condition;
pub use feature::Feature;
pub use http_client::{FetchError, HttpClient, SendHttp, Trust};
pub use http_middleware::{Chain, HttpMiddleware, Next};
pub use init::Init;
pub use properties::{Fields, Properties, PropertyError};
pub use registry::{Found, Maker, Registry, Versions};
