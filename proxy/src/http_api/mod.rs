//! The HTTP API of the sidecar: its layers, its table of routes and the routes' own answers.
//!
//! ```text
//! request ─▶ Open ─▶ BodyLimit ─▶ Trace ─▶ Measure ─▶ Cors ─▶ RequireToken ─▶ UserMiddleware ─▶ LogCalls
//!                                                                                    │
//!        metadata, health, shutdown ◀─┐                                              ▼
//!        building blocks            ◀─┼── Routes ◀─────────────────────────────── Rescue
//!        service invocation         ◀─┘
//! ```
//!
//! Layers further out see a [`Call`] first and its answer last. An error becomes a response in [`Rescue`]
//! and nowhere else; what the layers around it refuse goes through the same function. Each layer can be
//! switched off by what it is given, so that the pipeline reads the same in every configuration.
//!
//! Source: specification, HTTP API.

mod blocks;
mod call;
mod cors;
mod limit;
mod log;
mod measure;
mod middleware;
mod observe;
mod open;
pub(crate) mod query;
mod reply;
mod rescue;
mod router;
mod routes;
mod rules;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod token;
mod trace;

pub(crate) use blocks::Blocks;
pub(crate) use call::Call;
pub(crate) use cors::{AllowedOrigins, Cors};
pub(crate) use limit::BodyLimit;
pub(crate) use log::{ApiLogging, LogCalls};
pub(crate) use measure::Measure;
pub(crate) use middleware::UserMiddleware;
pub(crate) use open::Open;
pub(crate) use rescue::Rescue;
pub(crate) use router::{Port, Router};
pub(crate) use routes::{RouteParts, Routes, ShutdownHook, ShutdownKind};
pub(crate) use rules::{ApiRule, ApiRules};
#[cfg(feature = "bench")]
pub(crate) use table::Operation;
pub(crate) use token::RequireToken;
pub(crate) use trace::Trace;

#[cfg(test)]
mod tests;
