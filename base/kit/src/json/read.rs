//! Reading a JSON text in place, by the grammar and in the words of Go's scanner.
//!
//! Nothing is built that the caller does not ask for: a value that is only to be passed on is a slice of the text,
//! with the news whether it is already in the form that [`canonical`](super::canonical) would give it.

use std::borrow::Cow;

use crate::quote::go_quote;

/// What is wrong with a JSON text, in the words of Go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing but space.
    #[error("EOF")]
    Empty,
    /// It ends in the middle of a value.
    #[error("unexpected EOF")]
    Cut,
    /// It was to be one value as a whole, and ends before that value does.
    #[error("unexpected end of JSON input")]
    End,
    /// A byte does not fit.
    #[error("invalid character {} {place}", shown(*.byte))]
    Character {
        /// The byte.
        byte: u8,
        /// Where, or instead of what.
        place: Cow<'static, str>,
    },
    /// Values stand in values more than [`MAX_DEPTH`] times.
    #[error("exceeded max depth")]
    Depth,
    /// A value is of another kind than is wanted.
    #[error("json: cannot unmarshal {found} into {place}")]
    Mismatch {
        /// What stands there: `number`, `string`, `object`, …
        found: Cow<'static, str>,
        /// What it was to become: `Go value of type …`, `Go struct field …`.
        place: Cow<'static, str>,
    },
}

/// How deep values may stand in values: what other readers of the product take, too. Go allows 10,000, and no sound
/// document comes near either.
pub const MAX_DEPTH: usize = 127;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A text.
    String,
    /// A list.
    Array,
    /// Members by name.
    Object,
}

/// A value as it stands in a text, known to be sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// Whether that is the canonical form.
    pub is_canonical: bool,
}

/// Reads a text from its beginning, value by value.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    levels: Vec<Level<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Level<'a> {
    Array,
    /// With the name of the last member, if its canonical form is what stands in the text.
    Object(Option<&'a [u8]>),
}

/// A string or number between its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a [u8],
    pub(super) is_canonical: bool,
}

/// Reads the first value of a text, as Go's stream decoder does: what follows it is ignored.
///
/// A text that is no JSON is told before a value of the wrong kind, wherever that stands.
///
/// # Errors
/// What is wrong with the text, or what `read` says.
pub fn first<'a, T>(
    text: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let mut reader = Reader::new(text);
    reader.skip_space();
    if reader.at == text.len() {
        return Err(ReadError::Empty);
    }
    let outcome = read(&mut reader);
    if matches!(outcome, Err(ReadError::Mismatch { .. })) {
        Reader::new(text).skip()?;
    }
    outcome
}

