//! Names with their values, in one buffer.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// Headers or metadata of a call: names in the letter case of the wire, each with a list of values.
///
/// All text lies in one buffer, or in the received message that it was decoded from; entries are positions.
/// The values of one name stand together and keep their order; names are told apart by exact letter case.
#[derive(Clone, Default)]
pub struct Metadata {
    /// The message that decoded entries point into.
    wire: Bytes,
    /// The text of entries that were pushed.
    own: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    name: Span,
    value: Span,
}

/// A position in `own`, or in `wire` if `SHARED` is set in `start`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

/// Marks positions in the received message. Messages are shorter than this.
const SHARED: u32 = 1 << 31;

/// Number of entries up to which each new name is compared with all others.
const FEW: usize = 64;

// === impl Metadata ===

impl Metadata {
    /// Metadata without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            wire: Bytes::new(),
            own: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Metadata without entries that has room for some, and for the bytes of their text.
    #[must_use]
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self {
            wire: Bytes::new(),
            own: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(entries),
        }
    }

    /// Number of entries; a name with several values counts once for each.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends a value to the values of `name`, in this exact letter case.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let at = self.end_of(name.as_bytes());
        let name = match at {
            Some(end) => self.entries[end - 1].name,
            None => self.store(name.as_bytes()),
        };
        let value = self.store(value);
        self.entries
            .insert(at.unwrap_or(self.entries.len()), Entry { name, value });
    }

    /// Replaces all values of `name`, in this exact letter case, by one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        let name = self.store(name.as_bytes());
        let value = self.store(value.as_ref());
        self.entries.push(Entry { name, value });
    }

    /// Appends an entry whose name is known not to be there, or to be that of the last entry.
    pub(crate) fn push_unique(&mut self, name: &[u8], value: &[u8]) {
        self.push_written(|out| out.extend_from_slice(name), value);
    }

    /// [`Self::push_unique`] with a name that `write_name` writes into the buffer.
    pub(crate) fn push_written(&mut self, write_name: impl FnOnce(&mut Vec<u8>), value: &[u8]) {
        let start = self.own.len();
        write_name(&mut self.own);
        let mut name = Span::own(start..self.own.len());
        if let Some(last) = self.entries.last()
            && self.text(last.name) == self.text(name)
        {
            name = last.name;
            self.own.truncate(start);
        }
        let value = self.store(value);
        self.entries.push(Entry { name, value });
    }

    /// Makes ready for entries of `name` that lie in a received `message`, which is shorter than 2 GiB.
    /// Earlier entries of that name go away.
    pub(crate) fn begin_decoded(&mut self, message: &Bytes, name: &[u8]) {
        if self.wire.is_empty() {
            self.wire = message.clone();
            self.entries.reserve(16);
        } else if self.entries.len() <= FEW && self.entries.iter().any(|entry| self.text(entry.name) == name)
        {
            self.retain(|candidate| candidate != name);
        }
    }

    /// Ends decoding: drops the earlier of two entries of one name where there were too many to look each time.
    pub(crate) fn finish_decoded(&mut self) {
        if self.entries.len() <= FEW {
            return;
        }
        let mut seen = HashSet::new();
        let mut kept = Vec::with_capacity(self.entries.len());
        for run in self.entries.chunk_by(|a, b| a.name == b.name).rev() {
            if seen.insert(self.text(run[0].name)) {
                kept.extend(run.iter().rev());
            }
        }
        kept.reverse();
        self.entries = kept;
    }

    /// Appends an entry that lies in the received message.
    pub(crate) fn push_span(&mut self, name: Span, value: Span) {
        self.entries.push(Entry { name, value });
    }

    /// Removes the values of `name` in this exact letter case.
    pub fn remove(&mut self, name: &str) {
        self.retain(|candidate| candidate != name.as_bytes());
    }

    /// Removes the values of `name` in any letter case.
    pub fn remove_ignoring_case(&mut self, name: &str) {
        self.retain(|candidate| !candidate.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// All entries in order: name and value. Values are text, but may hold bytes above ASCII as a client
    /// sent them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter_bytes().map(|(name, value)| (as_text(name), value))
    }

    pub(crate) fn iter_bytes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries
            .iter()
            .map(|entry| (self.text(entry.name), self.text(entry.value)))
    }

    /// Names in order, each with its values.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&[u8], impl Iterator<Item = &[u8]> + Clone)> {
        // The values of one name share the position of that name.
        let runs = self.entries.chunk_by(|a, b| a.name == b.name);
        runs.map(|run| {
            (
                self.text(run[0].name),
                run.iter().map(|entry| self.text(entry.value)),
            )
        })
    }

    /// The first value of `name` in this exact letter case; none if it is not UTF-8.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.first_bytes(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of `name` in this exact letter case, as bytes.
    #[must_use]
    pub fn first_bytes(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.iter_bytes();
        all.find(|(candidate, _)| *candidate == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The first value of `name` in any letter case; none if it is not UTF-8.
    #[must_use]
    pub fn first_ignoring_case(&self, name: &str) -> Option<&str> {
        let mut all = self.iter_bytes();
        let found = all.find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The values of `name` in this exact letter case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let all = self.iter_bytes();
        all.filter_map(move |(candidate, value)| (candidate == name.as_bytes()).then_some(value))
    }

    /// Whether the entries came from a gRPC caller: the lower-case key `content-type` with a value that
    /// starts with `application/grpc`.
    ///
    /// Source: specification, service invocation 7.1.
    #[must_use]
    pub fn is_grpc_origin(&self) -> bool {
        let first = self.first_bytes("content-type");
        first.is_some_and(|value| value.starts_with(b"application/grpc"))
    }

    /// Name and value of entry `index`.
    pub(crate) fn entry(&self, index: usize) -> (&[u8], &[u8]) {
        let entry = self.entries[index];
        (self.text(entry.name), self.text(entry.value))
    }

    /// The value of entry `index` as shared bytes: without a copy if it lies in the received message.
    pub(crate) fn shared_value(&self, index: usize) -> Bytes {
        let span = self.entries[index].value;
        if span.start & SHARED == 0 {
            return Bytes::copy_from_slice(self.text(span));
        }
        let start = (span.start & !SHARED) as usize;
        self.wire.slice(start..start + span.len as usize)
    }

    fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| keep(self.text(entry.name)));
        self.entries = entries;
    }

    /// The position behind the last value of `name`.
    fn end_of(&self, name: &[u8]) -> Option<usize> {
        let last = self
            .entries
            .iter()
            .rposition(|entry| self.text(entry.name) == name);
        last.map(|index| index + 1)
    }

    fn store(&mut self, text: &[u8]) -> Span {
        let start = self.own.len();
        self.own.extend_from_slice(text);
        Span::own(start..self.own.len())
    }

    fn text(&self, span: Span) -> &[u8] {
        let start = (span.start & !SHARED) as usize;
        let range = start..start + span.len as usize;
        if span.start & SHARED == 0 {
            &self.own[range]
        } else {
            &self.wire[range]
        }
    }
}

