//! `$NAME` and `${NAME}` in texts, replaced as Go's `os.Expand` does.

/// Replaces `$NAME` and `${NAME}` by what `lookup` returns for the name; there is no escape.
///
/// A `$` that no name follows stays. The digits and `* # $ @ ! ? -` are names of one character.
/// `${` without an end, and `${}`, vanish.
pub fn expand(text: &str, mut lookup: impl FnMut(&str) -> String) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('$') {
        expanded.push_str(plain);
        rest = match name_at(after) {
            Reference::Name { name, rest } => {
                expanded.push_str(&lookup(name));
                rest
            }
            Reference::Broken { rest } => rest,
            Reference::None => {
                expanded.push('$');
                after
            }
        };
    }
    expanded.push_str(rest);
    expanded
}

/// What stands behind a `$`.
enum Reference<'a> {
    Name { name: &'a str, rest: &'a str },
    Broken { rest: &'a str },
    None,
}

fn name_at(text: &str) -> Reference<'_> {
    let first_length = text.chars().next().map_or(0, char::len_utf8);
    let (first, after_first) = text.split_at(first_length);
    if first == "{" {
        return match after_first.split_once('}') {
            Some(("", rest)) => Reference::Broken { rest },
            Some((name, rest)) => Reference::Name { name, rest },
            None => Reference::Broken { rest: after_first },
        };
    }
    if first.starts_with(['*', '#', '$', '@', '!', '?', '-'])
        || first.starts_with(|c: char| c.is_ascii_digit())
    {
        return Reference::Name {
            name: first,
            rest: after_first,
        };
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    match text.split_at(end) {
        ("", _) => Reference::None,
        (name, rest) => Reference::Name { name, rest },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_replaced_as_go_does() {
        let lookup = |name: &str| match name {
            "HOME" => "/root".to_owned(),
            "H" => "(Value of H)".to_owned(),
            "*" => "all the args".to_owned(),
            "1" => "ARGUMENT1".to_owned(),
            other => format!("<{other}>").replace("<MISSING>", ""),
        };
        let table = [
            ("", ""),
            ("$*", "all the args"),
            ("$$", "<$>"),
            ("${*}", "all the args"),
            ("$1", "ARGUMENT1"),
            ("$12", "ARGUMENT12"),
            ("now is the time", "now is the time"),
            ("$HOME", "/root"),
            ("${HOME}", "/root"),
            ("${H}OME", "(Value of H)OME"),
            ("A$MISSING!B", "A!B"),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("$}", "$}"),
            ("${", ""),
            ("a${HOME", "aHOME"),
            ("${}x", "x"),
            ("50%$", "50%$"),
            ("$é", "$é"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_dollar_stays(text in "[^$]*") {
            prop_assert_eq!(expand(&text, |_| String::new()), text);
        }

        #[test]
        fn no_text_makes_the_expansion_panic(text in "[${}a*1é ]{0,20}") {
            let without = expand(&text, |_| String::new());
            prop_assert!(without.len() <= text.len());
        }
    }
}
