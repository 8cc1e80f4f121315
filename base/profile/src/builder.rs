//! Building a profile: each text, function and place is written once.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

/// Gathers stacks with values.
#[derive(Debug)]
pub struct ProfileBuilder {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(String, String), u64>,
    locations: HashMap<Frame, u64>,
}

/// A place in a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its address; 0 for places that are no code.
    pub address: u64,
    /// Calls that are inlined here, the innermost first, and the one they are in; none if no name is known.
    pub calls: Vec<Call>,
}

/// A function and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Call {
    /// Name of the function.
    pub function: String,
    /// The file it is written in; may be empty.
    pub file: String,
    /// The line; 0 if it is not known.
    pub line: u32,
}

// === impl ProfileBuilder ===

impl ProfileBuilder {
    /// A profile whose samples have values of these types and units; the last type is shown unless another is asked for.
    #[must_use]
    pub fn new(values: &[(&str, &str)]) -> Self {
        let mut builder = Self {
            profile: Profile::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        };
        builder.string("");
        builder.profile.sample_type = values
            .iter()
            .map(|(kind, unit)| builder.value_type(kind, unit))
            .collect();
        builder.profile.default_sample_type = builder.profile.sample_type.last().map_or(0, |last| last.kind);
        builder
    }

    /// Tells what time the profile covers and what lies between two samples.
    #[must_use]
    pub fn sampled(mut self, duration: Duration, kind: &str, unit: &str, period: i64) -> Self {
        self.profile.duration_nanos = nanoseconds(duration);
        self.profile.period_type = Some(self.value_type(kind, unit));
        self.profile.period = period;
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn comment(mut self, text: &str) -> Self {
        let comment = self.string(text);
        self.profile.comment.push(comment);
        self
    }

    /// Adds the range of addresses that a file is mapped to.
    pub fn mapping(&mut self, file: &str, addresses: std::ops::Range<u64>, offset: u64) {
        let filename = self.string(file);
        self.profile.mapping.push(Mapping {
            id: self.profile.mapping.len() as u64 + 1,
            memory_start: addresses.start,
            memory_limit: addresses.end,
            file_offset: offset,
            filename,
            has_functions: false,
        });
    }

    /// Adds a stack, the innermost place first, with one value of each type.
    pub fn sample(&mut self, stack: &[Frame], values: &[i64], labels: &[(&str, &str)]) {
        let location_id = stack.iter().map(|frame| self.location(frame)).collect();
        let label = labels
            .iter()
            .map(|(key, text)| Label {
                key: self.string(key),
                text: self.string(text),
            })
            .collect();
        self.profile.sample.push(Sample {
            location_id,
            value: values.to_vec(),
            label,
        });
    }

    /// The profile, made now.
    #[must_use]
    pub fn finish(mut self) -> Profile {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.profile.time_nanos = nanoseconds(now);
        self.profile
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        if let Some(id) = self.locations.get(frame) {
            return *id;
        }
        let line = frame.calls.iter().map(|call| self.line(call)).collect();
        let mapping = self
            .profile
            .mapping
            .iter_mut()
            .find(|mapping| (mapping.memory_start..mapping.memory_limit).contains(&frame.address));
        let mapping_id = mapping.map_or(0, |mapping| {
            mapping.has_functions |= !frame.calls.is_empty();
            mapping.id
        });
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location {
            id,
            mapping_id,
            address: frame.address,
            line,
        });
        self.locations.insert(frame.clone(), id);
        id
    }

    fn line(&mut self, call: &Call) -> Line {
        let key = (call.function.clone(), call.file.clone());
        let function_id = match self.functions.get(&key) {
            Some(id) => *id,
            None => {
                let id = self.profile.function.len() as u64 + 1;
                let name = self.string(&call.function);
                let filename = self.string(&call.file);
                self.profile.function.push(Function {
                    id,
                    name,
                    system_name: name,
                    filename,
                });
                self.functions.insert(key, id);
                id
            }
        };
        Line {
            function_id,
            line: call.line.into(),
        }
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType {
            kind: self.string(kind),
            unit: self.string(unit),
        }
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index = i64::try_from(self.strings.len()).unwrap_or(i64::MAX);
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }
}

// === impl Frame ===

impl Frame {
    /// A place that is no code, such as a part of the memory.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            address: 0,
            calls: vec![Call {
                function: name.to_owned(),
                ..Call::default()
            }],
        }
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use prost::Message;

    use super::*;

    #[test]
    fn what_is_built_is_read_back_from_gzipped_protobuf() {
        let mut builder = ProfileBuilder::new(&[("samples", "count"), ("cpu", "nanoseconds")])
            .sampled(Duration::from_secs(2), "cpu", "nanoseconds", 10_000_000)
            .comment("a remark");
        builder.mapping("/bin/program", 0x1000..0x2000, 0x10);
        let inner = Frame {
            address: 0x1004,
            calls: vec![
                Call {
                    function: "inlined".to_owned(),
                    file: "a.rs".to_owned(),
                    line: 7,
                },
                Call {
                    function: "around".to_owned(),
                    ..Call::default()
                },
            ],
        };
        let outer = Frame {
            address: 0x9000,
            calls: Vec::new(),
        };
        builder.sample(
            &[inner.clone(), outer.clone()],
            &[2, 20],
            &[("thread", "worker-0")],
        );
        builder.sample(&[outer, inner], &[1, 10], &[]);
        let gzip = builder.finish().to_gzip();

        assert_eq!(gzip[..2], [0x1f, 0x8b]);
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..])
            .read_to_end(&mut bytes)
            .unwrap();
        let profile = Profile::decode(&bytes[..]).unwrap();
        assert_eq!(profile.string_table[0], "");
        let types: Vec<_> = profile
            .sample_type
            .iter()
            .map(|kind| (profile.text(kind.kind), profile.text(kind.unit)))
            .collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(profile.text(profile.default_sample_type), "cpu");
        assert_eq!(
            (profile.period, profile.duration_nanos),
            (10_000_000, 2_000_000_000)
        );
        assert_eq!(profile.text(profile.comment[0]), "a remark");
        assert!(profile.time_nanos > 0);
        let [first, second] = &profile.sample[..] else {
            panic!("two samples")
        };
        assert_eq!(
            (&first.location_id[..], &first.value[..]),
            (&[1, 2][..], &[2, 20][..])
        );
        assert_eq!(second.location_id, [2, 1]);
        assert_eq!(profile.text(first.label[0].text), "worker-0");
        assert_eq!((profile.location.len(), profile.function.len()), (2, 2));
        let [known, unknown] = &profile.location[..] else {
            panic!("two places")
        };
        assert_eq!(
            (known.mapping_id, known.line.len(), known.line[0].line),
            (1, 2, 7)
        );
        assert_eq!((unknown.mapping_id, unknown.line.len()), (0, 0));
        assert!(profile.mapping[0].has_functions);
    }
}
