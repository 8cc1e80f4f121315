//! YAML documents that remember the line of every key and value.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_kit::expand::expand;
use outrigger_kit::yaml;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::World;
use crate::finding::{Findings, Place};

/// One document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) file: Arc<str>,
    pub(crate) root: Node,
}

/// A value and the line that it begins on.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a value is, as the Go programs read YAML.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A member of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Node,
}

/// A value while it is read: lines are those of the document.
struct Raw(Value);

// === impl Document ===

impl Document {
    pub(crate) fn place(&self, line: usize) -> Place {
        Place::new(&self.file, line)
    }

    pub(crate) fn kind(&self) -> &str {
        self.root.text("kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.root
            .get("metadata")
            .map_or("", |metadata| metadata.text("name"))
    }

    pub(crate) fn spec(&self) -> &Node {
        self.root.get("spec").unwrap_or(&EMPTY)
    }

    /// The line of `metadata.name`, else that of the document.
    pub(crate) fn name_line(&self) -> usize {
        let name = self
            .root
            .get("metadata")
            .and_then(|metadata| metadata.get("name"));
        name.map_or(self.root.line, |name| name.line)
    }

    /// App ids that may load it, with their lines; none for all.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = (&str, usize)> {
        let scopes = self.root.get("scopes").map_or(&[][..], Node::items);
        scopes
            .iter()
            .map(|scope| (scope.as_text().unwrap_or_default(), scope.line))
    }

    /// Whether the sidecar of this app loads it.
    pub(crate) fn is_for(&self, app_id: &str) -> bool {
        let mut scopes = self.scopes().peekable();
        scopes.peek().is_none() || scopes.any(|(scope, _)| scope == app_id)
    }
}

// === impl Node ===

static EMPTY: Node = Node {
    line: 0,
    value: Value::Null,
};

impl Node {
    /// The member of this name, letter case aside, as Go decodes; the last of several.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let mut entries = self.entries().iter().rev();
        entries
            .find(|entry| entry.key.eq_ignore_ascii_case(name))
            .map(|entry| &entry.value)
    }

    /// The text of a member; empty if it is not there or no scalar.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Self::as_text).unwrap_or_default()
    }

    /// The line of a member, else the own.
    pub(crate) fn line_of(&self, name: &str) -> usize {
        self.get(name).map_or(self.line, |node| node.line)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list that is a member.
    pub(crate) fn list(&self, name: &str) -> &[Self] {
        self.get(name).map_or(&[], Self::items)
    }

    /// The members of a map that is a member.
    pub(crate) fn map(&self, name: &str) -> &[Entry] {
        self.get(name).map_or(&[], Self::entries)
    }

    fn shift(&mut self, lines: usize) {
        self.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.line += lines;
                    entry.value.shift(lines);
                }
            }
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Raw>::deserialize(deserializer)?;
        Ok(Self {
            line: usize::try_from(spanned.referenced.line()).unwrap_or(usize::MAX),
            value: spanned.value.0,
        })
    }
}

// === impl Raw ===

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
                deserializer.deserialize_any(self)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = members.next_entry::<Spanned<String>, Node>()? {
                    entries.push(Entry {
                        line: usize::try_from(key.referenced.line()).unwrap_or(usize::MAX),
                        key: key.value,
                        value,
                    });
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(Reader).map(Self)
    }
}

/// The first document of each Configuration file, with variables put in as the sidecar does.
pub(crate) fn read_configurations(
    paths: &[String],
    world: World<'_>,
    findings: &mut Findings,
) -> Vec<Document> {
    let mut documents = Vec::new();
    for path in paths {
        let file: Arc<str> = path.as_str().into();
        let Some(text) = read(&file, world, findings) else {
            continue;
        };
        let text = expand(&text, |name| world.environment.get(name).unwrap_or_default());
        let first = yaml::first_document(&text);
        documents.extend(parse(&file, &text, first, findings));
    }
    documents
}

