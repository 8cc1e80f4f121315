//! Profiles of the own process, in the form that `go tool pprof`, Grafana and most profilers read.
//!
//! A [`Profile`] is built from stacks with [`ProfileBuilder`] and written as gzipped protobuf with
//! [`Profile::to_gzip`]. [`memory`] summarises resident memory, [`threads`] counts threads by name, and [`cpu`]
//! samples stacks while the process works.
//!
//! Source: the message `perftools.profiles.Profile` of `profile.proto`.

mod builder;
#[cfg(feature = "cpu")]
pub mod cpu;
pub mod memory;
pub mod proto;
pub mod threads;

pub use builder::{Call, Frame, ProfileBuilder};
pub use proto::Profile;
