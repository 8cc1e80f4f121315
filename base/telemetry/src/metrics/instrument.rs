//! Counters, gauges and histograms: what programs record on.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, Key};
use super::cells::{Count, Distribution, Numbers, Value};
use super::family::Family;

/// Counts events, by label values. Known series are recorded on without a lock.
#[derive(Debug)]
pub struct Counter(pub(super) Instrument<Count>);

/// Holds the last value set, by label values.
#[derive(Debug)]
pub struct Gauge(pub(super) Instrument<Value>);

/// Counts values in buckets, by label values.
#[derive(Debug)]
pub struct Histogram(pub(super) Instrument<Distribution>);

/// A family and the series of it that have been recorded on.
#[derive(Debug)]
pub(super) struct Instrument<N: Numbers> {
    family: Arc<Family<N>>,
    known: Cache<Arc<N>>,
    enabled: bool,
}

// === impl Instrument ===

impl<N: Numbers> Instrument<N> {
    pub(super) fn new(family: Arc<Family<N>>, enabled: bool, limit: usize) -> Self {
        Self {
            family,
            known: Cache::new(limit),
            enabled,
        }
    }

    /// Records on the series of those label values; does nothing if metrics are off.
    pub(super) fn record(&self, key: Key<'_>, record: impl FnOnce(&N, &N::Shape)) {
        if self.enabled {
            let resolve = || self.family.resolve(key);
            self.known
                .with(key, resolve, |numbers| record(numbers, &self.family.shape));
        }
    }
}

// === impl Counter ===

impl Counter {
    /// Counts one event.
    pub fn increment(&self, labels: &[&str]) {
        self.add(labels, 1);
    }

    /// Counts several events.
    pub fn add(&self, labels: &[&str], amount: u64) {
        self.0.record(Key::texts(labels), |count, ()| count.add(amount));
    }

    /// Makes the series appear, at zero if nothing has been counted.
    pub fn show(&self, labels: &[&str]) {
        self.0.record(Key::texts(labels), |count, ()| count.show());
    }

    /// Counts one event whose last label is a number.
    pub(super) fn increment_numbered(&self, labels: &[&str], number: i64) {
        self.0
            .record(Key::with_number(labels, number), |count, ()| count.add(1));
    }
}

// === impl Gauge ===

impl Gauge {
    /// Sets the value.
    pub fn set(&self, labels: &[&str], value: f64) {
        self.0.record(Key::texts(labels), |gauge, ()| gauge.set(value));
    }

    /// Adds to the value, which begins at zero.
    pub fn add(&self, labels: &[&str], amount: f64) {
        self.0.record(Key::texts(labels), |gauge, ()| gauge.add(amount));
    }
}

// === impl Histogram ===

impl Histogram {
    /// Counts a value, in the unit of the bounds.
    pub fn observe(&self, labels: &[&str], value: f64) {
        self.0.record(Key::texts(labels), |numbers, bounds| {
            numbers.observe(bounds.small_units(value), bounds)
        });
    }

    /// Counts a latency; the bounds are milliseconds.
    pub fn observe_latency(&self, labels: &[&str], elapsed: Duration) {
        self.0.record(Key::texts(labels), |numbers, bounds| {
            numbers.observe_time(nanos(elapsed), bounds)
        });
    }
}

/// A latency in the small unit of latency bounds.
pub(super) fn nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
