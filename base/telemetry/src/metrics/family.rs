//! Families: all series of one name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::cache::Key;
use super::cells::{Count, Numbers};
use super::exposition::label_text;
use super::rules::Rewrite;
use super::sample::{Head, Labels, Reader};

/// Label value of the series that takes what is beyond the limit of a family.
pub(super) const OVERFLOW: &str = "overflow";

/// Room for label values, in bytes a series that the limit allows. A client that invents long names meets the
/// limit earlier than one that invents short ones.
const ROOM: usize = 512;

/// The series of one name, made when they are first recorded on.
#[derive(Debug)]
pub(super) struct Family<N: Numbers> {
    name: Box<str>,
    help: Box<str>,
    pub(super) shape: N::Shape,
    /// Sorted by name.
    labels: Box<[Label]>,
    names: Box<[&'static str]>,
    limit: Limit,
    series: Mutex<AllSeries<N>>,
}

/// How large a family may grow.
#[derive(Debug)]
pub(super) struct Limit {
    /// Most series; 0 means any number.
    pub(super) series: usize,
    /// Where it is counted, by metric, that a record found no series of its own; none for that family itself.
    pub(super) overflown: Option<Arc<Family<Count>>>,
    /// The count of this family, made when it is needed.
    pub(super) count: OnceLock<Arc<Count>>,
}

/// One label of a family.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) source: Source,
    pub(super) rewrites: Vec<Rewrite>,
}

/// Where a label's value comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The same in all series.
    Fixed(Arc<str>),
    /// The value at that place of what is recorded.
    Recorded(usize),
}

/// Series by their label values, in the order of the label names: the order in which they are printed.
type ByValues<N> = BTreeMap<Box<[Box<str>]>, Arc<Series<N>>>;

#[derive(Debug)]
struct AllSeries<N> {
    by_values: ByValues<N>,
    /// Bytes of all label values.
    bytes: usize,
    overflown: bool,
}

#[derive(Debug)]
struct Series<N> {
    /// What is printed between the braces.
    labels: Box<str>,
    numbers: Arc<N>,
}

// === impl Family ===

impl<N: Numbers> Family<N> {
    pub(super) fn new(name: &str, help: &str, shape: N::Shape, labels: Vec<Label>, limit: Limit) -> Self {
        let mut labels = labels;
        labels.sort_by_key(|label| label.name);
        let series = AllSeries {
            by_values: BTreeMap::new(),
            bytes: 0,
            overflown: false,
        };
        Self {
            name: name.into(),
            help: help.into(),
            shape,
            names: labels.iter().map(|label| label.name).collect(),
            labels: labels.into(),
            limit,
            series: Mutex::new(series),
        }
    }

    /// The numbers of the series that the recorded values belong to, after rewriting.
    ///
    /// Takes a lock; callers remember the answer.
    pub(super) fn resolve(&self, key: Key<'_>) -> Arc<N> {
        let values: Box<[Box<str>]> = self.labels.iter().map(|label| label.value(key)).collect();
        let mut series = self.lock();
        if let Some(known) = series.by_values.get(&values) {
            return known.numbers.clone();
        }
        if self.limit.is_reached(series.by_values.len(), series.bytes) {
            return self.overflow(&mut series);
        }
        self.add(&mut series, values)
    }

    /// Shows the family unless nothing has been recorded on it.
    pub(super) fn read(&self, reader: &mut impl Reader) {
        let series = self.lock();
        let mut recorded = series
            .by_values
            .iter()
            .filter(|(_, series)| series.numbers.is_recorded())
            .peekable();
        if recorded.peek().is_none() {
            return;
        }
        reader.family(self.head());
        for (values, series) in recorded {
            let labels = Labels {
                text: &series.labels,
                names: &self.names,
                values,
            };
            reader.series(labels, series.numbers.read(&self.shape));
        }
    }

    /// What the family is called and what it is.
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            name: &self.name,
            help: &self.help,
            kind: N::KIND,
        }
    }

    /// The names of its labels, sorted.
    pub(super) fn label_names(&self) -> &[&'static str] {
        &self.names
    }

    fn overflow(&self, series: &mut AllSeries<N>) -> Arc<N> {
        if !series.overflown {
            series.overflown = true;
            tracing::warn!(
                target: "dapr.runtime.diagnostics",
                "metric {} has reached its limit of {} series; what is recorded beyond it is counted with the label value {OVERFLOW:?}",
                self.name,
                self.limit.series,
            );
        }
        self.limit.count(&self.name);
        let value = |label: &Label| match &label.source {
            Source::Fixed(value) => Box::from(&**value),
            Source::Recorded(_) => Box::from(OVERFLOW),
        };
        let values: Box<[Box<str>]> = self.labels.iter().map(value).collect();
        match series.by_values.get(&values) {
            Some(known) => known.numbers.clone(),
            None => self.add(series, values),
        }
    }

    fn add(&self, series: &mut AllSeries<N>, values: Box<[Box<str>]>) -> Arc<N> {
        let numbers = Arc::new(N::new(&self.shape));
        series.bytes += values.iter().map(|value| value.len()).sum::<usize>();
        let pairs = self
            .labels
            .iter()
            .map(|label| label.name)
            .zip(values.iter().map(|value| &**value));
        let labels = label_text(pairs);
        series.by_values.insert(
            values,
            Arc::new(Series {
                labels,
                numbers: numbers.clone(),
            }),
        );
        numbers
    }

    fn lock(&self) -> MutexGuard<'_, AllSeries<N>> {
        self.series.lock().expect("no holder panics")
    }
}

// === impl Limit ===

impl Limit {
    fn is_reached(&self, series: usize, bytes: usize) -> bool {
        self.series != 0 && (series >= self.series || bytes >= self.series.saturating_mul(ROOM))
    }

    /// Counts a record that found no series of its own.
    fn count(&self, name: &str) {
        if let Some(overflown) = &self.overflown {
            let resolve = || overflown.resolve(Key::texts(&[name]));
            self.count.get_or_init(resolve).add(1);
        }
    }
}

// === impl Label ===

impl Label {
    fn value(&self, key: Key<'_>) -> Box<str> {
        let mut value: Box<str> = match &self.source {
            Source::Fixed(value) => (**value).into(),
            Source::Recorded(place) => match (key.texts.get(*place), key.number) {
                (Some(text), _) => (*text).into(),
                (None, Some(number)) => number.to_string().into(),
                (None, None) => Box::default(),
            },
        };
        for rewrite in &self.rewrites {
            value = rewrite.apply(&value).into();
        }
        value
    }
}
