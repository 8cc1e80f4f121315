//! The settings of a component, and how they are read.

use std::collections::HashMap;
use std::fmt;

use outrigger_kit::boolean::is_truthy;
use outrigger_kit::duration::{GoDuration, parse_go};
use outrigger_kit::quote::go_quote;
use outrigger_kit::{number, quantity};

/// Named texts in the order of the resource, references and placeholders resolved.
///
/// The texts may be secrets: the debug form has the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, String)>);

/// Settings by name whatever the case, as most components read them.
///
/// A setting that is absent reads as `None` everywhere. Unknown names are nobody's business.
///
/// Source: specification, components 3.5.
#[derive(Clone)]
pub struct Fields<'a> {
    exact: HashMap<&'a str, &'a str>,
    folded: HashMap<String, &'a str>,
}

/// Settings that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Two names are the same but for their case.
    #[error("failed to resolve aliases: key {0} is duplicate in the metadata")]
    Duplicate(String),
    /// A text is not of the kind that is wanted.
    #[error("cannot parse '{name}' as {kind}: {reason}")]
    Value {
        /// Name of the setting.
        name: String,
        /// What was wanted.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

// === impl Properties ===

impl Properties {
    /// The texts as they come; of several with the same name the last one counts.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut own = Self::default();
        for (name, value) in pairs {
            own.set(name, value);
        }
        own
    }

    /// Sets a text, in place of one of the same name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// The text of a name: the one spelled like it, else the first that is the same but for its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let exact = self.0.iter().find(|(known, _)| known == name);
        let found = exact.or_else(|| self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.as_str())
    }

    /// All names and texts, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The settings as fields.
    ///
    /// # Errors
    /// Two names that are the same but for their case.
    pub fn fields(&self) -> Result<Fields<'_>, PropertyError> {
        let mut folded = HashMap::with_capacity(self.0.len());
        for (name, value) in self.iter() {
            let name = name.to_lowercase();
            if folded.contains_key(&name) {
                return Err(PropertyError::Duplicate(name));
            }
            folded.insert(name, value);
        }
        let exact = self.iter().collect();
        Ok(Fields { exact, folded })
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Properties {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

// === impl Fields ===

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.exact.keys()).finish()
    }
}

impl<'a> Fields<'a> {
    /// A text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let exact = self.exact.get(name);
        exact.or_else(|| self.folded.get(&name.to_lowercase())).copied()
    }

    /// A text under its name, else under the first of other names that it may have.
    #[must_use]
    pub fn text_of(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.text(name))
    }

    /// Whether a text means yes; never an error.
    #[must_use]
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.text(name).map(is_truthy)
    }

    /// A Go duration, or a whole number of seconds; empty is zero.
    ///
    /// # Errors
    /// Anything else.
    pub fn duration(&self, name: &str) -> Result<Option<GoDuration>, PropertyError> {
        self.read(name, "duration", duration)
    }

    /// Durations with commas between; empty parts are left out.
    ///
    /// # Errors
    /// A part that is no duration.
    pub fn durations(&self, name: &str) -> Result<Option<Vec<GoDuration>>, PropertyError> {
        self.read(name, "durations", |text| {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(duration).collect()
        })
    }

    /// Texts with commas between, spaces kept; an empty text is one empty element.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<Vec<&'a str>> {
        self.text(name).map(|text| text.split(',').collect())
    }

    /// A whole number, in any base by its prefix; empty is zero.
    ///
    /// # Errors
    /// Anything else.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, PropertyError> {
        self.read(name, "int", |text| match text {
            "" => Ok(0),
            text => number::parse_int(text).map_err(|error| error.to_string()),
        })
    }

    /// A number; empty is zero.
    ///
    /// # Errors
    /// Anything else.
    pub fn float(&self, name: &str) -> Result<Option<f64>, PropertyError> {
        self.read(name, "float", |text| match text {
            "" => Ok(0.0),
            text => text.parse().map_err(|_| {
                let text = go_quote(text);
                format!("strconv.ParseFloat: parsing {text}: invalid syntax")
            }),
        })
    }

    /// A number of bytes as Kubernetes writes it: `10Mi`, `512k`, `100`.
    ///
    /// # Errors
    /// Anything else.
    pub fn bytes(&self, name: &str) -> Result<Option<i64>, PropertyError> {
        self.read(name, "quantity", |text| {
            quantity::parse(text).map_err(|error| error.to_string())
        })
    }

    fn read<T>(
        &self,
        name: &str,
        kind: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, PropertyError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match read(text) {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(PropertyError::Value {
                name: name.to_owned(),
                kind,
                reason,
            }),
        }
    }
}