/// A text that is one value as a whole.
///
/// # Errors
/// What is wrong with the text; anything behind the value is.
pub fn whole(text: &[u8]) -> Result<Raw<'_>, ReadError> {
    let mut reader = Reader::new(text);
    let raw = reader.skip().map_err(|error| match error {
        ReadError::Empty | ReadError::Cut => ReadError::End,
        other => other,
    })?;
    reader.skip_space();
    match reader.text.get(reader.at) {
        Some(&byte) => Err(misplaced(byte, "after top-level value")),
        None => Ok(raw),
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Begins at the beginning.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            levels: Vec::new(),
        }
    }

    /// What the next value is.
    ///
    /// # Errors
    /// No value begins here.
    pub fn kind(&mut self) -> Result<Kind, ReadError> {
        self.skip_space();
        match self.peek()? {
            b'n' => Ok(Kind::Null),
            b't' | b'f' => Ok(Kind::Bool),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b'"' => Ok(Kind::String),
            b'[' => Ok(Kind::Array),
            b'{' => Ok(Kind::Object),
            byte => Err(misplaced(byte, "looking for beginning of value")),
        }
    }

    /// Reads a value without looking into it.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn skip(&mut self) -> Result<Raw<'a>, ReadError> {
        self.skip_space();
        let start = self.at;
        let base = self.levels.len();
        let mut is_canonical = true;
        loop {
            match self.peek()? {
                b'"' => is_canonical &= self.string()?.is_canonical,
                b'-' | b'0'..=b'9' => is_canonical &= self.number()?.is_canonical,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                b'[' => {
                    self.enter(Level::Array)?;
                    is_canonical &= !self.skip_space();
                    if self.peek()? != b']' {
                        continue;
                    }
                    self.leave();
                }
                b'{' => {
                    self.enter(Level::Object(Some(&[])))?;
                    is_canonical &= !self.skip_space();
                    if self.peek()? != b'}' {
                        is_canonical &= self.name_in_order(true)?;
                        continue;
                    }
                    self.leave();
                }
                byte => return Err(misplaced(byte, "looking for beginning of value")),
            }
            loop {
                if self.levels.len() == base {
                    let text = &self.text[start..self.at];
                    return Ok(Raw { text, is_canonical });
                }
                is_canonical &= !self.skip_space();
                let is_object = matches!(self.levels.last(), Some(Level::Object(_)));
                match (self.peek()?, is_object) {
                    (b',', _) => {
                        self.at += 1;
                        is_canonical &= !self.skip_space();
                        if is_object {
                            is_canonical &= self.name_in_order(false)?;
                        }
                        break;
                    }
                    (b']', false) | (b'}', true) => self.leave(),
                    (byte, true) => return Err(misplaced(byte, "after object key:value pair")),
                    (byte, false) => return Err(misplaced(byte, "after array element")),
                }
            }
        }
    }

    /// Reads an object; `member` reads the value of each name.
    ///
    /// # Errors
    /// It is no JSON, or what `member` says. Nothing else may stand here: see [`kind`](Self::kind).
    pub fn members<E: From<ReadError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(Level::Object(None))?;
        self.skip_space();
        if self.peek()? == b'}' {
            self.leave();
            return Ok(());
        }
        loop {
            let name = self.name()?;
            member(self, unquote(name))?;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.leave();
                    return Ok(());
                }
                byte => return Err(misplaced(byte, "after object key:value pair").into()),
            }
            self.skip_space();
        }
    }

    /// Reads an array; `item` reads each value.
    ///
    /// # Errors
    /// It is no JSON, or what `item` says. Nothing else may stand here: see [`kind`](Self::kind).
    pub fn items<E: From<ReadError>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(Level::Array)?;
        self.skip_space();
        if self.peek()? == b']' {
            self.leave();
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.leave();
                    return Ok(());
                }
                byte => return Err(misplaced(byte, "after array element").into()),
            }
            self.skip_space();
        }
    }

    /// Reads a text, or `null` as none.
    ///
    /// # Errors
    /// It is something else, which was to become a `place`.
    pub fn text(&mut self, place: &'static str) -> Result<Option<Cow<'a, str>>, ReadError> {
        match self.kind()? {
            Kind::String => Ok(Some(unquote(self.string()?))),
            Kind::Null => self.skip().map(|_| None),
            other => Err(self.mismatch(other, place)),
        }
    }

    /// The error of a value of this kind where it was to become a `place`.
    pub fn mismatch(&mut self, found: Kind, place: &'static str) -> ReadError {
        let found = match (found, self.skip()) {
            (_, Err(error)) => return error,
            // Go names the number where a kind of number was wanted.
            (Kind::Number, Ok(raw)) if place.ends_with(" int") => {
                format!("number {}", String::from_utf8_lossy(raw.text)).into()
            }
            (found, Ok(_)) => found.as_str().into(),
        };
        ReadError::Mismatch {
            found,
            place: place.into(),
        }
    }

    /// A string, from quote to quote.
    pub(super) fn string(&mut self) -> Result<Token<'a>, ReadError> {
        self.at += 1;
        let start = self.at;
        let (mut is_canonical, mut is_ascii) = (true, true);
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    is_canonical = false;
                    self.escape()?;
                    continue;
                }
                b'<' | b'>' | b'&' => is_canonical = false,
                0x20..0x80 => {}
                byte @ ..0x20 => return Err(misplaced(byte, "in string literal")),
                0x80.. => is_ascii = false,
            }
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        self.at += 1;
        if is_canonical && !is_ascii {
            is_canonical =
                std::str::from_utf8(text).is_ok_and(|text| !text.contains(['\u{2028}', '\u{2029}']));
        }
        Ok(Token { text, is_canonical })
    }

    fn escape(&mut self) -> Result<(), ReadError> {
        self.at += 1;
        match self.peek()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    let byte = self.peek()?;
                    if !byte.is_ascii_hexdigit() {
                        return Err(misplaced(byte, "in \\u hexadecimal character escape"));
                    }
                    self.at += 1;
                }
            }
            byte => return Err(misplaced(byte, "in string escape code")),
        }
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<Token<'a>, ReadError> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            byte => return Err(misplaced(byte, "in numeric literal")),
        }
        let mut is_canonical = true;
        if self.text.get(self.at) == Some(&b'.') {
            is_canonical = false;
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            is_canonical = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = &self.text[start..self.at];
        // So many digits are exact in a float, and are written like this.
        is_canonical &= text.len() <= 15;
        Ok(Token { text, is_canonical })
    }

    fn some_digits(&mut self, place: &'static str) -> Result<(), ReadError> {
        match self.peek()? {
            b'0'..=b'9' => {
                self.digits();
                Ok(())
            }
            byte => Err(misplaced(byte, place)),
        }
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), ReadError> {
        for expected in word.bytes() {
            let byte = self.peek()?;
            if byte != expected {
                let place = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(ReadError::Character {
                    byte,
                    place: place.into(),
                });
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The name of a member, up to its value.
    fn name(&mut self) -> Result<Token<'a>, ReadError> {
        match self.peek()? {
            b'"' => {}
            byte => return Err(misplaced(byte, "looking for beginning of object key string")),
        }
        let mut name = self.string()?;
        name.is_canonical &= !self.skip_space();
        match self.peek()? {
            b':' => self.at += 1,
            byte => return Err(misplaced(byte, "after object key")),
        }
        name.is_canonical &= !self.skip_space();
        Ok(name)
    }

    /// The same, and whether the name is where the canonical form has it.
    fn name_in_order(&mut self, is_first: bool) -> Result<bool, ReadError> {
        let name = self.name()?;
        let Some(Level::Object(last)) = self.levels.last_mut() else {
            return Ok(false);
        };
        let is_next = is_first || last.is_some_and(|last| last < name.text);
        *last = name.is_canonical.then_some(name.text);
        Ok(is_next && name.is_canonical)
    }

    fn enter(&mut self, level: Level<'a>) -> Result<(), ReadError> {
        if self.levels.len() == MAX_DEPTH {
            return Err(ReadError::Depth);
        }
        self.levels.push(level);
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.levels.pop();
        self.at += 1;
    }

    /// Whether there was any.
    fn skip_space(&mut self) -> bool {
        let start = self.at;
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
        self.at > start
    }

    fn peek(&self) -> Result<u8, ReadError> {
        self.text.get(self.at).copied().ok_or(ReadError::Cut)
    }
}

// === impl Kind ===

impl Kind {
    /// The name of the kind in errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// The text of a sound string. Halves of pairs and bytes that are not UTF-8 become the replacement character.
pub(super) fn unquote(token: Token<'_>) -> Cow<'_, str> {
    if !token.text.contains(&b'\\') {
        return match std::str::from_utf8(token.text) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                let mut text = String::with_capacity(token.text.len() + 8);
                push_utf8(&mut text, token.text);
                Cow::Owned(text)
            }
        };
    }
    let mut text = String::with_capacity(token.text.len());
    let mut rest = token.text;
    while !rest.is_empty() {
        let plain = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
        let (before, behind) = rest.split_at(plain);
        push_utf8(&mut text, before);
        // Behind the backslash stands its code: the text is sound.
        let Some((&code, after)) = behind.get(1..).and_then(<[u8]>::split_first) else {
            break;
        };
        rest = after;
        match code {
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => rest = push_escaped(&mut text, rest),
            other => text.push(char::from(other)),
        }
    }
    Cow::Owned(text)
}

/// Appends bytes; each that is not UTF-8 becomes the replacement character.
fn push_utf8(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// Appends what stands behind `\u`, of which a pair may make one character, and returns the rest.
fn push_escaped<'a>(text: &mut String, rest: &'a [u8]) -> &'a [u8] {
    let unit = |rest: &'a [u8]| {
        let (digits, rest) = rest.split_at_checked(4)?;
        let digits = std::str::from_utf8(digits).ok()?;
        Some((u16::from_str_radix(digits, 16).ok()?, rest))
    };
    let Some((first, rest)) = unit(rest) else {
        return &[];
    };
    let second = rest.strip_prefix(b"\\u").and_then(unit);
    if let Some((second, rest)) = second
        && let Some(Ok(character)) = char::decode_utf16([first, second]).next()
        && character > '\u{ffff}'
    {
        text.push(character);
        return rest;
    }
    text.push(char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

/// A byte as Go shows it in errors.
fn shown(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = go_quote(char::from(byte).encode_utf8(&mut [0; 4]));
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

const fn misplaced(byte: u8, place: &'static str) -> ReadError {
    ReadError::Character {
        byte,
        place: Cow::Borrowed(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        first(text.as_bytes(), Reader::skip).unwrap_err().to_string()
    }

    #[test]
    fn errors_are_told_in_the_words_of_go() {
        let table = [
            ("", "EOF"),
            (" \n", "EOF"),
            ("{\"key\"", "unexpected EOF"),
            ("[1,2", "unexpected EOF"),
            ("\"abc", "unexpected EOF"),
            ("tru", "unexpected EOF"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "{a:1}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\"}",
                "invalid character '\"' after object key:value pair",
            ),
            (
                "{\"a\":'x'}",
                "invalid character '\\'' looking for beginning of value",
            ),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            (
                "\"\\u00g0\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            ("-a", "invalid character 'a' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            ("1e+x", "invalid character 'x' in exponent of numeric literal"),
            ("nulx", "invalid character 'x' in literal null (expecting 'l')"),
            ("\u{e9}", "invalid character 'Ã' looking for beginning of value"),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected, "{text}");
        }
        assert_eq!(error(&"[".repeat(200)), "exceeded max depth");
    }

    #[test]
    fn what_follows_the_first_value_is_ignored() {
        let raw = first(b" 01", Reader::skip).unwrap();
        assert_eq!(raw.text, b"0");
        assert!(whole(b"01").is_err());
    }

    #[test]
    fn members_and_items_are_read_in_order() {
        let mut seen = Vec::new();
        let read = first(br#" {"a" : [1, "x"], "\u0062": null, "c": {}} "#, |reader| {
            reader.members(|reader, name| {
                if name == "a" {
                    return reader.items(|reader| {
                        seen.push(String::from_utf8_lossy(reader.skip()?.text).into_owned());
                        Ok(())
                    });
                }
                let kind = reader.kind()?;
                seen.push(format!("{name} {}", kind.as_str()));
                reader.skip().map(drop)
            })
        });
        assert_eq!(read, Ok(()));
        assert_eq!(seen, ["1", "\"x\"", "b null", "c object"]);
    }

    #[test]
    fn a_wrong_kind_is_told_after_broken_json() {
        let read = |text: &str| {
            let outcome = first(text.as_bytes(), |reader| {
                let mut texts = Vec::new();
                reader.items(|reader| {
                    texts.push(reader.text("Go value of type string")?);
                    Ok::<_, ReadError>(())
                })?;
                Ok(texts.len())
            });
            outcome.map_err(|error| error.to_string())
        };
        assert_eq!(read(r#"["a", null]"#), Ok(2));
        assert_eq!(
            read(r#"["a", 1]"#),
            Err("json: cannot unmarshal number into Go value of type string".to_owned())
        );
        assert_eq!(read(r#"[1, "#), Err("unexpected EOF".to_owned()));
        assert_eq!(
            read("[1.5, x]"),
            Err("invalid character 'x' looking for beginning of value".to_owned())
        );
    }
}
