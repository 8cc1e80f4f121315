//! Patterns of keys.

use super::StateError;

/// An SQL pattern of whole keys: `%` is any text, `_` any one character, `\` takes the meaning of what follows.
///
/// For stores that have no such patterns of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Like(Vec<LikePart>);

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikePart {
    /// This character.
    Literal(char),
    /// Any one character.
    AnyOne,
    /// Any text, also none.
    AnyText,
}

// === impl Like ===

impl Like {
    /// Reads a pattern.
    ///
    /// # Errors
    /// An empty one: `keys like pattern cannot be empty`.
    pub fn parse(pattern: &str) -> Result<Self, StateError> {
        if pattern.is_empty() {
            return Err(StateError::other("keys like pattern cannot be empty"));
        }
        let mut parts = Vec::with_capacity(pattern.len());
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            let part = match character {
                '%' => LikePart::AnyText,
                '_' => LikePart::AnyOne,
                '\\' => LikePart::Literal(characters.next().unwrap_or('\\')),
                literal => LikePart::Literal(literal),
            };
            // Several of them are as good as one, and take time.
            if part != LikePart::AnyText || parts.last() != Some(&LikePart::AnyText) {
                parts.push(part);
            }
        }
        Ok(Self(parts))
    }

    /// The pieces in their order.
    #[must_use]
    pub fn parts(&self) -> &[LikePart] {
        &self.0
    }

    /// The text that all keys of the pattern begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        let literal = |part: &LikePart| match part {
            LikePart::Literal(character) => Some(*character),
            LikePart::AnyOne | LikePart::AnyText => None,
        };
        self.0.iter().map_while(literal).collect()
    }

    /// Whether a key is like the pattern. Takes at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let parts = &self.0;
        let (mut rest, mut index) = (key, 0);
        // The last `%`, and what was left of the key when it had taken all before.
        let mut any: Option<(usize, &str)> = None;
        loop {
            let mut characters = rest.chars();
            let next = characters.next();
            let goes_on = match (parts.get(index), next) {
                (Some(LikePart::AnyText), _) => {
                    any = Some((index, rest));
                    index += 1;
                    continue;
                }
                (None, None) => return true,
                (Some(LikePart::AnyOne), Some(_)) => true,
                (Some(LikePart::Literal(wanted)), Some(found)) => *wanted == found,
                (Some(_), None) => return false,
                (None, Some(_)) => false,
            };
            if goes_on {
                rest = characters.as_str();
                index += 1;
            } else {
                let Some((start, taken)) = any else {
                    return false;
                };
                let mut longer = taken.chars();
                if longer.next().is_none() {
                    return false;
                }
                rest = longer.as_str();
                any = Some((start, rest));
                index = start + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_keys() {
        let table = [
            ("%", "", true),
            ("%", "anything||at all", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a%", "abc", true),
            ("a%c", "abcbc", true),
            ("a%c", "abcb", false),
            ("%b%d%", "abcde", true),
            ("%b%b%", "abc", false),
            ("a_c", "äöc", false),
            ("_ö_", "äöü", true),
            ("___", "ab", false),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("a\\_b", "a_b", true),
            ("a\\_b", "axb", false),
            ("a.b*", "axb", false),
            ("\\", "\\", true),
        ];
        for (pattern, key, expected) in table {
            let like = Like::parse(pattern).unwrap();
            assert_eq!(like.matches(key), expected, "{key:?} like {pattern:?}");
        }
        assert_eq!(
            Like::parse("").unwrap_err().to_string(),
            "keys like pattern cannot be empty"
        );
    }

    #[test]
    fn a_pattern_that_repeats_itself_takes_no_longer_than_the_product_of_the_lengths() {
        let like = Like::parse(&"%a".repeat(200)).unwrap();
        assert!(!like.matches(&format!("{}b", "a".repeat(5000))));
    }

    #[test]
    fn the_beginning_of_a_pattern_is_known() {
        for (pattern, prefix) in [("a||b\\%%c", "a||b%"), ("%a", ""), ("whole", "whole")] {
            assert_eq!(Like::parse(pattern).unwrap().prefix(), prefix);
        }
    }
}
