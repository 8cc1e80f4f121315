//! The three forms of a line.

use std::fmt::Write;
use std::time::SystemTime;

use outrigger_kit::quote::write_go_quote;
use time::OffsetDateTime;

use super::Level;
use super::fields::{Fields, Kind};

/// Width that messages are padded to on a terminal.
const TERMINAL_MESSAGE: usize = 44;

/// Appends `key=value` pairs: time, level and message first, the other fields by name.
pub(super) fn write_text(line: &mut String, time: SystemTime, level: Level, fields: &mut Fields) {
    line.push_str("time=\"");
    write_time(line, time);
    line.push_str("\" level=");
    line.push_str(level.as_str());
    if !fields.message().is_empty() {
        line.push_str(" msg=");
        write_value(line, fields.message());
    }
    for (name, value, _) in fields.sorted() {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        write_value(line, value);
    }
    line.push('\n');
}

/// Appends one JSON object with its members sorted by name.
pub(super) fn write_json(line: &mut String, time: SystemTime, level: Level, fields: &mut Fields) {
    let mut stamp = String::with_capacity(36);
    write_time(&mut stamp, time);
    let message = fields.message().to_owned();
    let mut own = [
        ("level", level.as_str(), Kind::Text),
        ("msg", message.as_str(), Kind::Text),
        ("time", stamp.as_str(), Kind::Text),
    ]
    .into_iter()
    .peekable();
    let mut others = fields.sorted().peekable();
    let mut separator = '{';
    loop {
        let own_is_next = match (own.peek(), others.peek()) {
            (Some(one), Some(other)) => one.0 < other.0,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let next = if own_is_next { own.next() } else { others.next() };
        let Some((name, value, kind)) = next else { break };
        line.push(separator);
        separator = ',';
        write_json_string(line, name);
        line.push(':');
        match kind {
            Kind::Text => write_json_string(line, value),
            Kind::Bare => line.push_str(value),
        }
    }
    line.push_str("}\n");
}

/// Appends the short coloured form: level, seconds since the start, message, fields.
pub(super) fn write_terminal(line: &mut String, seconds: u64, level: Level, fields: &mut Fields) {
    let (word, colour) = match level {
        Level::Debug => ("DEBU", 37),
        Level::Info => ("INFO", 36),
        Level::Warning => ("WARN", 33),
        Level::Error => ("ERRO", 31),
        Level::Fatal => ("FATA", 31),
    };
    let message = fields.message();
    write!(
        line,
        "\x1b[{colour}m{word}\x1b[0m[{seconds:04}] {message:<TERMINAL_MESSAGE$} "
    )
    .expect("writing to a string cannot fail");
    for (name, value, _) in fields.sorted() {
        write!(line, " \x1b[{colour}m{name}\x1b[0m=").expect("writing to a string cannot fail");
        write_value(line, value);
    }
    line.push('\n');
}

/// Appends a moment as RFC 3339 in UTC with nanoseconds, trailing zeros cut off.
fn write_time(line: &mut String, time: SystemTime) {
    let moment = OffsetDateTime::from(time);
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second, nanos) = moment.to_hms_nano();
    let month = u8::from(month);
    write!(
        line,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )
    .expect("writing to a string cannot fail");
    if nanos != 0 {
        write!(line, ".{nanos:09}").expect("writing to a string cannot fail");
        line.truncate(line.trim_end_matches('0').len());
    }
    line.push('Z');
}

/// Appends a value, quoted like a string literal if it holds anything unusual.
fn write_value(line: &mut String, value: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if value.bytes().all(plain) {
        line.push_str(value);
    } else {
        write_go_quote(line, value);
    }
}

/// Appends a JSON string in which `<`, `>` and `&` are escaped as well.
fn write_json_string(line: &mut String, value: &str) {
    line.push('"');
    for character in value.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\x08' => line.push_str("\\b"),
            '\x0c' => line.push_str("\\f"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(line, "\\u{:04x}", u32::from(character)).expect("writing to a string cannot fail");
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn values_are_quoted_when_they_hold_anything_unusual() {
        let table = [
            ("", ""),
            ("dapr.runtime.http-info", "dapr.runtime.http-info"),
            ("a/b@c^d+e_f", "a/b@c^d+e_f"),
            ("a b", "\"a b\""),
            ("a=b", "\"a=b\""),
            ("nr (mdns/v1)", "\"nr (mdns/v1)\""),
            ("{\"enabled\":true}", "\"{\\\"enabled\\\":true}\""),
            ("Loading…", "\"Loading…\""),
            ("two\nlines", "\"two\\nlines\""),
        ];
        for (value, expected) in table {
            let mut line = String::new();
            write_value(&mut line, value);
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn times_lose_their_trailing_zeros() {
        let table = [
            (373_103_310, "2026-11-23T07:12:13.37310331Z"),
            (0, "2026-11-23T07:12:13Z"),
            (1, "2026-11-23T07:12:13.000000001Z"),
        ];
        for (nanos, expected) in table {
            let mut line = String::new();
            write_time(&mut line, UNIX_EPOCH + Duration::new(1_795_417_933, nanos));
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn json_strings_hide_markup_and_control_characters() {
        let mut line = String::new();
        write_json_string(&mut line, "<&>\"\\\n\x01\u{2028}é");
        assert_eq!(line, r#""\u003c\u0026\u003e\"\\\n\u0001\u2028é""#);
    }
}
