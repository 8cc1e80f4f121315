//! The numbers behind a series.
//!
//! Counts are kept once a shard, each shard on cache lines of its own, and added up when they are read: workers
//! that count the same thing at the same time do not fight for a line.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::SystemTime;

use super::number::float;
use super::sample::{Exemplar, Kind, Sample};
use crate::trace::current;

/// Most shards of a series; beyond four cores the memory is worth more than the last collision.
const MAX_SHARDS: usize = 4;

/// Words of a cache line.
const WORDS: usize = 8;

static SHARDS: LazyLock<usize> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.next_power_of_two().min(MAX_SHARDS)
});

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A kind of series: how it is made, recorded and read.
pub(super) trait Numbers: fmt::Debug + Send + Sync + 'static {
    /// What the values are.
    const KIND: Kind;

    /// What all series of a family share.
    type Shape: fmt::Debug + Send + Sync;

    fn new(shape: &Self::Shape) -> Self;

    /// Whether anything was recorded; a series that was not is not shown.
    fn is_recorded(&self) -> bool;

    /// What was recorded so far.
    fn read<'a>(&self, shape: &'a Self::Shape) -> Sample<'a>;
}

/// A count that only grows.
#[derive(Debug)]
pub(super) struct Count {
    words: Sharded,
    /// Printed even at zero.
    shown: AtomicBool,
}

/// The last value set.
#[derive(Debug)]
pub(super) struct Value(AtomicU64);

/// Counts of values between bounds, and their sum.
#[derive(Debug)]
pub(super) struct Distribution {
    /// One word a bucket, one for what is above all bounds, one for the sum.
    words: Sharded,
    /// The last value of each bucket that was measured within a sampled trace.
    exemplars: Mutex<Vec<Exemplar>>,
}

/// Upper bounds of buckets. Values are whole numbers of a small unit, so that sums are exact and adding is one
/// instruction; the scale brings them to the unit that is printed.
#[derive(Debug)]
pub(super) struct Bounds {
    limits: Box<[u64]>,
    /// The bounds in the printed unit.
    values: Box<[f64]>,
    /// The bounds as label values.
    names: Box<[Box<str>]>,
    scale: f64,
}

/// Words that several threads add to.
#[derive(Debug)]
struct Sharded {
    lines: Box<[Line]>,
    /// Lines of a shard.
    stride: usize,
    /// Number of shards, less one.
    mask: usize,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; WORDS]);

/// Gives the calling thread shard `index` (modulo the number of shards); without a call threads take turns.
///
/// Workers that call this with their number never share a shard while there are enough of them.
pub fn pin_thread(index: usize) {
    THREAD.set(Some(index));
}

// === impl Sharded ===

impl Sharded {
    fn new(words: usize) -> Self {
        let (shards, stride) = (*SHARDS, words.div_ceil(WORDS));
        let lines = (0..stride * shards).map(|_| Line::default()).collect();
        Self {
            lines,
            stride,
            mask: shards - 1,
        }
    }

    fn add(&self, word: usize, amount: u64) {
        let line = (thread() & self.mask) * self.stride + word / WORDS;
        self.lines[line].0[word % WORDS].fetch_add(amount, Ordering::Relaxed);
    }

    fn sum(&self, word: usize) -> u64 {
        let shards = self.lines.chunks_exact(self.stride);
        shards
            .map(|shard| shard[word / WORDS].0[word % WORDS].load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

fn thread() -> usize {
    THREAD.get().unwrap_or_else(|| {
        let index = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
        THREAD.set(Some(index));
        index
    })
}

// === impl Count ===

impl Count {
    pub(super) fn add(&self, amount: u64) {
        self.words.add(0, amount);
    }

    /// Prints the series from now on, even at zero.
    pub(super) fn show(&self) {
        self.shown.store(true, Ordering::Relaxed);
    }

    pub(super) fn total(&self) -> u64 {
        self.words.sum(0)
    }
}

impl Numbers for Count {
    const KIND: Kind = Kind::Counter;
    type Shape = ();

    fn new((): &()) -> Self {
        Self {
            words: Sharded::new(1),
            shown: AtomicBool::new(false),
        }
    }

    fn is_recorded(&self) -> bool {
        self.total() > 0 || self.shown.load(Ordering::Relaxed)
    }

    fn read<'a>(&self, (): &'a ()) -> Sample<'a> {
        Sample::Number(self.total() as f64)
    }
}

// === impl Value ===

impl Value {
    /// A pattern that no number has: the value is not set.
    const UNSET: u64 = u64::MAX;

    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn add(&self, amount: f64) {
        let sum = |bits| {
            Some(
                (if bits == Self::UNSET {
                    amount
                } else {
                    f64::from_bits(bits) + amount
                })
                .to_bits(),
            )
        };
        // The closure never refuses, so the update never fails.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
            .ok();
    }
}

impl Numbers for Value {
    const KIND: Kind = Kind::Gauge;
    type Shape = ();

