//! All families of a program, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use super::cells::{Bounds, Count, Distribution, Numbers, Value};
use super::family::{Family, Label, Limit, Source};
use super::instrument::{Counter, Gauge, Histogram, Instrument};
use super::rules::{OWN_PREFIX, PREFIX, RuleError, Rules};
use super::sample::{Head, Reader};
use super::settings::{LATENCY, MetricsSettings};

/// Bounds of sizes in bytes.
const SIZE: [u64; 13] = [
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
    1 << 30,
    1 << 32,
];

/// Bounds of ratios.
const RATIO: [f64; 10] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0, 1.5, 2.0];

/// Counts, by metric, the records that found no series of their own.
const OVERFLOW: Description<'static> = Description {
    name: "outrigger_metrics_overflow_total",
    help: "The number of times that a metric was at its limit of series when something was recorded for a new one.",
    labels: &["metric"],
    fixed: Fixed::AppId,
};

/// Nanoseconds, the small unit of latencies, in a millisecond.
const NANOS_PER_MILLI: f64 = 1e6;

/// Makes families and prints them.
#[derive(Debug)]
pub(super) struct Registry {
    families: Mutex<BTreeMap<Box<str>, Entry>>,
    enabled: bool,
    app_id: Arc<str>,
    namespace: Arc<str>,
    latency: Arc<Bounds>,
    workflow: Arc<Bounds>,
    size: Arc<Bounds>,
    rules: Rules,
    limit: usize,
    /// When counting began.
    created: SystemTime,
    /// None while it is made itself.
    overflown: Option<Arc<Family<Count>>>,
}

/// What a family is called and what is common to its series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description<'a> {
    pub(super) name: &'a str,
    pub(super) help: &'a str,
    /// The labels that are recorded, in the order of recording.
    pub(super) labels: &'a [&'static str],
    pub(super) fixed: Fixed,
}

/// The labels that are the same in all series of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fixed {
    Nothing,
    AppId,
    AppIdAndNamespace,
}

/// Kinds of buckets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Buckets {
    /// Milliseconds, recorded in nanoseconds.
    Latency,
    /// Workflow executions: milliseconds, recorded in nanoseconds.
    Workflow,
    /// Bytes.
    Size,
    /// Ratios, recorded in billionths.
    Ratio,
    /// Own bounds, recorded in millionths: of milliseconds, those are nanoseconds.
    Own(Vec<f64>),
}

#[derive(Clone, Debug)]
enum Entry {
    Counter(Arc<Family<Count>>),
    Gauge(Arc<Family<Value>>),
    Histogram(Arc<Family<Distribution>>),
}

// === impl Registry ===

