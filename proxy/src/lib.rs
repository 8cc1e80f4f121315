//! The data plane: what happens to a call between the app and the other sidecar.
//!
//! Start reading at [`pipeline`]: it holds every way through the sidecar and nothing else.
//!
//! | Module | Holds |
//! |---|---|
//! | [`listen`], [`serve`], [`worker`] | listeners, connections, one thread and runtime a core |
//! | [`pipeline`] | the stacks, one a listener |
//! | [`http_api`], [`grpc_api`] | the two surfaces for the own app |
//! | [`invoke`] | targets, dispatch and outcome of service invocation |
//! | [`internal`] | calls that come from other sidecars |
//! | [`access`] | who may call which operation of the app |
//! | [`passthrough`] | gRPC calls that are not ours, frame by frame |
//! | [`app`] | the channel to the own app, and its health |
//! | [`state`] | keys, values and policies of the state API |
//! | [`components`] | what resources have made of the catalogue |
//! | [`blocks`], [`configuration`], [`crypto`], [`lock`], [`secrets`] | operations on components, for both surfaces |
//! | [`sidecar`] | one run from start to the end of the drain |

mod access;
mod app;
mod attempt;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench_support;
mod blocks;
mod components;
mod configuration;
mod crypto;
mod grpc_api;
mod h2c;
mod health;
mod host;
mod http_api;
mod internal;
mod invoke;
mod listen;
mod lock;
mod metadata;
mod opening;
mod passthrough;
mod pipeline;
mod profiling;
mod runtime;
mod secrets;
mod serve;
mod sidecar;
mod state;
mod stop;
mod websocket;
mod worker;

pub use host::Host;
pub use sidecar::{RunError, run};
pub use stop::{Stop, StopCause};
pub use worker::Workers;
