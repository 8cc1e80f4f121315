//! What tests of whole processes need. Never part of a program.
//!
//! ```text
//! isolated!(async { … })          a network of its own for each test: free ports, real multicast
//!   Cluster ─┬─ Sentry            a certificate authority
//!            └─ Daprd + HttpApp   sidecars, each with an app that records what it receives
//!   http, grpc                    raw clients: headers in the case they have, frames as they are
//!   Collector                     spans that a sidecar exported
//!   Authority                     certificates, right and wrong ones
//!   Consul, KubeApi, Vault        fakes, which say so
//!   servers                       real stores, each with a folder and a port of its own
//!   PluggableComponent            stores behind a Unix socket
//!   FaultProxy                    a network that misbehaves at command
//! ```
//!
//! **Waiting.** Nothing here sleeps for a fixed time; [`until`] asks again and again until a
//! condition holds, and fails with what it waited for.
//!
//! **Multicast.** The default name resolver finds peers by multicast, and a test must not talk to
//! the network of the machine. [`isolated!`] therefore runs the test in a network namespace of its
//! own (`unshare --net`) with a loopback interface and a wire whose both ends are inside
//! (`veth`; the `dummy` kind is missing in many kernels). That needs root or unprivileged user
//! namespaces. Where neither is given the test is skipped with a message, or fails if
//! `TESTKIT_REQUIRE=1`.
//!
//! **Variables.** `OUTRIGGER_BIN`: the binary under test, else it is built once and looked up beside
//! the test program. `TESTKIT_LOG=1`: show the output of all programs as it comes.

mod binary;
pub mod certificates;
mod cluster;
mod consul;
mod daprd;
mod directory;
mod fault;
pub mod grpc;
pub mod http;
mod kubernetes;
pub mod namespace;
mod otlp;
mod pluggable;
mod ports;
mod process;
mod require;
mod sentry;
pub mod servers;
pub mod tls;
mod until;
mod vault;

pub use binary::{example_store, outrigger_binary};
pub use certificates::{Authority, Certificate, Leaf};
pub use cluster::{Cluster, ClusterBuilder, Member};
pub use consul::Consul;
pub use daprd::{Daprd, DaprdBuilder};
pub use directory::Directory;
pub use fault::{Direction, Fault, FaultProxy};
pub use grpc::{GrpcAnswer, GrpcApp, GrpcCall, GrpcClient, GrpcReply};
pub use http::{HttpApp, HttpReply, HttpRequest, HttpResponse};
pub use kubernetes::{KubeApi, Manner};
pub use otlp::{Collector, SpanRecord};
pub use pluggable::{PluggableCall, PluggableComponent, Refusal};
pub use ports::{free_port, wait_for_port};
pub use process::{Memory, Process, Program, Signal};
pub use require::{is_required, skip};
pub use sentry::Sentry;
pub use until::{PATIENCE, until, until_within};
pub use vault::Vault;

/// A result whose error any `?` can make.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;
