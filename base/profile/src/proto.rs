//! The messages of `profile.proto`. Texts are indexes into the string table, whose first entry is empty.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

/// A set of stacks with values.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// What the values of each sample are.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// The stacks.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// Files that are mapped into the process.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// Places in the program.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// Functions.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All texts.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// When it was made, in nanoseconds since 1970.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// What time it covers.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What happens between two samples.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// How much of it.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// Remarks for a person.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// The type of value that is shown unless another is asked for.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

/// What a value is and its unit.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ValueType {
    /// Such as `cpu`.
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// Such as `nanoseconds`.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack and its values.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Sample {
    /// Locations, the innermost first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One value of each type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// More about the sample.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// A text beside a sample.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Label {
    /// What it tells.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// The text.
    #[prost(int64, tag = "2")]
    pub text: i64,
}

/// A file that is mapped into the process.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Mapping {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// Address behind the last one.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Where in the file it begins.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// The file.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// Whether functions are named here already.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
}

/// A place in the program.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Location {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The file it is in; 0 if that is not known.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// Its address; may be 0.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// Functions that are inlined here, the innermost first, and the one they are in.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A line of a function.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Line {
    /// The function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// Its line; 0 if that is not known.
    #[prost(int64, tag = "2")]
    pub line: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Function {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name for a person.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Its name for a linker.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// The file it is written in.
    #[prost(int64, tag = "4")]
    pub filename: i64,
}

// === impl Profile ===

impl Profile {
    /// The profile as files of it are: protobuf in gzip.
    #[must_use]
    pub fn to_gzip(&self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(&self.encode_to_vec())
            .and_then(|()| encoder.finish())
            .expect("a vector takes all bytes")
    }

    /// A text of the string table; empty if there is none at this index.
    #[must_use]
    pub fn text(&self, index: i64) -> &str {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.string_table.get(index))
            .map_or("", String::as_str)
    }
}
