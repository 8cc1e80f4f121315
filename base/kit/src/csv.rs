//! List options: one record of comma-separated values, read as Go's CSV reader does.

/// Why a list cannot be read; the texts are those of Go's CSV reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quote inside a value that does not start with one.
    #[error("parse error on line 1, column {0}: bare \" in non-quoted field")]
    BareQuote(usize),
    /// Text behind a closing quote, or no closing quote.
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
}

/// Splits `text` at its commas. A value in double quotes may hold commas, and `""` for a quote.
///
/// An empty text is an empty list. Spaces are kept.
///
/// # Errors
/// Misplaced quotes, with their column (from 1, in bytes).
pub fn split(text: &str) -> Result<Vec<String>, CsvError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let column = text.len() - rest.len() + 1;
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted, column + 1)?,
            None => take_plain(rest, column)?,
        };
        values.push(value);
        match after {
            Some(after) => rest = after,
            None => return Ok(values),
        }
    }
}

/// A value and what follows its comma, if one follows.
type Taken<'a> = (String, Option<&'a str>);

fn take_plain(text: &str, column: usize) -> Result<Taken<'_>, CsvError> {
    let (value, after) = match text.split_once(',') {
        Some((value, after)) => (value, Some(after)),
        None => (text, None),
    };
    match value.find('"') {
        Some(at) => Err(CsvError::BareQuote(column + at)),
        None => Ok((value.to_owned(), after)),
    }
}

fn take_quoted(text: &str, column: usize) -> Result<Taken<'_>, CsvError> {
    let mut value = String::new();
    let mut rest = text;
    while let Some((part, after)) = rest.split_once('"') {
        value.push_str(part);
        if after.is_empty() {
            return Ok((value, None));
        }
        if let Some(after) = after.strip_prefix(',') {
            return Ok((value, Some(after)));
        }
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Err(CsvError::Quote(column + text.len() - after.len() - 1)),
        }
    }
    Err(CsvError::Quote(column + text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_split_at_commas_outside_quotes() {
        let table: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a, b ", &["a", " b "]),
            ("a,,", &["a", "", ""]),
            ("\"a,b\",c", &["a,b", "c"]),
            ("\"a\"\"b\"", &["a\"b"]),
            ("\"\"", &[""]),
        ];
        for (text, expected) in table {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn misplaced_quotes_are_refused_with_their_column() {
        assert_eq!(split("a\"b"), Err(CsvError::BareQuote(2)));
        assert_eq!(split("x,a\"b"), Err(CsvError::BareQuote(4)));
        assert_eq!(split("\"a\"b"), Err(CsvError::Quote(3)));
        assert_eq!(split("\"a"), Err(CsvError::Quote(3)));
    }

    proptest! {
        #[test]
        fn quoted_values_come_back(values in proptest::collection::vec("[a-c\", ]{0,6}", 1..5)) {
            let quoted: Vec<_> = values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
            prop_assert_eq!(split(&quoted.join(",")).unwrap(), values);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[a\",é]{0,16}") {
            let first = split(&text);
            prop_assert_eq!(first, split(&text));
        }
    }
}
