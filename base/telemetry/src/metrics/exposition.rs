//! The two text forms that a scraper may ask for.
//!
//! The Prometheus text format is what everybody knows. The OpenMetrics form has the same series under the same
//! names and labels, and exemplars with them. It wants counters to be called `..._total`; those that are not
//! are of type `unknown` there. Numbers are written as Go does, also in `le`, so that a series is the same one
//! whichever form it is scraped in.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::cells::Bounds;
use super::number::float;
use super::sample::{Exemplar, Head, Kind, Labels, Reader, Sample};
use crate::trace::Hex;

/// A text form of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Prometheus text format, version 0.0.4.
    #[default]
    Text,
    /// OpenMetrics text format, version 1.0.0.
    OpenMetrics,
}

/// Appends what it reads to a text.
#[derive(Debug)]
pub(super) struct Exposition<'a> {
    out: &'a mut String,
    form: Form,
    /// Name of the family.
    name: String,
}

/// Suffix of counters in OpenMetrics.
const TOTAL: &str = "_total";

// === impl Form ===

impl Form {
    /// Value of the header `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

// === impl Exposition ===

impl<'a> Exposition<'a> {
    pub(super) fn new(out: &'a mut String, form: Form) -> Self {
        Self {
            out,
            form,
            name: String::new(),
        }
    }

    /// Appends what stands behind the last family.
    pub(super) fn end(self) {
        if self.form == Form::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &str,
        extra: Option<(&str, &str)>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        let out = &mut *self.out;
        out.push_str(&self.name);
        out.push_str(suffix);
        if !labels.is_empty() || extra.is_some() {
            out.push('{');
            out.push_str(labels);
            if let Some((name, text)) = extra {
                if !labels.is_empty() {
                    out.push(',');
                }
                for part in [name, "=\"", text, "\""] {
                    out.push_str(part);
                }
            }
            out.push('}');
        }
        write!(out, " {}", float(value)).expect("writing to a string cannot fail");
        if let Some(exemplar) = exemplar {
            write_exemplar(out, exemplar);
        }
        out.push('\n');
    }

    fn buckets(&mut self, labels: &str, bounds: &Bounds, counts: &[u64], exemplars: &[Exemplar]) -> u64 {
        let mut total = 0;
        let names = bounds.names().chain(["+Inf"]);
        for (bucket, (bound, count)) in names.zip(counts).enumerate() {
            total += count;
            let exemplar = exemplars
                .iter()
                .find(|exemplar| exemplar.bucket == bucket && self.form == Form::OpenMetrics);
            self.line("_bucket", labels, Some(("le", bound)), total as f64, exemplar);
        }
        total
    }
}

impl Reader for Exposition<'_> {
    fn family(&mut self, head: Head<'_>) {
        head.name.clone_into(&mut self.name);
        let (name, kind) = match self.form {
            Form::OpenMetrics if head.kind == Kind::Counter => match head.name.strip_suffix(TOTAL) {
                Some(stem) => (stem, head.kind.word()),
                None => (head.name, "unknown"),
            },
            _ => (head.name, head.kind.word()),
        };
        write!(self.out, "# HELP {name} ").expect("writing to a string cannot fail");
        for character in head.help.chars() {
            match character {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if self.form == Form::OpenMetrics => self.out.push_str("\\\""),
                other => self.out.push(other),
            }
        }
        writeln!(self.out, "\n# TYPE {name} {kind}").expect("writing to a string cannot fail");
    }

    fn series(&mut self, labels: Labels<'_>, sample: Sample<'_>) {
        let labels = labels.text;
        match sample {
            Sample::Number(value) => self.line("", labels, None, value, None),
            Sample::Buckets {
                bounds,
                counts,
                sum,
                exemplars,
            } => {
                let count = self.buckets(labels, bounds, &counts, &exemplars);
                self.line("_sum", labels, None, sum, None);
                self.line("_count", labels, None, count as f64, None);
            }
            Sample::Quantiles {
                quantiles,
                sum,
                count,
            } => {
                for (quantile, value) in quantiles {
                    let quantile = float(quantile).to_string();
                    self.line("", labels, Some(("quantile", &quantile)), value, None);
                }
                self.line("_sum", labels, None, sum, None);
                self.line("_count", labels, None, count as f64, None);
            }
        }
    }
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

fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let time = exemplar.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(
        out,
        " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {}.{:03}",
        Hex(&exemplar.trace_id),
        Hex(&exemplar.span_id),
        float(exemplar.value),
        time.as_secs(),
        time.subsec_millis(),
    )
    .expect("writing to a string cannot fail");
}
