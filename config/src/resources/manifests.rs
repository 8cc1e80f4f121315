//! Folders of resource files, read once.

use std::io;
use std::path::{Path, PathBuf};

use outrigger_kit::json::from_value_ignoring_case;
use outrigger_kit::system::text as system_text;
use outrigger_kit::yaml;
use serde::Deserialize;
use serde_json::Value;

use super::metadata::{Metadata, check_name};
use super::{Files, Resource};

/// The resource files of a set of folders, parsed but not yet told apart by kind.
///
/// Folders are in the order given, files in the byte order of their names, documents in file order.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    entries: Vec<Entry>,
}

/// The resources of one kind, and what is to be said about the files they come from.
#[derive(Clone, Debug)]
pub struct Loaded<R> {
    /// The resources, not filtered.
    pub resources: Vec<R>,
    /// Warnings, one line each, for the scope `dapr.runtime.loader.disk`.
    pub warnings: Vec<String>,
}

/// A folder that cannot be listed: the sidecar does not start.
#[derive(Debug, thiserror::Error)]
#[error("open {}: {}", .directory.display(), system_text(.source))]
pub struct LoadError {
    directory: PathBuf,
    source: io::Error,
}

/// Folders that cannot be read again while the sidecar runs.
#[derive(Debug, thiserror::Error)]
#[error("failed to read resource directories: {0}")]
pub struct ReadError(String);

/// One entry of a folder.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    NotYaml {
        name: PathBuf,
    },
    Unreadable {
        path: PathBuf,
        cause: String,
        gone: bool,
    },
    File {
        path: PathBuf,
        documents: Vec<Document>,
    },
}

/// One document that is not blank.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// Counted from 1, blank documents included.
    pub(super) number: usize,
    pub(super) content: Result<(Head, Value), String>,
}

/// What tells the kind of a document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) metadata: Metadata,
}

// === impl Manifests ===

impl Manifests {
    /// Reads all files of the folders, not of folders inside them.
    ///
    /// # Errors
    /// A folder that cannot be listed. Files that cannot be read or parsed are told when a kind is selected.
    pub fn read(files: &impl Files, directories: &[PathBuf]) -> Result<Self, LoadError> {
        let mut entries = Vec::new();
        for directory in directories {
            let names = files.list(directory).map_err(|source| LoadError {
                directory: directory.clone(),
                source,
            })?;
            entries.extend(names.into_iter().map(|name| Entry::read(files, directory, name)));
        }
        Ok(Self { entries })
    }

    /// Reads all files again, while they may be changing: one that goes away meanwhile is left out.
    ///
    /// # Errors
    /// A folder that cannot be listed, or a file that is there and cannot be read.
    pub fn read_again(files: &impl Files, directories: &[PathBuf]) -> Result<Self, ReadError> {
        let mut manifests = Self::read(files, directories).map_err(|error| ReadError(error.to_string()))?;
        let unreadable = |entry: &Entry| match entry {
            Entry::Unreadable {
                cause, gone: false, ..
            } => Some(cause.clone()),
            _ => None,
        };
        match manifests.entries.iter().find_map(unreadable) {
            Some(cause) => Err(ReadError(cause)),
            None => {
                manifests
                    .entries
                    .retain(|entry| !matches!(entry, Entry::Unreadable { .. }));
                Ok(manifests)
            }
        }
    }

    /// Takes out the resources of one kind, with the warnings that come with it.
    #[must_use]
    pub fn select<R: Resource>(&self) -> Loaded<R> {
        let mut loaded = Loaded {
            resources: Vec::new(),
            warnings: Vec::new(),
        };
        for entry in &self.entries {
            match entry {
                Entry::NotYaml { name } => loaded.warnings.push(format!(
                    "A non-YAML {} file {} was detected, it will not be loaded",
                    R::KIND,
                    name.display()
                )),
                Entry::Unreadable { path, cause, .. } => loaded.warnings.push(format!(
                    "daprd load {} error when opening file {}: {cause}",
                    R::KIND,
                    path.display()
                )),
                Entry::File { path, documents } => loaded.take_file(path, documents),
            }
        }
        loaded
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

// === impl Entry ===

impl Entry {
    fn read(files: &impl Files, directory: &Path, name: PathBuf) -> Self {
        let path = directory.join(&name);
        let lower = name.to_string_lossy().to_lowercase();
        let is_yaml = lower.ends_with(".yaml") || lower.ends_with(".yml");
        if !is_yaml {
            return Self::NotYaml { name };
        }
        match files.read(&path) {
            Ok(bytes) => Self::File {
                path,
                documents: documents(&bytes),
            },
            Err(error) => {
                let cause = format!("open {}: {}", path.display(), system_text(&error));
                let gone = error.kind() == io::ErrorKind::NotFound;
                Self::Unreadable { path, cause, gone }
            }
        }
    }
}

fn documents(bytes: &[u8]) -> Vec<Document> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        Err(error) => {
            let cause = format!("not UTF-8 text at byte {}", error.valid_up_to());
            return vec![Document {
                number: 1,
                content: Err(cause),
            }];
        }
    };
    let numbered = (1..)
        .zip(yaml::documents(text))
        .filter(|(_, document)| !yaml::is_blank(document));
    numbered
        .filter_map(|(number, document)| match parse(document) {
            Ok(None) => None,
            Ok(Some(content)) => Some(Document {
                number,
                content: Ok(content),
            }),
            Err(cause) => Some(Document {
                number,
                content: Err(cause),
            }),
        })
        .collect()
}

