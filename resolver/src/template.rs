//! The small part of Go's text templates that address templates use.

use std::fmt::Write as _;

use crate::endpoint::Request;

/// An address pattern with fields such as `{{.ID}}`.
///
/// Fields: `ID`, `Namespace`, `Port` and `Data.<key>`. A request carries no data, so the latter is
/// always `<no value>`. `{{-` and `-}}` trim the text beside them, `{{/* */}}` is a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Id,
    Namespace,
    Port,
    Data,
}

// === impl Template ===

impl Template {
    /// Parses a pattern.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        let mut trim_next = false;
        while let Some((text, action)) = rest.split_once("{{") {
            let (action, after) = action.split_once("}}").ok_or("unclosed action")?;
            let (action, trim_before) = match action.strip_prefix("- ") {
                Some(action) => (action, true),
                None => (action, false),
            };
            let (action, trim_after) = match action.strip_suffix(" -") {
                Some(action) => (action, true),
                None => (action, false),
            };
            push_text(&mut parts, text, trim_next, trim_before);
            parts.extend(parse_action(action.trim())?);
            trim_next = trim_after;
            rest = after;
        }
        push_text(&mut parts, rest, trim_next, false);
        Ok(Self(parts))
    }

    /// Fills in the fields.
    pub(crate) fn render(&self, request: &Request<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(piece) => text.push_str(piece),
                Part::Id => text.push_str(request.app_id),
                Part::Namespace => text.push_str(request.namespace),
                Part::Port => write!(text, "{}", request.port).expect("a string takes all text"),
                Part::Data => text.push_str("<no value>"),
            }
        }
        text
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

fn parse_action(action: &str) -> Result<Option<Part>, String> {
    if action.starts_with("/*") && action.ends_with("*/") && action.len() >= 4 {
        return Ok(None);
    }
    match action {
        ".ID" => Ok(Some(Part::Id)),
        ".Namespace" => Ok(Some(Part::Namespace)),
        ".Port" => Ok(Some(Part::Port)),
        _ => match action.strip_prefix(".Data.") {
            Some(key) if is_identifier(key) => Ok(Some(Part::Data)),
            _ => Err(format!("unsupported action \"{action}\"")),
        },
    }
}

fn is_identifier(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'static> = Request {
        app_id: "callee",
        namespace: "shop",
        port: 50002,
    };

    #[test]
    fn fields_are_filled_in() {
        for (pattern, text) in [
            (
                "{{.ID}}-dapr.{{ .Namespace }}.svc:{{.Port}}",
                "callee-dapr.shop.svc:50002",
            ),
            ("{{.ID}}-{{.Data.region}}.internal", "callee-<no value>.internal"),
            ("a {{- .ID -}} b", "acalleeb"),
            ("a{{/* why */}}b", "ab"),
            ("plain:1", "plain:1"),
        ] {
            assert_eq!(
                Template::parse(pattern).unwrap().render(&REQUEST),
                text,
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_is_not_a_field_is_refused() {
        for pattern in [
            "{{.ID",
            "{{.Foo}}",
            "{{if .ID}}x{{end}}",
            "{{}}",
            "{{.Data.}}",
            "{{.Data.1}}",
        ] {
            assert!(Template::parse(pattern).is_err(), "{pattern}");
        }
    }
}
