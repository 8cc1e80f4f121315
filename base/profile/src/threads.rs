//! Threads of the own process, by name.

use std::collections::BTreeMap;
use std::{fs, io};

use crate::{Frame, Profile, ProfileBuilder};

/// Counts the threads of each name.
///
/// # Errors
/// If the kernel tells nothing.
pub fn count() -> io::Result<BTreeMap<String, i64>> {
    let mut threads = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile.
        if let Ok(name) = fs::read_to_string(thread?.path().join("comm")) {
            *threads.entry(name.trim_end().to_owned()).or_default() += 1;
        }
    }
    Ok(threads)
}

/// Counts by name as a profile whose only type of value is `kind`.
#[must_use]
pub fn to_profile(kind: &str, counts: &BTreeMap<String, i64>) -> Profile {
    let mut builder =
        ProfileBuilder::new(&[(kind, "count")]).sampled(std::time::Duration::ZERO, kind, "count", 1);
    for (name, count) in counts {
        builder.sample(&[Frame::named(name)], &[*count], &[]);
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_by_name() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let named = std::thread::Builder::new()
            .name("counted".to_owned())
            .spawn(move || stopped.recv())
            .unwrap();
        let seen = loop {
            // A thread gives itself its name a moment after it begins.
            let counts = count().unwrap();
            if counts.contains_key("counted") {
                break counts;
            }
        };
        assert_eq!(seen["counted"], 1);
        let profile = to_profile("threadcreate", &seen);
        assert_eq!(profile.sample.len(), seen.len());
        drop(stop);
        named.join().unwrap().unwrap_err();
    }
}
