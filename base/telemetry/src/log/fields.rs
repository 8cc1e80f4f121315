//! The fields of one event, gathered without an allocation once the thread is warm.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};

use super::Level;

/// Fields of one line, in one text buffer.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: String,
    message: (usize, usize),
    scope: Option<(usize, usize)>,
    fatal: bool,
    items: Vec<Item>,
}

/// One field; its value is a part of the text buffer.
#[derive(Clone, Copy, Debug)]
struct Item {
    name: &'static str,
    start: usize,
    end: usize,
    kind: Kind,
}

/// How a value looks in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A number or a boolean: no quotes.
    Bare,
}

// === impl Fields ===

impl Fields {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.items.clear();
        self.message = (0, 0);
        self.scope = None;
        self.fatal = false;
    }

    pub(super) fn message(&self) -> &str {
        self.slice(self.message)
    }

    /// Adds a text field unless the event has one of that name.
    pub(super) fn add_default(&mut self, name: &'static str, value: &str) {
        if self.items.iter().all(|item| item.name != name) {
            self.push(name, Kind::Text, |text| text.write_str(value));
        }
    }

    /// Adds the scope of the line: the event's own field of that name, else `target`.
    pub(super) fn add_scope(&mut self, target: &str) {
        match self.scope {
            Some((start, end)) => self.items.push(Item {
                name: "scope",
                start,
                end,
                kind: Kind::Text,
            }),
            None => self.push("scope", Kind::Text, |text| text.write_str(target)),
        }
    }

    /// The level of the line, which an event raises to `fatal` by its field of that name.
    pub(super) fn level(&self, level: Level) -> Level {
        if self.fatal { Level::Fatal } else { level }
    }

    /// The fields in the order of their names.
    pub(super) fn sorted(&mut self) -> impl Iterator<Item = (&'static str, &str, Kind)> {
        self.items.sort_by_key(|item| item.name);
        let text = &self.text;
        self.items.iter().map(|item| {
            let value = text
                .get(item.start..item.end)
                .expect("ranges are taken from the buffer");
            (item.name, value, item.kind)
        })
    }

    fn slice(&self, (start, end): (usize, usize)) -> &str {
        self.text
            .get(start..end)
            .expect("ranges are taken from the buffer")
    }

    fn write(&mut self, write: impl FnOnce(&mut String) -> fmt::Result) -> (usize, usize) {
        let start = self.text.len();
        // A value whose own formatting fails is printed as far as it came.
        write(&mut self.text).ok();
        (start, self.text.len())
    }

    fn push(&mut self, name: &'static str, kind: Kind, write: impl FnOnce(&mut String) -> fmt::Result) {
        let (start, end) = self.write(write);
        self.items.push(Item {
            name,
            start,
            end,
            kind,
        });
    }

    fn record(&mut self, field: &Field, kind: Kind, write: impl FnOnce(&mut String) -> fmt::Result) {
        match field.name() {
            "message" => self.message = self.write(write),
            "scope" => self.scope = Some(self.write(write)),
            "fatal" => self.fatal = true,
            "msg" => self.push("fields.msg", kind, write),
            "level" => self.push("fields.level", kind, write),
            "time" => self.push("fields.time", kind, write),
            name => self.push(name, kind, write),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, Kind::Text, |text| text.write_str(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, Kind::Bare, |text| write!(text, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, Kind::Bare, |text| write!(text, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, Kind::Bare, |text| write!(text, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let kind = if value.is_finite() { Kind::Bare } else { Kind::Text };
        self.record(field, kind, |text| write!(text, "{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, Kind::Text, |text| write!(text, "{value:?}"));
    }
}
