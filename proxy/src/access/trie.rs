//! Operations of one caller, by path.
//!
//! A node is one segment of a path. Children keep the order in which they were written: of several that fit a
//! segment the first one wins, be it a name or a wildcard.
//!
//! Source: specification, access control 1.4.

use outrigger_link::Verb;

/// Rules by path patterns.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

/// What is said about an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Whether the action is to allow.
    pub(super) allows: bool,
    /// Verbs that the rule is for, where verbs count.
    pub(super) verbs: Verbs,
}

/// A set of verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verbs {
    /// One bit a number.
    named: u16,
    any: bool,
}

/// Which letters are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Each is itself.
    Kept,
    /// Those of ASCII in either case; patterns are in lower case.
    Folded,
}

#[derive(Debug, Default)]
struct Node {
    rule: Option<Rule>,
    children: Vec<(Segment, Self)>,
}

/// One segment of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// A text without a wildcard.
    Name(Box<str>),
    /// `*`: any last segment.
    Last,
    /// `**`: any segment.
    Any,
    /// A text with wildcards in it, each of which stands for any run of characters.
    Glob(Box<str>),
}

// === impl Trie ===

impl Trie {
    /// Adds a rule at a pattern, which begins with a slash; the first rule at a pattern stays.
    pub(super) fn insert(&mut self, pattern: &str, rule: Rule) {
        let mut node = &mut self.root;
        for part in segments(pattern) {
            node = node.child_mut(Segment::new(part));
        }
        node.rule.get_or_insert(rule);
    }

    /// The rule for an operation, whose leading slash may be missing.
    ///
    /// A node with a rule ends the search: the rule is for everything below it too.
    pub(super) fn find(&self, operation: &str, case: Case) -> Option<&Rule> {
        let mut node = &self.root;
        let mut parts = segments(operation).peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            let (segment, child) = node.child(part, is_last, case)?;
            match &child.rule {
                Some(rule) if is_last || *segment != Segment::Last => return Some(rule),
                // `/op/*` is for `/op` too.
                None if is_last => return child.child("*", true, case)?.1.rule.as_ref(),
                _ => node = child,
            }
        }
        None
    }
}

// === impl Node ===

impl Node {
    fn child(&self, part: &str, is_last: bool, case: Case) -> Option<&(Segment, Self)> {
        self.children
            .iter()
            .find(|(segment, _)| segment.fits(part, is_last, case))
    }

    fn child_mut(&mut self, segment: Segment) -> &mut Self {
        let found = self.children.iter().position(|(known, _)| *known == segment);
        let index = found.unwrap_or_else(|| {
            self.children.push((segment, Self::default()));
            self.children.len() - 1
        });
        &mut self.children[index].1
    }
}

// === impl Segment ===

impl Segment {
    fn new(part: &str) -> Self {
        match part {
            "*" => Self::Last,
            "**" => Self::Any,
            glob if glob.contains('*') => Self::Glob(glob.into()),
            name => Self::Name(name.into()),
        }
    }

    fn fits(&self, part: &str, is_last: bool, case: Case) -> bool {
        match self {
            Self::Name(name) if case == Case::Folded => is_lower_form(name, part),
            Self::Name(name) => **name == *part,
            // A star in a request is not a wildcard, but it does equal one.
            Self::Last => is_last || part == "*",
            Self::Any => true,
            Self::Glob(glob) => fits_glob(glob.as_bytes(), part.as_bytes(), case),
        }
    }
}

// === impl Verbs ===

impl Verbs {
    /// The verbs of these names, as they are written: `get` names none. `*` is all of them.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut verbs = Self::default();
        for name in names {
            let number = (0..16).find(|number| Verb(*number).name() == Some(name));
            match number {
                Some(number) => verbs.named |= 1 << number,
                None => verbs.any |= name == "*",
            }
        }
        verbs
    }

    pub(super) fn contains(self, verb: Verb) -> bool {
        self.any || matches!(verb.0, 0..16) && self.named & 1 << verb.0 != 0
    }
}

/// Whether `name` is `text` in lower case; a name with capitals is the form of none.
fn is_lower_form(name: &str, text: &str) -> bool {
    name.len() == text.len()
        && name
            .bytes()
            .eq(text.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// The segments of a path; that of `/` is one empty segment.
fn segments(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// Whether a text fits a pattern in which each star stands for any run of bytes. Never looks back further than
/// the last star, so that the work is bounded by the product of the lengths.
fn fits_glob(glob: &[u8], text: &[u8], case: Case) -> bool {
    let same = |wanted: u8, given: u8| match case {
        Case::Kept => wanted == given,
        Case::Folded => wanted == given.to_ascii_lowercase(),
    };
    let (mut at, mut read) = (0, 0);
    // The last star, and how much of the text it stands up to.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if same(wanted, text[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                at = place + 1;
                read = taken + 1;
            }
        }
    }
    glob.iter().skip(at).all(|&byte| byte == b'*')
}
