//! Turns an app id into the address of the sidecar beside that app.
//!
//! ```text
//!            hit: no lock, no allocation
//! call ──▶ Resolver ──▶ table (namespace, app id, port) ──▶ Endpoints ──▶ Choose ──▶ Endpoint
//!             │ miss: one flight a key                         ▲
//!             └────────▶ NameResolver (mdns │ kubernetes │ nameformat) ── background refresh
//! ```
//!
//! A [`NameResolver`] answers with a *set* of [`Endpoints`] and says how long it holds; the
//! [`Resolver`] keeps the set, refreshes it behind the back of the requests and lets a [`Choose`]
//! pick one. The mDNS resolver also announces the own instance.
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
mod host;
mod interfaces;
mod kubernetes;
pub mod mdns;
mod nameformat;
mod resolver;
mod table;
mod template;

pub use component::{Component, Instance, start};
pub use endpoint::{Endpoint, Endpoints, Members, Request};
pub use error::{InitError, InitReason, ResolveError};
pub use facade::Resolver;
pub use host::{HostAddressError, host_address};
pub use kubernetes::{DnsLookup, KubernetesResolver, LookupAddresses};
pub use nameformat::NameFormatResolver;
pub use resolver::{Answer, Keep, NameResolver};

/// The scope under which the resolvers log.
pub(crate) const SCOPE: &str = "dapr.contrib";
