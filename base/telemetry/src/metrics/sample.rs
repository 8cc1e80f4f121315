//! What a scrape or an export reads: families and the values of their series at one moment.

use std::time::SystemTime;

use super::cells::Bounds;

/// Takes families one after the other, each followed by its series.
pub(super) trait Reader {
    /// A family begins; it has at least one series.
    fn family(&mut self, head: Head<'_>);

    /// A series of the family that began last.
    fn series(&mut self, labels: Labels<'_>, sample: Sample<'_>);
}

/// What is common to the series of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) name: &'a str,
    pub(super) help: &'a str,
    pub(super) kind: Kind,
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Grows from zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts between bounds.
    Histogram,
    /// Quantiles; only metrics of others have them.
    Summary,
}

/// The labels of one series, sorted by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a> {
    /// What is printed between the braces.
    pub(super) text: &'a str,
    pub(super) names: &'a [&'a str],
    pub(super) values: &'a [Box<str>],
}

/// The value of one series.
#[derive(Clone, Debug)]
pub(super) enum Sample<'a> {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Buckets {
        bounds: &'a Bounds,
        /// One count a bucket, and one for what is above all bounds.
        counts: Vec<u64>,
        sum: f64,
        /// At most one a bucket.
        exemplars: Vec<Exemplar>,
    },
    /// Of a summary.
    Quantiles {
        quantiles: Vec<(f64, f64)>,
        sum: f64,
        count: u64,
    },
}

/// A value of a histogram that was measured within a sampled trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    /// Place of the bucket that the value fell into.
    pub(super) bucket: usize,
    pub(super) value: f64,
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) time: SystemTime,
}

// === impl Kind ===

impl Kind {
    /// The word of a `# TYPE` line.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}
