//! Go string literals: `%q` and its reverse.

use std::fmt::Write;

/// Writes `text` as Go's `%q` does: in double quotes, with `\n`, `\x00`, `\u00ad` where it cannot be printed.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    write_go_quote(&mut quoted, text);
    quoted
}

/// Appends `text` to `out` as [`go_quote`] writes it.
pub fn write_go_quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        write_escaped(out, character);
    }
    out.push('"');
}

/// Reads a Go string literal: `"..."` with escapes, a text in back-quotes, or one character in single quotes.
///
/// `None` when `text` is no such literal as a whole, or when its bytes are not UTF-8.
#[must_use]
pub fn go_unquote(text: &str) -> Option<String> {
    let quote = text.chars().next()?;
    let body = text.strip_prefix(quote)?.strip_suffix(quote)?;
    match quote {
        '`' if !body.contains('`') => Some(body.replace('\r', "")),
        '"' | '\'' if !body.contains('\n') => {
            let mut bytes = Vec::with_capacity(body.len());
            let mut rest = body;
            let mut count = 0;
            while !rest.is_empty() {
                rest = unquote_one(rest, quote, &mut bytes)?;
                count += 1;
            }
            if quote == '\'' && count != 1 {
                return None;
            }
            String::from_utf8(bytes).ok()
        }
        _ => None,
    }
}

/// Whether Go would print the character as it is: letters, marks, numbers, punctuation, symbols and the space.
pub(crate) fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    // The standard library knows the printable characters but shows them only through its own
    // escapes; behind another character it escapes nothing but the unprintable.
    let mut buffer = ['x'; 2];
    buffer[1] = character;
    let pair: String = buffer.iter().collect();
    pair.escape_debug().nth(1) != Some('\\')
}

fn write_escaped(out: &mut String, character: char) {
    let written = match character {
        '"' => out.write_str("\\\""),
        '\\' => out.write_str("\\\\"),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        printable if is_printable(printable) => out.write_char(printable),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(character)),
        '\u{80}'..='\u{ffff}' => write!(out, "\\u{:04x}", u32::from(character)),
        _ => write!(out, "\\U{:08x}", u32::from(character)),
    };
    written.expect("writing to a string cannot fail");
}

/// Decodes the first character of a literal's body into `bytes` and returns what follows.
fn unquote_one<'a>(body: &'a str, quote: char, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut characters = body.chars();
    let first = characters.next()?;
    if first == quote {
        return None;
    }
    let mut push = |character: char| {
        let mut buffer = [0; 4];
        bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    };
    if first != '\\' {
        push(first);
        return Some(characters.as_str());
    }
    let escape = characters.next()?;
    let rest = characters.as_str();
    match escape {
        'a' => push('\x07'),
        'b' => push('\x08'),
        'f' => push('\x0c'),
        'n' => push('\n'),
        'r' => push('\r'),
        't' => push('\t'),
        'v' => push('\x0b'),
        '\\' => push('\\'),
        '\'' | '"' if escape == quote => push(escape),
        'x' => {
            let (value, rest) = take_number(rest, 2, 16)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        'u' | 'U' => {
            let (value, rest) = take_number(rest, if escape == 'u' { 4 } else { 8 }, 16)?;
            push(char::from_u32(value)?);
            return Some(rest);
        }
        '0'..='7' => {
            let (value, rest) = take_number(characters_from(body, 1)?, 3, 8)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        _ => return None,
    }
    Some(rest)
}

fn take_number(text: &str, width: usize, radix: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(width)?;
    let plain = digits.chars().all(|digit| digit.is_digit(radix));
    plain.then(|| u32::from_str_radix(digits, radix).ok().map(|value| (value, rest)))?
}

fn characters_from(text: &str, at: usize) -> Option<&str> {
    text.get(at..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        let table = [
            ("", r#""""#),
            ("abc", r#""abc""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("'", r#""'""#),
            ("☺ é", r#""☺ é""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{301}", "\"\u{301}\""),
            ("\u{a0}\u{ad}\u{2028}", r#""\u00a0\u00ad\u2028""#),
            ("\u{feff}", r#""\ufeff""#),
            ("\u{10ffff}", r#""\U0010ffff""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("😀", r#""😀""#),
        ];
        for (text, expected) in table {
            assert_eq!(go_quote(text), expected);
        }
    }

    #[test]
    fn literals_are_read_as_go_does() {
        let table = [
            (r#""""#, Some("")),
            (r#""a\u003cb""#, Some("a<b")),
            (r#""\x61\142\U00000063\n""#, Some("abc\n")),
            ("`a\\nb`", Some("a\\nb")),
            ("`a\r\nb`", Some("a\nb")),
            ("'x'", Some("x")),
            ("'☺'", Some("☺")),
            (r"'\''", Some("'")),
            (r#"'\"'"#, None),
            (r#""\'""#, None),
            ("'xy'", None),
            ("''", None),
            ("abc", None),
            ("5", None),
            ("", None),
            ("\"", None),
            ("\"a", None),
            ("\"a\"b\"", None),
            ("\"a\nb\"", None),
            (r#""\/""#, None),
            (r#""\ud83d\ude00""#, None),
            (r#""\777""#, None),
            (r#""\xff""#, None),
            (r#""\xzz""#, None),
            (r#""\x+1""#, None),
            ("`a`b`", None),
        ];
        for (text, expected) in table {
            assert_eq!(go_unquote(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_can_be_read(text in "\\PC*|.*") {
            prop_assert_eq!(go_unquote(&go_quote(&text)), Some(text));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\"'`][\\\\xuU0-9a-f\"'é]{0,12}[\"'`]") {
            let first = go_unquote(&text);
            prop_assert_eq!(first, go_unquote(&text));
        }
    }
}
