//! Whether a process is still the one that wrote a file.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same number by its start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks from the start of the machine; none where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<u64>,
}

/// What the system says of a process number.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Nobody has the number, or only a dead process whose parent has not looked.
    Dead,
    /// Somebody has it, from this start on.
    Alive { started: Option<u64> },
}

// === impl Process ===

impl Process {
    /// The own process.
    pub(crate) fn current() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        match Seen::of(pid) {
            Seen::Alive { started } => Self { pid, started },
            Seen::Dead => Self { pid, started: None },
        }
    }

    /// Whether there can be such a process.
    pub(crate) fn is_sound(&self) -> bool {
        self.pid > 0
    }

    /// Whether the process runs.
    pub(crate) fn is_alive(&self) -> bool {
        match (Seen::of(self.pid), self.started) {
            (Seen::Dead, _) => false,
            (Seen::Alive { started: Some(now) }, Some(then)) => now == then,
            (Seen::Alive { .. }, _) => true,
        }
    }
}

// === impl Seen ===

impl Seen {
    fn of(pid: i32) -> Self {
        if let Ok(text) = fs::read(format!("/proc/{pid}/stat")) {
            return Self::parse(&text);
        }
        // Without /proc a signal that does nothing tells whether somebody is there.
        let has_proc = fs::exists("/proc/self/stat").unwrap_or_default();
        let somebody = Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
        if has_proc || !somebody {
            return Self::Dead;
        }
        Self::Alive { started: None }
    }

    /// Reads `/proc/<pid>/stat` (proc(5)). The name, in parentheses, may hold anything.
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let Some((_, rest)) = text.rsplit_once(')') else {
            return Self::Alive { started: None };
        };
        let mut fields = rest.split_ascii_whitespace();
        // The state is the third field, the start the twenty-second.
        match fields.next() {
            Some("Z" | "X" | "x") => Self::Dead,
            _ => Self::Alive {
                started: fields.nth(18).and_then(|field| field.parse().ok()),
            },
        }
    }
}

/// Names the networks and processes that this process sees; those of a container are others, and a number or port
/// of theirs means nothing here.
pub(crate) fn scope() -> String {
    let number = |kind: &str| {
        let found = fs::metadata(format!("/proc/self/ns/{kind}"));
        found.map_or(0, |found| found.ino())
    };
    format!("net-{}-pid-{}", number("net"), number("pid"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_lives_until_it_has_ended() {
        assert!(Process::current().is_alive());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let Seen::Alive { started } = Seen::of(pid) else {
            panic!("not seen");
        };
        let process = Process { pid, started };
        assert!(process.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
    }

    #[test]
    fn a_later_process_with_the_same_number_is_another() {
        let own = Process::current();
        let earlier = Process {
            started: own.started.map(|started| started - 1),
            ..own
        };
        assert!(!earlier.is_alive());
    }

    #[test]
    fn a_name_with_parentheses_and_a_dead_child_are_read() {
        let fields = "1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 1";
        let alive = format!("7 (a) Z (b) S {fields}\n");
        assert_eq!(Seen::parse(alive.as_bytes()), Seen::Alive { started: Some(987) });
        let dead = format!("7 (a) Z {fields}\n");
        assert_eq!(Seen::parse(dead.as_bytes()), Seen::Dead);
        assert_eq!(Seen::parse(b"\xff"), Seen::Alive { started: None });
    }
}
