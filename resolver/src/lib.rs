//! Turns an app id into the address of the sidecar beside that app.
//!
//! ```text
//!            hit: no lock, no allocation
//! call ──▶ Resolver ──▶ table (namespace, app id, port) ──▶ Endpoints ──▶ Balance ──▶ Endpoint
//!             │ miss: one flight a key                         ▲
//!             └────────▶ NameResolver (local registry and mdns │ kubernetes │ nameformat) ── background refresh
//! ```
//!
//! A [`NameResolver`] answers with a *set* of [`Endpoints`] and says how long it holds; the
//! [`Resolver`] keeps the set and refreshes it behind the back of the requests; each worker has a
//! [`Balance`](balance::Balance) that picks one. Some resolvers also announce the own instance.
//!
//! This crate does not connect to anything it finds, and an answer proves nothing: the identity of
//! the callee is checked on the connection.
//!
//! Source: specification of name resolution.

pub mod balance;
mod component;
mod endpoint;
mod error;
mod facade;
mod flight;
mod foreign;
mod host;
mod interfaces;
mod kubernetes;
mod local;
pub mod mdns;
mod nameformat;
mod resolver;
mod self_hosted;
mod table;
mod template;

pub use component::{Component, Instance, start, start_self_hosted};
pub use endpoint::{Endpoint, Endpoints, Members, Request};
pub use error::{InitError, InitReason, ResolveError};
pub use facade::Resolver;
pub use foreign::ComponentResolver;
pub use host::{HostAddressError, host_address};
pub use kubernetes::{DnsLookup, KubernetesResolver, LookupAddresses};
#[doc(hidden)]
pub use local::read_record;
pub use local::{Meeting, Neighbour};
pub use nameformat::NameFormatResolver;
pub use resolver::{Answer, Keep, NameResolver};

/// The scope under which the resolvers log.
pub(crate) const SCOPE: &str = "dapr.contrib";
