//! Every stage that a call passes through, as an operation that can be measured.
//!
//! ```text
//! stages: routing │ access │ headers │ codec │ trace │ resolver │ metrics │ resilience │ link │ state
//!            └──────── each calls Meter::measure for its operations ────────┐
//!                                                                           ▼
//!                                  benches/hot_path (time)      benches/alloc_count (allocations)
//! ```
//!
//! The stages are listed once, in [`measure_all`], and measured in two ways, so that a figure of time and a
//! figure of memory always speak of the same thing. The calls that they work on are those of [`samples`].
//! What whole sidecars cost, beside other proxies, is measured from outside by `pair/bench_pair.py`.

mod access;
mod codec;
mod headers;
mod link;
mod metrics;
mod peer;
mod resilience;
mod resolver;
mod routing;
pub mod samples;
mod state;
mod trace;

/// Measures operations, in whatever respect.
pub trait Meter {
    /// Measures one operation of a stage; dropping what it returns is a part of it.
    ///
    /// The operation is run many times. The first runs may fill caches: a hot path is warm.
    fn measure<R>(&mut self, stage: &str, name: &str, operation: impl FnMut() -> R);
}

/// Measures all operations, in the order in which a call meets them.
pub fn measure_all(meter: &mut impl Meter) {
    routing::measure(meter);
    access::measure(meter);
    headers::measure(meter);
    trace::measure(meter);
    resolver::measure(meter);
    metrics::measure(meter);
    resilience::measure(meter);
    codec::measure(meter);
    link::measure(meter);
    state::measure(meter);
}
