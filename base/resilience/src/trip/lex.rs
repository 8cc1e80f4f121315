//! From text to tokens.

use super::{Fault, Position};

/// A token and where it begins.
pub(super) type Placed = (Position, Token);

/// The smallest parts of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A whole number without its sign.
    Int(u64),
    /// A whole number marked as unsigned.
    Uint(u64),
    /// A number with a fraction or an exponent.
    Double(f64),
    /// A text, its escapes resolved.
    Text(String),
    /// A name, or a word of the language.
    Name(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Longer signs stand before those that they begin with.
const SIGNS: [&str; 26] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")", "[", "]",
    "{", "}", ",", ".", "=", "&",
];

/// The tokens of a text, the last of them [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Fault> {
    let mut tokens = Vec::new();
    let mut lexer = Lexer { text, at: 0 };
    loop {
        lexer.skip_blanks();
        let at = lexer.at;
        let token = lexer.token()?;
        let is_last = token == Token::End;
        tokens.push((at, token));
        if is_last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: Position,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes characters as long as they fit.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !fits(character)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|character| matches!(character, ' ' | '\t' | '\r' | '\n' | '\u{c}'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|character| character != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let mut ahead = self.rest().chars();
        match (ahead.next(), ahead.next()) {
            (None, _) => Ok(Token::End),
            (Some(digit), _) if digit.is_ascii_digit() => self.number(),
            (Some('.'), Some(digit)) if digit.is_ascii_digit() => self.number(),
            (Some('"' | '\''), _) => self.string(),
            (Some(letter), _) if letter.is_ascii_alphabetic() || letter == '_' => {
                let name = self.take_while(|character| character.is_ascii_alphanumeric() || character == '_');
                Ok(Token::Name(name.to_owned()))
            }
            (Some(other), _) => match SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
                Some(sign) => {
                    self.at += sign.len();
                    Ok(Token::Sign(sign))
                }
                None => Err((
                    self.at,
                    format!("Syntax error: token recognition error at: '{other}'"),
                )),
            },
        }
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let whole = self.rest();
        let (digits, radix) = match whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
            Some(_) => {
                self.at += 2;
                (self.take_while(|character| character.is_ascii_hexdigit()), 16)
            }
            None => (self.take_while(|character| character.is_ascii_digit()), 10),
        };
        let has_fraction = radix == 10 && self.fraction();
        let text = self.text.get(start..self.at).unwrap_or_default();
        let out_of_range = |kind: &str| (start, format!("invalid {kind} literal"));
        if has_fraction {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            return number.map(Token::Double).ok_or_else(|| out_of_range("double"));
        }
        let number = u64::from_str_radix(digits, radix);
        if matches!(self.peek(), Some('u' | 'U')) {
            self.at += 1;
            return number.map(Token::Uint).map_err(|_| out_of_range("uint"));
        }
        number.map(Token::Int).map_err(|_| out_of_range("int"))
    }

    /// Takes what makes a number a double, if it is there.
    fn fraction(&mut self) -> bool {
        let start = self.at;
        let mut after = self.rest().chars();
        if after.next() == Some('.') && after.next().is_some_and(|next| next.is_ascii_digit()) {
            self.at += 1;
            self.take_while(|character| character.is_ascii_digit());
        }
        let rest = self.rest();
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.starts_with(|first: char| first.is_ascii_digit()) {
                self.at += rest.len() - digits.len();
                self.take_while(|character| character.is_ascii_digit());
            }
        }
        self.at > start
    }

    fn string(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let mut characters = self.rest().char_indices();
        let quote = characters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((index, character)) = characters.next() {
            match character {
                '\n' => break,
                end if Some(end) == quote => {
                    self.at += index + 1;
                    return Ok(Token::Text(text));
                }
                '\\' => {
                    let escape = characters.next().map(|(_, escape)| escape);
                    text.push(match escape {
                        Some(same @ ('\\' | '"' | '\'' | '`' | '?')) => same,
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        _ => return Err((start + index, "unsupported escape in a text".to_owned())),
                    });
                }
                other => text.push(other),
            }
        }
        Err((start, "Syntax error: a text without an end".to_owned()))
    }
}
