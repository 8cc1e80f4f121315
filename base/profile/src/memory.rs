//! Resident memory by mapping. The allocator does not record who asks for memory, so this is all there is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use crate::{Frame, Profile, ProfileBuilder};

/// How much of the memory is resident, by what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemorySummary {
    rows: BTreeMap<(Kind, String), Row>,
}

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Anonymous,
    File,
    Stack,
    System,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    mappings: i64,
    size: i64,
    resident: i64,
    private_dirty: i64,
}

const REMARK: &str =
    "resident memory by mapping, as the kernel tells it; the allocator does not record call sites";

// === impl MemorySummary ===

impl MemorySummary {
    /// Reads what the kernel tells of the own process.
    ///
    /// # Errors
    /// If it tells nothing.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/smaps")?))
    }

    /// The summary as a profile: mappings, size, private memory and resident memory.
    #[must_use]
    pub fn to_profile(&self) -> Profile {
        let mut builder = ProfileBuilder::new(&[
            ("mappings", "count"),
            ("size", "bytes"),
            ("private_dirty", "bytes"),
            ("inuse_space", "bytes"),
        ])
        .sampled(std::time::Duration::ZERO, "space", "bytes", 1)
        .comment(REMARK);
        for ((kind, name), row) in &self.rows {
            let stack = [Frame::named(name), Frame::named(kind.as_str())];
            let values = [row.mappings, row.size, row.private_dirty, row.resident];
            builder.sample(&stack, &values, &[]);
        }
        builder.finish()
    }

    /// The summary for a person: one line a name, sizes in KiB, the largest first.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(_, row)| -row.resident);
        let mut text = format!("# {REMARK}\n# resident  private      size  mappings\n");
        for ((kind, name), row) in rows {
            writeln!(
                text,
                "{:10} {:8} {:9} {:9}  {}: {name}",
                row.resident / 1024,
                row.private_dirty / 1024,
                row.size / 1024,
                row.mappings,
                kind.as_str(),
            )
            .expect("a string takes all text");
        }
        text
    }

    fn parse(smaps: &str) -> Self {
        let mut summary = Self::default();
        let mut current = None;
        for line in smaps.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(field) = first.strip_suffix(':') {
                let bytes = rest
                    .trim()
                    .strip_suffix(" kB")
                    .and_then(|number| number.trim().parse::<i64>().ok())
                    .map_or(0, |number| number.saturating_mul(1024));
                let Some(row) = current.as_ref().and_then(|key| summary.rows.get_mut(key)) else {
                    continue;
                };
                match field {
                    "Size" => row.size += bytes,
                    "Rss" => row.resident += bytes,
                    "Private_Dirty" => row.private_dirty += bytes,
                    _ => {}
                }
            } else {
                // Permissions, offset, device and inode stand between the addresses and the name.
                let name = rest.split_whitespace().skip(4).collect::<Vec<_>>().join(" ");
                let key = Kind::of(name);
                summary.rows.entry(key.clone()).or_default().mappings += 1;
                current = Some(key);
            }
        }
        summary
    }
}

// === impl Kind ===

impl Kind {
    fn of(name: String) -> (Self, String) {
        let kind = match name.as_str() {
            "" => return (Self::Anonymous, "anonymous".to_owned()),
            "[heap]" => Self::Anonymous,
            named if named.starts_with("[anon:") => Self::Anonymous,
            named if named.starts_with("[stack") => Self::Stack,
            named if named.starts_with('[') => Self::System,
            _ => Self::File,
        };
        (kind, name)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "heap and thread stacks",
            Self::File => "program and files",
            Self::Stack => "stack",
            Self::System => "system",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0-55e0 r-xp 00001000 fd:01 1234    /usr/bin/a program
Size:                 64 kB
Rss:                  32 kB
Private_Dirty:         0 kB
VmFlags: rd ex mr
55e0-55f0 rw-p 00000000 00:00 0
Size:                100 kB
Rss:                  80 kB
Private_Dirty:        80 kB
55f0-5600 rw-p 00000000 00:00 0
Size:                 10 kB
Rss:                   4 kB
Private_Dirty:         4 kB
7ffc-7ffd rw-p 00000000 00:00 0       [stack]
Size:                132 kB
Rss:                  12 kB
";

    #[test]
    fn mappings_of_one_name_are_summed() {
        let summary = MemorySummary::parse(SMAPS);
        let profile = summary.to_profile();
        let rows: Vec<_> = profile
            .sample
            .iter()
            .map(|sample| {
                let names: Vec<_> = sample
                    .location_id
                    .iter()
                    .map(|id| {
                        let location = profile
                            .location
                            .iter()
                            .find(|location| location.id == *id)
                            .unwrap();
                        let function = location.line[0].function_id;
                        let function = profile.function.iter().find(|one| one.id == function).unwrap();
                        profile.text(function.name)
                    })
                    .collect();
                (names, sample.value.clone())
            })
            .collect();
        let kib = |numbers: [i64; 4]| {
            let [mappings, rest @ ..] = numbers;
            let mut values = vec![mappings];
            values.extend(rest.map(|number| number * 1024));
            values
        };
        assert_eq!(
            rows,
            [
                (vec!["anonymous", "heap and thread stacks"], kib([2, 110, 84, 84])),
                (
                    vec!["/usr/bin/a program", "program and files"],
                    kib([1, 64, 0, 32])
                ),
                (vec!["[stack]", "stack"], kib([1, 132, 0, 12])),
            ]
        );
        assert_eq!(profile.text(profile.default_sample_type), "inuse_space");
        let text = summary.to_text();
        assert!(text.lines().nth(2).unwrap().ends_with("anonymous"), "{text}");
    }

    #[test]
    fn the_own_process_has_memory() {
        let summary = MemorySummary::read().unwrap();
        assert!(summary.rows.values().any(|row| row.resident > 0));
    }
}