impl fmt::Debug for Metadata {
    /// Prints names only: values may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.iter_bytes().eq(other.iter_bytes())
    }
}

impl Eq for Metadata {}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut metadata = Self::new();
        metadata.extend(entries);
        metadata
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, V)> for Metadata {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.push(name.as_ref(), value);
        }
    }
}

// === impl Span ===

impl Span {
    /// A part of the received message.
    pub(crate) fn on_wire(range: &Range<usize>) -> Self {
        let Self { start, len } = Self::own(range.clone());
        Self {
            start: start | SHARED,
            len,
        }
    }

    fn own(range: Range<usize>) -> Self {
        let narrow = |number: usize| u32::try_from(number).ok().filter(|number| *number < SHARED);
        Self {
            start: narrow(range.start).expect("metadata is shorter than 2 GiB"),
            len: narrow(range.len()).expect("metadata is shorter than 2 GiB"),
        }
    }
}

/// Names are UTF-8: they come from header names, from string slices or from checked messages.
fn as_text(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(metadata: &Metadata) -> Vec<(&str, &[u8])> {
        metadata.iter().collect()
    }

    #[test]
    fn values_of_one_name_stand_together_in_order() {
        let mut metadata = Metadata::new();
        metadata.push("A", "1");
        metadata.push("B", "2");
        metadata.push("A", "3");
        metadata.push("a", "4");
        let expected: [(&str, &[u8]); 4] = [("A", b"1"), ("A", b"3"), ("B", b"2"), ("a", b"4")];
        assert_eq!(entries(&metadata), expected);
        assert_eq!(metadata.values("A").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(metadata.first("a"), Some("4"));
        assert_eq!(metadata.first("b"), None);
        assert_eq!(metadata.first_ignoring_case("b"), Some("2"));
    }

    #[test]
    fn set_replaces_only_the_exact_letter_case() {
        let mut metadata: Metadata = [("K", "1"), ("k", "2"), ("K", "3")].into_iter().collect();
        metadata.set("K", "new");
        let expected: [(&str, &[u8]); 2] = [("k", b"2"), ("K", b"new")];
        assert_eq!(entries(&metadata), expected);
        metadata.remove_ignoring_case("k");
        assert!(metadata.is_empty());
    }

    #[test]
    fn the_origin_is_grpc_only_by_the_lower_case_key() {
        let cases = [
            ("content-type", "application/grpc", true),
            ("content-type", "application/grpc+proto", true),
            ("Content-Type", "application/grpc", false),
            ("content-type", "application/json", false),
        ];
        for (name, value, expected) in cases {
            let metadata: Metadata = [(name, value)].into_iter().collect();
            assert_eq!(metadata.is_grpc_origin(), expected, "{name}: {value}");
        }
    }

    #[test]
    fn decoded_entries_share_the_message() {
        let message = Bytes::from_static(b"..name=value");
        let mut metadata = Metadata::new();
        metadata.begin_decoded(&message, b"name");
        metadata.push_span(Span::on_wire(&(2..6)), Span::on_wire(&(7..12)));
        metadata.push("name", "more");
        assert_eq!(
            metadata.values("name").collect::<Vec<_>>(),
            [&b"value"[..], b"more"]
        );
        assert_eq!(metadata.shared_value(0).as_ptr(), message[7..].as_ptr());
        assert_eq!(metadata.shared_value(1), "more");
    }
}
