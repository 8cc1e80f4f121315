//! Templates for paths, with the rules of Go's request multiplexer.
//!
//! `{name}` stands for one segment, `{name...}` for all that are left, a trailing `/` for a subtree, `{$}` for
//! the end after a `/`. The most specific template wins, whatever the order.

/// A set of templates.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    texts: Vec<String>,
    root: Node,
}

/// What may follow after some segments; endings are places in the list of templates.
#[derive(Clone, Debug, Default)]
struct Node {
    literal: Vec<(Box<str>, Self)>,
    any: Option<Box<Self>>,
    subtree: Option<usize>,
    end: Option<usize>,
}

// === impl Patterns ===

impl Patterns {
    /// Adds a template, which starts with a slash; one that is there already changes nothing.
    pub(super) fn add(&mut self, text: &str) {
        if self.texts.iter().any(|known| known == text) {
            return;
        }
        let place = self.texts.len();
        self.texts.push(text.to_owned());
        let mut node = &mut self.root;
        let mut segments = text.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let name = segment
                .strip_prefix('{')
                .and_then(|inner| inner.strip_suffix('}'));
            if last && (segment.is_empty() || name.is_some_and(|name| name.ends_with("..."))) {
                node.subtree.get_or_insert(place);
                return;
            }
            node = match name {
                Some("$") if last => node.literal(""),
                Some(_) => node.any.get_or_insert_default(),
                None => node.literal(segment),
            };
        }
        node.end.get_or_insert(place);
    }

    /// The template that a path, which starts with a slash, belongs to.
    pub(super) fn find(&self, path: &str) -> Option<&str> {
        let rest = path.strip_prefix('/')?;
        self.root.find(Some(rest)).map(|place| self.texts[place].as_str())
    }
}

// === impl Node ===

impl Node {
    fn literal(&mut self, segment: &str) -> &mut Self {
        let place = self
            .literal
            .iter()
            .position(|(text, _)| **text == *segment)
            .unwrap_or_else(|| {
                self.literal.push((segment.into(), Self::default()));
                self.literal.len() - 1
            });
        &mut self.literal[place].1
    }

    fn find(&self, rest: Option<&str>) -> Option<usize> {
        let Some(rest) = rest else { return self.end };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        let literal = self.literal.iter().find(|(text, _)| **text == *segment);
        literal
            .and_then(|(_, node)| node.find(after))
            .or_else(|| self.any.as_ref().filter(|_| !segment.is_empty())?.find(after))
            .or(self.subtree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        let mut patterns = Patterns::default();
        texts.iter().for_each(|text| patterns.add(text));
        patterns
    }

    #[test]
    fn the_most_specific_template_wins() {
        let all = patterns(&[
            "/orders/{id}",
            "/orders/1234",
            "/orders/{id}/items",
            "/orders/{id}/{what}",
            "/files/",
            "/files/{name}/raw",
            "/tail/{rest...}",
            "/exact/{$}",
        ]);
        let table = [
            ("/orders/1234", Some("/orders/1234")),
            ("/orders/1", Some("/orders/{id}")),
            ("/orders/1/items", Some("/orders/{id}/items")),
            ("/orders/1234/items", Some("/orders/{id}/items")),
            ("/orders/1234/notes", Some("/orders/{id}/{what}")),
            ("/orders/1/items/2", None),
            ("/orders", None),
            ("/orders/", None),
            ("/files/", Some("/files/")),
            ("/files/a/b/c", Some("/files/")),
            ("/files/a/raw", Some("/files/{name}/raw")),
            ("/files", None),
            ("/tail/a/b", Some("/tail/{rest...}")),
            ("/exact/", Some("/exact/{$}")),
            ("/exact/more", None),
            ("/", None),
            ("orders/1", None),
        ];
        for (path, expected) in table {
            assert_eq!(all.find(path), expected, "{path}");
        }
    }

    #[test]
    fn the_root_template_takes_what_is_left() {
        let all = patterns(&["/", "/orders"]);
        for (path, expected) in [
            ("/orders", "/orders"),
            ("/", "/"),
            ("/other/1", "/"),
            ("/orders/1", "/"),
        ] {
            assert_eq!(all.find(path), Some(expected), "{path}");
        }
    }
}
