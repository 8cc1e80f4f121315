//! Timeouts, retries and circuit breakers around calls to apps, actors and components.
//!
//! ```text
//! Resiliency resources ──load──▶ Policies ──app / actor / component──▶ Policy ──run──▶ attempts
//!                                (compiled,                            retry ( breaker ( timeout ( operation ) ) )
//!                                 one entry a target)
//! ```
//!
//! [`Policies`] is compiled once, when the resources are loaded. To look a target up is one step without
//! resources and one or two look-ups in a map with them; it locks nothing and allocates nothing unless a policy
//! applies. A [`Policy`] is the policies of one operation: it counts itself, runs attempts, and logs.
//!
//! An operation of a building block, under whatever applies to its component:
//!
//! ```ignore
//! let policy = policies.component("store", ComponentKind::StateStore, Direction::Outbound);
//! let entry = run(policy, |_attempt| store.get(key.clone())).await?;
//! ```
//!
//! What an operation's failure means is told by the operation, through [`Failure`]: some failures carry a
//! status code that policies may list, some are never worth another try.
//!
//! Source: specification, resiliency.

mod breaker;
mod built_in;
mod cache;
mod failure;
mod load;
mod meter;
mod policies;
mod policy;
#[cfg(test)]
mod tests;
pub mod trip;

pub use built_in::BuiltIn;
pub use failure::{Class, Failure, PolicyError};
pub use load::Loaded;
pub use meter::Direction;
pub use policies::{ComponentKind, Policies};
pub use policy::{Pending, Policy, run};

/// The scope of all log lines here.
const LOG: &str = "dapr.runtime";