/// All documents of the YAML files of these folders.
pub(crate) fn read_resources(
    folders: &[PathBuf],
    world: World<'_>,
    findings: &mut Findings,
) -> Vec<Document> {
    let mut documents = Vec::new();
    for folder in folders {
        let names = match world.files.list(folder) {
            Ok(names) => names,
            Err(error) => {
                let place = Place::outside(&folder.to_string_lossy());
                findings.add(place, format!("the folder cannot be read: {}", cause(&error)));
                continue;
            }
        };
        for name in names {
            let file: Arc<str> = folder.join(&name).to_string_lossy().into();
            if !is_yaml(&name) {
                let message = "not a YAML file by its name: it is not loaded";
                findings.add(Place::new(&file, 0), message);
                continue;
            }
            let Some(text) = read(&file, world, findings) else {
                continue;
            };
            for document in yaml::documents(&text) {
                documents.extend(parse(&file, &text, document, findings));
            }
        }
    }
    documents
}

fn is_yaml(name: &Path) -> bool {
    let extension = name.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
}

fn read(file: &Arc<str>, world: World<'_>, findings: &mut Findings) -> Option<String> {
    let bytes = match world.files.read(Path::new(&**file)) {
        Ok(bytes) => bytes,
        Err(error) => {
            findings.add(Place::new(file, 0), format!("cannot be read: {}", cause(&error)));
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text.trim_start_matches('\u{feff}').to_owned()),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error
                .as_bytes()
                .iter()
                .take(valid)
                .filter(|byte| **byte == b'\n')
                .count();
            findings.add(Place::new(file, line), "not UTF-8 text");
            None
        }
    }
}

/// What the system said, without its number.
pub(crate) fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn parse(file: &Arc<str>, text: &str, document: &str, findings: &mut Findings) -> Option<Document> {
    if yaml::is_blank(document) {
        return None;
    }
    let begin = document.as_ptr().addr() - text.as_ptr().addr();
    let above = text.bytes().take(begin).filter(|byte| *byte == b'\n').count();
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: yaml::MAX_REPEATED },
    };
    match serde_saphyr::from_str_with_options::<Node>(document, options) {
        Ok(root) if matches!(root.value, Value::Null) => None,
        Ok(mut root) => {
            root.shift(above);
            Some(Document {
                file: Arc::clone(file),
                root,
            })
        }
        Err(error) => {
            let line = error
                .location()
                .map_or(0, |at| usize::try_from(at.line()).unwrap_or(usize::MAX));
            let message = error.to_string();
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            findings.add(
                Place::new(file, above + line.max(1)),
                format!("not YAML: {message}"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(String, usize)> {
        fn walk(node: &Node, path: &str, lines: &mut Vec<(String, usize)>) {
            for entry in node.entries() {
                let path = format!("{path}.{}", entry.key);
                lines.push((path.clone(), entry.line));
                walk(&entry.value, &path, lines);
            }
            for (index, item) in node.items().iter().enumerate() {
                lines.push((format!("{path}[{index}]"), item.line));
                walk(item, &format!("{path}[{index}]"), lines);
            }
        }
        let mut findings = Findings::default();
        let mut found = Vec::new();
        for document in yaml::documents(text) {
            if let Some(document) = parse(&"f".into(), text, document, &mut findings) {
                walk(&document.root, "", &mut found);
            }
        }
        assert!(findings.is_empty(), "{findings:?}");
        found
    }

    #[test]
    fn keys_and_items_know_their_lines_in_the_file() {
        let text = "# a comment\nkind: A\n---\nkind: B\nlist:\n- x\n- {y: 1,\n   z: 2}\n";
        let expected = [
            (".kind", 2),
            (".kind", 4),
            (".list", 5),
            (".list[0]", 6),
            (".list[1]", 7),
            (".list[1].y", 7),
            (".list[1].z", 8),
        ];
        let found = lines(text);
        let found: Vec<_> = found.iter().map(|(path, line)| (path.as_str(), *line)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_line() {
        let text = "kind: A\n---\na: 1\nb: [\n";
        let mut findings = Findings::default();
        let broken = yaml::documents(text).nth(1).unwrap();
        assert!(parse(&"f".into(), text, broken, &mut findings).is_none());
        let text = findings.into_text(1);
        assert!(
            text.starts_with("f:4: not YAML: ") || text.starts_with("f:5: not YAML: "),
            "{text}"
        );
    }
}