    fn new((): &()) -> Self {
        Self(AtomicU64::new(Self::UNSET))
    }

    fn is_recorded(&self) -> bool {
        self.0.load(Ordering::Relaxed) != Self::UNSET
    }

    fn read<'a>(&self, (): &'a ()) -> Sample<'a> {
        Sample::Number(f64::from_bits(self.0.load(Ordering::Relaxed)))
    }
}

// === impl Distribution ===

impl Distribution {
    /// Counts a value, given in the small unit of the bounds.
    pub(super) fn observe(&self, value: u64, bounds: &Bounds) {
        self.count(value, bounds);
    }

    /// The same for the time that something took, which is an example of it if its trace is sampled.
    pub(super) fn observe_time(&self, value: u64, bounds: &Bounds) {
        let bucket = self.count(value, bounds);
        if let Some(span) = current::sampled() {
            self.keep(Exemplar {
                bucket,
                value: value as f64 / bounds.scale,
                trace_id: span.trace_id,
                span_id: span.span_id,
                time: SystemTime::now(),
            });
        }
    }

    fn count(&self, value: u64, bounds: &Bounds) -> usize {
        // A value equal to a bound belongs above it: the buckets are half open.
        let bucket = bounds.limits.partition_point(|limit| *limit <= value);
        self.words.add(bucket, 1);
        self.words.add(bounds.limits.len() + 1, value);
        bucket
    }

    /// Keeps an example of its bucket, unless another thread is at it: one is as good as the other.
    fn keep(&self, exemplar: Exemplar) {
        let Ok(mut exemplars) = self.exemplars.try_lock() else {
            return;
        };
        match exemplars.iter_mut().find(|kept| kept.bucket == exemplar.bucket) {
            Some(kept) => *kept = exemplar,
            None => exemplars.push(exemplar),
        }
    }
}

impl Numbers for Distribution {
    const KIND: Kind = Kind::Histogram;
    type Shape = Arc<Bounds>;

    fn new(bounds: &Arc<Bounds>) -> Self {
        Self {
            words: Sharded::new(bounds.limits.len() + 2),
            exemplars: Mutex::default(),
        }
    }

    fn is_recorded(&self) -> bool {
        let buckets = self.words.stride * WORDS;
        (0..buckets).any(|word| self.words.sum(word) > 0)
    }

    fn read<'a>(&self, bounds: &'a Arc<Bounds>) -> Sample<'a> {
        let above = bounds.limits.len();
        Sample::Buckets {
            bounds,
            counts: (0..=above).map(|bucket| self.words.sum(bucket)).collect(),
            sum: self.words.sum(above + 1) as f64 / bounds.scale,
            exemplars: self.exemplars.lock().expect("no holder panics").clone(),
        }
    }
}

// === impl Bounds ===

impl Bounds {
    /// Bounds of the printed unit; `scale` is how many small units make one of it. A bound of 0 is dropped.
    pub(super) fn new(bounds: &[f64], scale: f64) -> Self {
        let kept: Vec<f64> = bounds.iter().copied().filter(|bound| *bound > 0.0).collect();
        Self {
            limits: kept.iter().map(|bound| (bound * scale).round() as u64).collect(),
            names: kept
                .iter()
                .map(|bound| float(*bound).to_string().into())
                .collect(),
            values: kept.into(),
            scale,
        }
    }

    /// The bounds as label values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The bounds in the printed unit.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// A number of the printed unit in small units; what is below zero counts as zero.
    pub(super) fn small_units(&self, value: f64) -> u64 {
        (value * self.scale).round() as u64
    }
}