fn duration(text: &str) -> Result<GoDuration, String> {
    if text.is_empty() {
        return Ok(GoDuration::ZERO);
    }
    parse_go(text).or_else(|error| match number::atoi(text) {
        Ok(seconds) => Ok(GoDuration::from_secs(seconds)),
        Err(_) => Err(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case_and_the_exact_one_first() {
        let properties = Properties::from([("clientid", "a"), ("clientID", "b"), ("x", "1"), ("x", "2")]);
        assert_eq!(properties.get("clientID"), Some("b"));
        assert_eq!(properties.get("CLIENTID"), Some("a"));
        assert_eq!(properties.get("x"), Some("2"));
        assert_eq!(properties.get("y"), None);
        assert_eq!(properties.iter().len(), 3);
        assert_eq!(format!("{properties:?}"), r#"{"clientid", "clientID", "x"}"#);
        assert_eq!(
            properties.fields().unwrap_err().to_string(),
            "failed to resolve aliases: key clientid is duplicate in the metadata"
        );
    }

    #[test]
    fn a_name_goes_before_its_aliases() {
        let properties = Properties::from([("ISSUERurl", "old"), ("clientID", "c")]);
        let fields = properties.fields().unwrap();
        assert_eq!(fields.text_of(&["issuer", "issuerURL"]), Some("old"));
        assert_eq!(fields.text_of(&["audience", "clientID"]), Some("c"));
        assert_eq!(fields.text_of(&["other"]), None);
    }

    #[test]
    fn texts_become_values() {
        let properties = Properties::from([
            ("yes", " On "),
            ("no", "nope"),
            ("go", "1m30s"),
            ("seconds", "15"),
            ("none", ""),
            ("spans", "1s, ,2"),
            ("list", "a, b"),
            ("hex", "0x10"),
            ("half", "0.5"),
            ("size", "4Ki"),
        ]);
        let fields = properties.fields().unwrap();
        assert_eq!(fields.boolean("YES"), Some(true));
        assert_eq!(fields.boolean("no"), Some(false));
        assert_eq!(fields.boolean("absent"), None);
        assert_eq!(fields.duration("go"), Ok(Some(GoDuration::from_secs(90))));
        assert_eq!(fields.duration("seconds"), Ok(Some(GoDuration::from_secs(15))));
        assert_eq!(fields.duration("none"), Ok(Some(GoDuration::ZERO)));
        assert_eq!(fields.duration("absent"), Ok(None));
        let spans = [1, 2].map(GoDuration::from_secs).to_vec();
        assert_eq!(fields.durations("spans"), Ok(Some(spans)));
        assert_eq!(fields.list("list"), Some(vec!["a", " b"]));
        assert_eq!(fields.list("none"), Some(vec![""]));
        assert_eq!(fields.integer("hex"), Ok(Some(16)));
        assert_eq!(fields.integer("none"), Ok(Some(0)));
        assert_eq!(fields.float("half"), Ok(Some(0.5)));
        assert_eq!(fields.bytes("size"), Ok(Some(4096)));
    }

    #[test]
    fn texts_of_the_wrong_kind_are_told_with_their_name() {
        let properties = Properties::from([("a", "x")]);
        let fields = properties.fields().unwrap();
        assert_eq!(
            fields.float("a").unwrap_err().to_string(),
            "cannot parse 'a' as float: strconv.ParseFloat: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            fields.duration("a").unwrap_err().to_string(),
            "cannot parse 'a' as duration: time: invalid duration \"x\""
        );
        assert!(fields.integer("a").is_err());
        assert!(fields.bytes("a").is_err());
    }
}
