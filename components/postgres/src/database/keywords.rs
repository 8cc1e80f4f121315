//! Connection strings as keywords with values, in both forms that there are.

use percent_encoding::percent_decode_str;

/// Keywords of a connection and their values, such as `host`, `user` and `sslmode`.
///
/// The name of the database is `dbname` here, also where a string says `database`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keywords {
    pairs: Vec<(String, String)>,
    is_url: bool,
}

/// What is wrong with a connection string. The string itself is never shown, for it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse the connection string: {0}")]
pub(crate) struct KeywordError(&'static str);

/// Rest of a string that is read from its begin.
struct Reader<'a>(std::iter::Peekable<std::str::Chars<'a>>);

// === impl Keywords ===

impl Keywords {
    /// Reads `key=value` pairs or a `postgres://` URL.
    pub(crate) fn parse(text: &str) -> Result<Self, KeywordError> {
        let url = ["postgres://", "postgresql://"];
        match url.iter().find_map(|scheme| text.strip_prefix(scheme)) {
            Some(rest) => Self::parse_url(rest),
            None => Self::parse_pairs(text),
        }
    }

    /// Whether the string was a URL.
    pub(crate) const fn is_url(&self) -> bool {
        self.is_url
    }

    /// Whether nothing at all is known.
    pub(crate) const fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The value of a keyword.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a keyword, in place of what it was.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        let name = if name == "database" { "dbname" } else { name };
        let value = value.into();
        match self.pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.pairs.push((name.to_owned(), value)),
        }
    }

    /// Takes a keyword away.
    pub(crate) fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.remove(place).1)
    }

    /// All keywords that are left.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }

    fn parse_pairs(text: &str) -> Result<Self, KeywordError> {
        let mut own = Self::default();
        let mut reader = Reader(text.chars().peekable());
        loop {
            reader.skip_spaces();
            let name = reader.name();
            if name.is_empty() {
                return match reader.0.next() {
                    None => Ok(own),
                    Some(_) => Err(KeywordError("a keyword is missing")),
                };
            }
            reader.skip_spaces();
            if reader.0.next() != Some('=') {
                return Err(KeywordError("a keyword is without value"));
            }
            reader.skip_spaces();
            let value = reader.value()?;
            own.set(&name, value);
        }
    }

    fn parse_url(text: &str) -> Result<Self, KeywordError> {
        let mut own = Self {
            is_url: true,
            ..Self::default()
        };
        let (text, _) = text.split_once('#').unwrap_or((text, ""));
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let (authority, database) = address.split_once('/').unwrap_or((address, ""));
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        own.set_hosts(hosts)?;
        for (name, value) in [("user", user), ("password", password), ("dbname", database)] {
            if !value.is_empty() {
                own.set(name, decoded(value)?);
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or(KeywordError("a parameter is without value"))?;
            own.set(&decoded(name)?, decoded(value)?);
        }
        Ok(own)
    }

    /// Reads `host:port,[::1]:port`, where each part may be absent.
    fn set_hosts(&mut self, text: &str) -> Result<(), KeywordError> {
        if text.is_empty() {
            return Ok(());
        }
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            let (host, port) = match part.strip_prefix('[') {
                Some(rest) => {
                    let (host, rest) = rest
                        .split_once(']')
                        .ok_or(KeywordError("an address is without its end"))?;
                    (host, rest.strip_prefix(':').unwrap_or(rest))
                }
                None => part.split_once(':').unwrap_or((part, "")),
            };
            hosts.push(decoded(host)?);
            ports.push(port);
        }
        if hosts.iter().any(|host| !host.is_empty()) {
            self.set("host", hosts.join(","));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            self.set("port", ports.join(","));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Keywords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.pairs.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn skip_spaces(&mut self) {
        while self.0.next_if(|next| next.is_whitespace()).is_some() {}
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(next) = self.0.next_if(|&next| next != '=' && !next.is_whitespace()) {
            name.push(next);
        }
        name
    }

    /// A value with or without quotes, in which a backslash takes the next character as it is.
    fn value(&mut self) -> Result<String, KeywordError> {
        let is_quoted = self.0.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match self.0.next() {
                Some('\\') => value.extend(self.0.next()),
                Some('\'') if is_quoted => return Ok(value),
                Some(next) if next.is_whitespace() && !is_quoted => return Ok(value),
                Some(next) => value.push(next),
                None if is_quoted => return Err(KeywordError("a quoted value is without its end")),
                None => return Ok(value),
            }
        }
    }
}

fn decoded(text: &str) -> Result<String, KeywordError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| KeywordError("a part is no text once it is decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, String)>, KeywordError> {
        Keywords::parse(text).map(Keywords::into_pairs)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn both_forms_say_the_same() {
        let text =
            r"host=db.example port = 5433 user='a user' password='it\'s' database=orders sslmode=require x=";
        let expected = [
            ("host", "db.example"),
            ("port", "5433"),
            ("user", "a user"),
            ("password", "it's"),
            ("dbname", "orders"),
            ("sslmode", "require"),
            ("x", ""),
        ];
        assert_eq!(parsed(text), Ok(pairs(&expected)));
        let url = "postgresql://a%20user:it's@db.example:5433/orders?sslmode=require&x=";
        let mut found = parsed(url).unwrap();
        let mut expected = pairs(&expected);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_url_may_name_several_hosts_or_a_folder() {
        assert_eq!(
            parsed("postgres://u@a:1,[::1],c:3/db"),
            Ok(pairs(&[
                ("host", "a,::1,c"),
                ("port", "1,,3"),
                ("user", "u"),
                ("dbname", "db")
            ]))
        );
        assert_eq!(
            parsed("postgres:///db?host=/run/postgresql"),
            Ok(pairs(&[("dbname", "db"), ("host", "/run/postgresql")]))
        );
        assert_eq!(parsed("postgres://%2Frun"), Ok(pairs(&[("host", "/run")])));
        assert_eq!(parsed(""), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_being_shown() {
        for text in [
            "host",
            "=secret",
            "password='secret",
            "postgres://u:%ff@h",
            "postgres://[::1",
            "postgres://h/d?secret",
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(
                error.starts_with("cannot parse the connection string: "),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
        let keywords = Keywords::parse("password=secret").unwrap();
        assert_eq!(format!("{keywords:?}"), r#"["password"]"#);
    }
}
