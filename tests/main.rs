//! Tests of whole processes: the binary as users, apps, peers and supervisors meet it.
//!
//! One file a behaviour, all in one test program. What they stand on is in `tests/kit`.

#![allow(
    clippy::needless_pass_by_value,
    clippy::string_slice,
    clippy::type_complexity,
    clippy::bind_instead_of_map,
    reason = "tables and helpers of tests; a slip fails the test at once"
)]

mod suite {
    mod access;
    mod broken;
    mod check;
    mod components;
    mod configuration;
    mod crypto;
    mod durable;
    mod health;
    mod identity;
    mod invoke;
    mod lock;
    mod middleware;
    mod observe;
    mod pluggable;
    mod process;
    mod readme;
    mod reload;
    mod resilience;
    mod resolve;
    mod sdk;
    mod secrets;
    mod state;
    mod streams;
    mod surface;
    mod world;
}