impl Registry {
    pub(super) fn new(settings: &MetricsSettings) -> Result<Self, RuleError> {
        let floats = |bounds: &[u64], unit| {
            bounds
                .iter()
                .map(|bound| *bound as f64 * unit)
                .collect::<Vec<_>>()
        };
        let latency_bounds = settings.latency_buckets.as_deref().unwrap_or(&LATENCY);
        let latency = Arc::new(Bounds::new(&floats(latency_bounds, 1.0), NANOS_PER_MILLI));
        let unit = settings.workflow_bucket_unit.as_secs_f64() * 1e3;
        let workflow = settings.workflow_buckets.as_deref();
        let workflow = workflow.map(|bounds| Arc::new(Bounds::new(&floats(bounds, unit), NANOS_PER_MILLI)));
        let mut registry = Self {
            families: Mutex::default(),
            enabled: settings.enabled,
            app_id: settings.app_id.clone(),
            namespace: settings.namespace.clone(),
            workflow: workflow.unwrap_or_else(|| latency.clone()),
            latency,
            size: Arc::new(Bounds::new(&floats(&SIZE, 1.0), 1.0)),
            rules: Rules::compile(&settings.rules)?,
            limit: settings.max_series,
            created: SystemTime::now(),
            overflown: None,
        };
        registry.overflown = Some(registry.count(OVERFLOW));
        Ok(registry)
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub(super) fn created(&self) -> SystemTime {
        self.created
    }

    pub(super) fn limit(&self) -> usize {
        if self.limit == 0 { usize::MAX } else { self.limit }
    }

    pub(super) fn counter(&self, description: Description<'_>) -> Counter {
        Counter(self.instrument(self.count(description)))
    }

    pub(super) fn gauge(&self, description: Description<'_>) -> Gauge {
        let family = self.family(description, || ());
        Gauge(self.instrument(family))
    }

    pub(super) fn histogram(&self, description: Description<'_>, buckets: &Buckets) -> Histogram {
        Histogram(self.instrument(self.distribution(description, buckets)))
    }

    /// A family of counts, for those who remember its series themselves.
    pub(super) fn count(&self, description: Description<'_>) -> Arc<Family<Count>> {
        self.family(description, || ())
    }

    /// A family of distributions, for those who remember its series themselves.
    pub(super) fn distribution(
        &self,
        description: Description<'_>,
        buckets: &Buckets,
    ) -> Arc<Family<Distribution>> {
        self.family(description, || self.bounds(buckets))
    }

    /// Shows all families that something was recorded on, in the order of their names.
    pub(super) fn read(&self, reader: &mut impl Reader) {
        for family in self.all() {
            match family {
                Entry::Counter(family) => family.read(reader),
                Entry::Gauge(family) => family.read(reader),
                Entry::Histogram(family) => family.read(reader),
            }
        }
    }

    /// Shows what all families are called and the names of their labels, in the order of their names.
    pub(super) fn list(&self, mut show: impl FnMut(Head<'_>, &[&str])) {
        for family in self.all() {
            match family {
                Entry::Counter(family) => show(family.head(), family.label_names()),
                Entry::Gauge(family) => show(family.head(), family.label_names()),
                Entry::Histogram(family) => show(family.head(), family.label_names()),
            }
        }
    }

    /// All families, copied, so that a scrape does not hold up those who register.
    fn all(&self) -> Vec<Entry> {
        let families = self.families.lock().expect("no holder panics");
        families.values().cloned().collect()
    }

    fn instrument<N: Numbers>(&self, family: Arc<Family<N>>) -> Instrument<N> {
        Instrument::new(family, self.enabled, self.limit())
    }

    /// The family of a name, which is made when it is first asked for.
    ///
    /// # Panics
    /// If the name belongs to a family of another kind: that is a mistake in the program.
    fn family<N: Numbers>(
        &self,
        description: Description<'_>,
        shape: impl FnOnce() -> N::Shape,
    ) -> Arc<Family<N>>
    where
        Entry: From<Arc<Family<N>>> + Into<Option<Arc<Family<N>>>>,
    {
        let plain = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
        let name = description.name.replace(|character: char| !plain(character), "_");
        let full = match name.starts_with(OWN_PREFIX) {
            true => name.clone(),
            false => format!("{PREFIX}{name}"),
        };
        let mut families = self.families.lock().expect("no holder panics");
        if let Some(known) = families.get(full.as_str()) {
            return known
                .clone()
                .into()
                .expect("a metric's name stands for one kind of metric");
        }
        let labels = self.labels(&name, description);
        let limit = Limit {
            series: self.limit,
            overflown: self.overflown.clone(),
            count: OnceLock::new(),
        };
        let family = Arc::new(Family::new(&full, description.help, shape(), labels, limit));
        families.insert(full.into(), family.clone().into());
        family
    }

    fn labels(&self, metric: &str, description: Description<'_>) -> Vec<Label> {
        let mut sources = Vec::with_capacity(description.labels.len() + 2);
        let fixed = match description.fixed {
            // Names of our own bear the app id wherever there is one.
            _ if metric.starts_with(OWN_PREFIX) && self.app_id.is_empty() => Fixed::Nothing,
            _ if metric.starts_with(OWN_PREFIX) => Fixed::AppId,
            fixed => fixed,
        };
        if fixed != Fixed::Nothing {
            sources.push(("app_id", Source::Fixed(self.app_id.clone())));
        }
        if fixed == Fixed::AppIdAndNamespace {
            sources.push(("namespace", Source::Fixed(self.namespace.clone())));
        }
        sources.extend(
            description
                .labels
                .iter()
                .enumerate()
                .map(|(place, name)| (*name, Source::Recorded(place))),
        );
        let label = |(name, source)| Label {
            name,
            source,
            rewrites: self.rules.of(metric, name),
        };
        sources.into_iter().map(label).collect()
    }

    fn bounds(&self, buckets: &Buckets) -> Arc<Bounds> {
        match buckets {
            Buckets::Latency => self.latency.clone(),
            Buckets::Workflow => self.workflow.clone(),
            Buckets::Size => self.size.clone(),
            Buckets::Ratio => Arc::new(Bounds::new(&RATIO, 1e9)),
            Buckets::Own(bounds) => Arc::new(Bounds::new(bounds, NANOS_PER_MILLI)),
        }
    }
}

// === impl Entry ===

impl From<Arc<Family<Count>>> for Entry {
    fn from(family: Arc<Family<Count>>) -> Self {
        Self::Counter(family)
    }
}

impl From<Arc<Family<Value>>> for Entry {
    fn from(family: Arc<Family<Value>>) -> Self {
        Self::Gauge(family)
    }
}

impl From<Arc<Family<Distribution>>> for Entry {
    fn from(family: Arc<Family<Distribution>>) -> Self {
        Self::Histogram(family)
    }
}

impl From<Entry> for Option<Arc<Family<Count>>> {
    fn from(entry: Entry) -> Self {
        if let Entry::Counter(family) = entry {
            Some(family)
        } else {
            None
        }
    }
}

impl From<Entry> for Option<Arc<Family<Value>>> {
    fn from(entry: Entry) -> Self {
        if let Entry::Gauge(family) = entry {
            Some(family)
        } else {
            None
        }
    }
}

impl From<Entry> for Option<Arc<Family<Distribution>>> {
    fn from(entry: Entry) -> Self {
        if let Entry::Histogram(family) = entry {
            Some(family)
        } else {
            None
        }
    }
}
