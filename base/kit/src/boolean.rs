//! The words that mean yes.

/// Whether `text` means yes: `y`, `yes`, `true`, `t`, `on` or `1`, in any case, spaces around it ignored.
///
/// Everything else means no; there is no error.
#[must_use]
pub fn is_truthy(text: &str) -> bool {
    let text = text.trim();
    ["y", "yes", "true", "t", "on", "1"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// Reads a boolean as Go's `strconv.ParseBool` does: `1 t T TRUE true True` and `0 f F FALSE false False`.
#[must_use]
pub fn parse_strict(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_for_yes_are_truthy() {
        for text in ["y", "Yes", "TRUE", "t", "On", "1", " true "] {
            assert!(is_truthy(text), "{text}");
        }
        for text in ["", "n", "no", "false", "2", "yess", "tr ue"] {
            assert!(!is_truthy(text), "{text}");
        }
    }

    #[test]
    fn strict_booleans_know_twelve_words() {
        assert_eq!(parse_strict("True"), Some(true));
        assert_eq!(parse_strict("f"), Some(false));
        assert_eq!(parse_strict("yes"), None);
        assert_eq!(parse_strict("tRUE"), None);
    }
}