fn parse(document: &str) -> Result<Option<(Head, Value)>, String> {
    let value = yaml::to_json(document).map_err(|error| error.to_string())?;
    if value.is_null() {
        return Ok(None);
    }
    let head = from_value_ignoring_case(&value).map_err(|error| error.to_string())?;
    Ok(Some((head, value)))
}

// === impl Loaded ===

impl<R: Resource> Loaded<R> {
    /// Writes the warnings to the log.
    pub fn log(&self) {
        for warning in &self.warnings {
            tracing::warn!(target: "dapr.runtime.loader.disk", "{warning}");
        }
    }

    fn take_file(&mut self, path: &Path, documents: &[Document]) {
        let mut causes = Vec::new();
        for document in documents {
            match take_document(document) {
                Ok(resource) => self.resources.extend(resource),
                Err(cause) => causes.push(format!("document {}: {cause}", document.number)),
            }
        }
        if !causes.is_empty() {
            self.warnings.push(format!(
                "daprd load {} error when parsing manifests yaml resource in {}: {}",
                R::KIND,
                path.display(),
                causes.join("; ")
            ));
        }
    }
}

/// The resource in a document, if the document is of the kind.
fn take_document<R: Resource>(document: &Document) -> Result<Option<R>, String> {
    let (head, value) = document.content.as_ref().map_err(Clone::clone)?;
    if head.kind != R::KIND || !R::API_VERSIONS.contains(&head.api_version.as_str()) {
        return Ok(None);
    }
    check_name(R::KIND, &head.metadata.name).map_err(|error| error.to_string())?;
    R::from_document(&head.api_version, value)
        .map(Some)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::resources::{Component, HttpEndpoint, Subscription};

    /// Files in memory, by path.
    #[derive(Debug, Default)]
    pub(crate) struct Memory(BTreeMap<PathBuf, Vec<u8>>);

    impl Memory {
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            Self(
                files
                    .iter()
                    .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()))
                    .collect(),
            )
        }
    }

    impl Files for Memory {
        fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
            let inside = self.0.keys().filter(|path| path.parent() == Some(directory));
            let names: Vec<_> = inside
                .filter_map(|path| path.file_name())
                .map(PathBuf::from)
                .collect();
            if names.is_empty() {
                Err(io::ErrorKind::NotFound.into())
            } else {
                Ok(names)
            }
        }

        fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
            let missing = || io::Error::from_raw_os_error(2);
            let bytes = self.0.get(file).ok_or_else(missing)?;
            match bytes.as_slice() {
                b"unreadable" => Err(missing()),
                b"forbidden" => Err(io::Error::from_raw_os_error(13)),
                bytes => Ok(bytes.to_vec()),
            }
        }
    }

    const HEAD: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\n";

    fn select(files: &[(&str, &str)], directories: &[&str]) -> Loaded<Component> {
        let directories: Vec<_> = directories.iter().map(PathBuf::from).collect();
        Manifests::read(&Memory::new(files), &directories)
            .unwrap()
            .select()
    }

    fn names(loaded: &Loaded<Component>) -> Vec<&str> {
        loaded
            .resources
            .iter()
            .map(|component| component.metadata.name.as_str())
            .collect()
    }

    #[test]
    fn files_are_read_in_order_of_folders_names_and_documents() {
        let two =
            format!("{HEAD}metadata: {{name: b1}}\n---\n# nothing\n---\n{HEAD}metadata: {{name: b2}}\n---\n");
        let one = format!("---\n{HEAD}metadata: {{name: a}}\n");
        let other = format!("{HEAD}metadata: {{name: z}}\n");
        let files = [
            ("y/b.yaml", &*two),
            ("y/a.YML", &*one),
            ("x/z.yml", &*other),
            ("x/empty.yaml", ""),
        ];
        let loaded = select(&files, &["y", "x"]);
        assert_eq!(names(&loaded), ["a", "b1", "b2", "z"]);
        assert_eq!(loaded.warnings, [""; 0]);
    }

    #[test]
    fn kinds_and_versions_must_match_exactly() {
        let text = "apiVersion: dapr.io/v1alpha1\nkind: component\nmetadata: {name: a}\n---\n\
            apiVersion: dapr.io/v2alpha1\nkind: Component\nmetadata: {name: b}\n---\n\
            apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: c}\n---\n\
            APIVERSION: dapr.io/v1alpha1\nKind: Subscription\nmetadata: {name: d}\n";
        let manifests = Manifests::read(&Memory::new(&[("r/a.yaml", text)]), &["r".into()]).unwrap();
        assert!(manifests.select::<Component>().resources.is_empty());
        assert!(manifests.select::<HttpEndpoint>().resources.is_empty());
        assert_eq!(manifests.select::<Subscription>().resources.len(), 2);
    }

    #[test]
    fn other_files_are_told_per_kind() {
        let manifests = Manifests::read(
            &Memory::new(&[("r/a.json", "{}"), ("r/README", "")]),
            &["r".into()],
        )
        .unwrap();
        assert_eq!(
            manifests.select::<Component>().warnings,
            [
                "A non-YAML Component file README was detected, it will not be loaded",
                "A non-YAML Component file a.json was detected, it will not be loaded",
            ]
        );
        let endpoints = manifests.select::<HttpEndpoint>().warnings;
        assert_eq!(
            endpoints[0],
            "A non-YAML HTTPEndpoint file README was detected, it will not be loaded"
        );
    }

    #[test]
    fn bad_documents_are_told_with_file_number_and_field_and_good_ones_stay() {
        let text = format!(
            "{HEAD}metadata: {{name: good}}\n---\n{HEAD}spec: [\n---\n{HEAD}metadata: {{name: a/b}}\n---\n\
            {HEAD}metadata: {{name: c}}\nspec: {{metadata: [{{name: x}}, {{name: []}}]}}\n---\n{HEAD}metadata: {{name: last}}\n"
        );
        let loaded = select(&[("r/a.yaml", &text)], &["r"]);
        assert_eq!(names(&loaded), ["good", "last"]);
        let [warning] = &loaded.warnings[..] else {
            panic!("one line: {:?}", loaded.warnings)
        };
        let prefix = "daprd load Component error when parsing manifests yaml resource in r/a.yaml: ";
        assert!(
            warning.starts_with(&format!(
                "{prefix}document 2: error converting YAML to JSON: yaml: "
            )),
            "{warning}"
        );
        assert!(
            warning.contains(r#"document 3: invalid name "a/b" for "Component": may not contain '/'"#),
            "{warning}"
        );
        assert!(
            warning.ends_with("document 4: spec.metadata[1].name: expected a text, found a list"),
            "{warning}"
        );
    }

    #[test]
    fn unreadable_files_are_told() {
        let loaded = select(&[("r/a.yaml", "unreadable")], &["r"]);
        assert_eq!(
            loaded.warnings,
            [
                "daprd load Component error when opening file r/a.yaml: open r/a.yaml: no such file or directory"
            ]
        );
    }

    #[test]
    fn what_goes_away_while_it_is_read_again_is_left_out_and_what_is_refused_is_an_error() {
        let folder = [PathBuf::from("r")];
        let good = format!("{HEAD}metadata: {{name: good}}\n");
        let files = Memory::new(&[("r/a.yaml", "unreadable"), ("r/b.yaml", &good)]);
        let loaded = Manifests::read_again(&files, &folder)
            .unwrap()
            .select::<Component>();
        assert_eq!(names(&loaded), ["good"]);
        assert_eq!(loaded.warnings, [""; 0]);
        let files = Memory::new(&[("r/a.yaml", "forbidden"), ("r/b.yaml", &good)]);
        let error = Manifests::read_again(&files, &folder).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read resource directories: open r/a.yaml: permission denied"
        );
        assert!(Manifests::read_again(&files, &["nowhere".into()]).is_err());
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let error = Manifests::read(&Memory::default(), &["nowhere".into()]).unwrap_err();
        assert!(error.to_string().starts_with("open nowhere: "), "{error}");
        assert!(
            Manifests::read(&Memory::default(), &[])
                .unwrap()
                .select::<Component>()
                .resources
                .is_empty()
        );
    }

    #[test]
    fn large_documents_are_read() {
        let text = format!(
            "{HEAD}metadata: {{name: big}}\nspec: {{metadata: [{{name: x, value: {}}}]}}",
            "v".repeat(200_000)
        );
        assert_eq!(
            select(&[("r/a.yaml", &text)], &["r"]).resources[0].properties[0]
                .value
                .text()
                .len(),
            200_000
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_told() {
        let mut files = Memory::default();
        files.0.insert("r/a.yaml".into(), b"kind: \xff".to_vec());
        let loaded: Loaded<Component> = Manifests::read(&files, &["r".into()]).unwrap().select();
        assert!(
            loaded.warnings[0].ends_with("document 1: not UTF-8 text at byte 6"),
            "{:?}",
            loaded.warnings
        );
    }

    proptest! {
        #[test]
        fn no_file_makes_the_loader_panic(text in "[a-zA-Z0-9:\\-\\[\\]{}, '\"#&*!|>\n]{0,80}") {
            let text = format!("{HEAD}{text}");
            let loaded = select(&[("r/a.yaml", &text)], &["r"]);
            prop_assert!(loaded.warnings.len() <= 1);
            prop_assert!(loaded.warnings.iter().all(|warning| !warning.contains('\n')));
        }
    }
}
