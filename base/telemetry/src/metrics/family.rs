//! Families: all series of one name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};

use super::cache::Key;
use super::cells::Numbers;
use super::rules::Rewrite;

/// Label value of the series that takes what is beyond the limit of a family.
pub(super) const OVERFLOW: &str = "overflow";

/// The series of one name, made when they are first recorded on.
#[derive(Debug)]
pub(super) struct Family<N: Numbers> {
    name: Box<str>,
    help: Box<str>,
    pub(super) shape: N::Shape,
    /// Sorted by name.
    labels: Box<[Label]>,
    /// Most series; 0 means any number.
    limit: usize,
    series: Mutex<AllSeries<N>>,
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
    pub(super) fn new(name: &str, help: &str, shape: N::Shape, labels: Vec<Label>, limit: usize) -> Self {
        let mut labels = labels;
        labels.sort_by_key(|label| label.name);
        let series = AllSeries {
            by_values: BTreeMap::new(),
            overflown: false,
        };
        Self {
            name: name.into(),
            help: help.into(),
            shape,
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
        if self.limit != 0 && series.by_values.len() >= self.limit {
            return self.overflow(&mut series);
        }
        self.add(&mut series, values)
    }

    /// Appends the family unless nothing has been recorded on it.
    pub(super) fn write(&self, out: &mut String) {
        let series = self.lock();
        let mut recorded = series
            .by_values
            .values()
            .filter(|series| series.numbers.is_recorded())
            .peekable();
        if recorded.peek().is_none() {
            return;
        }
        write_head(out, &self.name, &self.help, N::TYPE);
        for series in recorded {
            series.numbers.write(out, &self.name, &series.labels, &self.shape);
        }
    }

    fn overflow(&self, series: &mut AllSeries<N>) -> Arc<N> {
        if !series.overflown {
            series.overflown = true;
            tracing::warn!(
                target: "dapr.runtime.diagnostics",
                "metric {} has reached its limit of {} series; what is recorded beyond it is counted with the label value {OVERFLOW:?}",
                self.name,
                self.limit,
            );
        }
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

/// Appends the two lines that stand before a family's series.
pub(super) fn write_head(out: &mut String, name: &str, help: &str, kind: &str) {
    write!(out, "# HELP {name} ").expect("writing to a string cannot fail");
    for character in help.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    writeln!(out, "\n# TYPE {name} {kind}").expect("writing to a string cannot fail");
}

/// The text between the braces: `name="value"` pairs, values escaped.
pub(super) fn label_text<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Box<str> {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text.into()
}
