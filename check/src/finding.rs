//! What is wrong and where, and how it is printed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    /// Counted from 1; 0 for what is said of the whole.
    pub(crate) line: usize,
}

/// All mistakes that were found.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeSet<(Place, String)>);

// === impl Place ===

impl Place {
    pub(crate) fn new(file: &Arc<str>, line: usize) -> Self {
        Self {
            file: Arc::clone(file),
            line,
        }
    }

    /// The command line as a whole, or the environment.
    pub(crate) fn outside(what: &str) -> Self {
        Self {
            file: what.into(),
            line: 0,
        }
    }
}

// === impl Findings ===

impl Findings {
    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.0.insert((place, message.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `file:line: message`, one a line, by file and line; then a line that counts them.
    pub(crate) fn into_text(self, files: usize) -> String {
        let mut text = String::new();
        for (Place { file, line }, message) in &self.0 {
            let place = match line {
                0 => file.to_string(),
                line => format!("{file}:{line}"),
            };
            text.push_str(&format!("{place}: {message}\n"));
        }
        let (mistakes, files) = (plural(self.0.len(), "mistake"), plural(files, "file"));
        text.push_str(&format!("{mistakes} in {files}\n"));
        text
    }

    /// One object: `files`, how many were read; `mistakes`, a list of `file`, `line` and `message`, where `line` is
    /// null for what has none.
    pub(crate) fn into_json(self, files: usize) -> String {
        let mistakes: Vec<_> = self
            .0
            .into_iter()
            .map(|(Place { file, line }, message)| {
                let line = (line > 0).then_some(line);
                json!({"file": &*file, "line": line, "message": message})
            })
            .collect();
        format!("{}\n", json!({"files": files, "mistakes": mistakes}))
    }
}

/// How many files there are among these names.
pub(crate) fn count_files<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.collect::<BTreeSet<_>>().len()
}

fn plural(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
