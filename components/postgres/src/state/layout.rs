//! The tables of the three layouts, and the statements on them. Source: specification, state stores 3 to 5.

use tokio_postgres::types::Type;

use crate::database::{SettingsError, Sql};

/// What the columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `jsonb` values whose tag is the transaction that wrote them.
    Version1,
    /// `jsonb` values whose tag counts.
    Cockroach1,
    /// `bytea` values whose tag is random.
    Version2,
}

/// What tags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagKind {
    /// `xmin`
    Transaction,
    /// A number that grows.
    Counter,
    /// A random UUID.
    Uuid,
}

/// The name of a table as statements write it, perhaps with its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName(String);

/// The statements on a state table. Keys are `$1`, values `$2`, seconds to live `$3`.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    /// Of one key: value, tag, expiry, and of `jsonb` values whether they are bytes.
    pub(crate) get: Sql,
    /// Of several keys; the key comes last.
    pub(crate) get_all: Sql,
    /// Writes whatever is there.
    pub(crate) set: Sql,
    /// Writes where nothing is.
    pub(crate) set_first: Sql,
    /// Writes where the tag is the same.
    pub(crate) set_tagged: Sql,
    /// Deletes.
    pub(crate) delete: Sql,
    /// Deletes where the tag is the same.
    pub(crate) delete_tagged: Sql,
    /// Keys like a pattern behind a row number, at most so many.
    pub(crate) keys_like: Sql,
}

/// Names of the columns.
struct Columns {
    tag: &'static str,
    updated: &'static str,
    expiry: &'static str,
}

// === impl Layout ===

impl Layout {
    /// What its tags are.
    pub(crate) const fn tags(self) -> TagKind {
        match self {
            Self::Version1 => TagKind::Transaction,
            Self::Cockroach1 => TagKind::Counter,
            Self::Version2 => TagKind::Uuid,
        }
    }

    /// Whether values are `jsonb`.
    pub(crate) const fn has_json(self) -> bool {
        matches!(self, Self::Version1 | Self::Cockroach1)
    }

    /// The column of the expiry.
    pub(crate) const fn expiry(self) -> &'static str {
        self.columns().expiry
    }

    /// The column of the tag.
    pub(crate) const fn tag(self) -> &'static str {
        self.columns().tag
    }

    const fn columns(self) -> Columns {
        match self {
            Self::Version1 => Columns {
                tag: "xmin",
                updated: "updatedate",
                expiry: "expiredate",
            },
            Self::Cockroach1 => Columns {
                tag: "etag",
                updated: "updatedate",
                expiry: "expiredate",
            },
            Self::Version2 => Columns {
                tag: "etag",
                updated: "updated_at",
                expiry: "expires_at",
            },
        }
    }
}

// === impl TableName ===

impl TableName {
    /// Reads a name: one or two parts of letters, digits, `_` and `$`, or of anything between double quotes.
    ///
    /// Names are written as they are, so without quotes letter case does not count.
    pub(crate) fn parse(setting: &'static str, text: &str) -> Result<Self, SettingsError> {
        let is_plain = |part: &str| {
            let mut letters = part.chars();
            let first = letters
                .next()
                .is_some_and(|first| first.is_alphabetic() || first == '_');
            first && letters.all(|letter| letter.is_alphanumeric() || "_$".contains(letter))
        };
        let is_quoted = |part: &str| {
            let inner = part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['"', '\0']))
        };
        let mut parts = text.splitn(2, '.');
        if parts.all(|part| is_plain(part) || is_quoted(part)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SettingsError::Table {
                setting,
                name: text.to_owned(),
            })
        }
    }

    /// The name as statements write it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without schema, with something behind it: that of an index.
    pub(crate) fn index(&self, suffix: &str) -> String {
        let own = self.0.split_once('.').map_or(self.0.as_str(), |(_, own)| own);
        match own.strip_suffix('"') {
            Some(quoted) => format!("{quoted}{suffix}\""),
            None => format!("{own}{suffix}"),
        }
    }
}

// === impl Statements ===

impl Statements {
    /// The statements on a table.
    pub(crate) fn new(layout: Layout, table: &TableName) -> Self {
        let table = table.as_str();
        let Columns { tag, updated, expiry } = layout.columns();
        let tag_type = match layout.tags() {
            TagKind::Transaction => Type::XID,
            TagKind::Counter => Type::INT8,
            TagKind::Uuid => Type::UUID,
        };
        let has_json = layout.has_json();
        let (binary, binary_set, binary_column, binary_value, tag_place) = match has_json {
            true => (", isbinary", ", isbinary = $4", ", isbinary", ", $4", "$5"),
            false => ("", "", "", "", "$4"),
        };
        let (tag_column, tag_value, tag_over, tag_next) = match layout {
            Layout::Version1 => ("", "", "", String::new()),
            // Over another value the tag is always 2.
            Layout::Cockroach1 => (
                ", etag",
                ", 1",
                ", etag = excluded.etag + 1",
                format!(", etag = {table}.etag + 1"),
            ),
            Layout::Version2 => (
                ", etag",
                ", gen_random_uuid()",
                ", etag = excluded.etag",
                ", etag = gen_random_uuid()".to_owned(),
            ),
        };
        let lives_until = "CURRENT_TIMESTAMP + $3 * interval '1 second'";
        let is_there = format!("({expiry} IS NULL OR {expiry} >= CURRENT_TIMESTAMP)");
        let insert = format!(
            "INSERT INTO {table} AS t (key, value, {expiry}{binary_column}{tag_column}) \
             VALUES ($1, $2, {lives_until}{binary_value}{tag_value}) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, {updated} = CURRENT_TIMESTAMP, \
             {expiry} = excluded.{expiry}{binary_set}{tag_over}"
        );
        let first = format!("{insert} WHERE t.{expiry} IS NOT NULL AND t.{expiry} < CURRENT_TIMESTAMP");
        // An update with a tag is for what is strictly alive in the older layouts.
        let is_alive = match has_json {
            true => format!("({expiry} IS NULL OR {expiry} > CURRENT_TIMESTAMP)"),
            false => is_there.clone(),
        };
        let update = format!(
            "UPDATE {table} SET value = $2, {updated} = CURRENT_TIMESTAMP, \
             {expiry} = {lives_until}{binary_set}{tag_next} \
             WHERE key = $1 AND {tag} = {tag_place} AND {is_alive}"
        );
        let mut write = vec![
            Type::TEXT,
            if has_json { Type::JSONB } else { Type::BYTEA },
            Type::INT8,
        ];
        write.extend(has_json.then_some(Type::BOOL));
        let mut write_tagged = write.clone();
        write_tagged.push(tag_type.clone());
        let mut slot = 0;
        let mut sql = |text: String, types: Vec<Type>| {
            slot += 1;
            Sql {
                slot: slot - 1,
                text,
                types,
            }
        };
        Self {
            get: sql(
                format!("SELECT value, {tag}, {expiry}{binary} FROM {table} WHERE key = $1 AND {is_there}"),
                vec![Type::TEXT],
            ),
            get_all: sql(
                format!(
                    "SELECT value, {tag}, {expiry}{binary}, key FROM {table} WHERE key = ANY($1) AND {is_there}"
                ),
                vec![Type::TEXT_ARRAY],
            ),
            set: sql(insert, write.clone()),
            set_first: sql(first, write),
            set_tagged: sql(update, write_tagged),
            delete: sql(format!("DELETE FROM {table} WHERE key = $1"), vec![Type::TEXT]),
            delete_tagged: sql(
                format!("DELETE FROM {table} WHERE key = $1 AND {tag} = $2"),
                vec![Type::TEXT, tag_type],
            ),
            keys_like: sql(
                format!(
                    "SELECT key, row_id FROM {table} WHERE key LIKE $1 AND row_id > $2 AND {is_there} \
                     ORDER BY row_id LIMIT $3"
                ),
                vec![Type::TEXT, Type::INT8, Type::INT8],
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::SLOTS;

    #[test]
    fn tables_have_plain_or_quoted_names() {
        for name in ["state", "my_schema.state", "\"My table\"", "s.\"x-y\"", "größe$1"] {
            assert_eq!(TableName::parse("tableName", name).unwrap().as_str(), name);
        }
        for name in ["", "a.b.c", "a b", "1a", "a;drop", "a.", "\"a\"b\"", "\"\""] {
            let error = TableName::parse("tableName", name).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("invalid value for 'tableName': {name} is not the name of a table")
            );
        }
        let name = |text| TableName::parse("tableName", text).unwrap();
        assert_eq!(name("s.state").index("_x"), "state_x");
        assert_eq!(name("\"S t\"").index("_x"), "\"S t_x\"");
    }

    #[test]
    fn each_statement_has_a_slot_and_a_type_for_each_parameter() {
        let table = TableName::parse("tableName", "state").unwrap();
        for layout in [Layout::Version1, Layout::Cockroach1, Layout::Version2] {
            let all = Statements::new(layout, &table);
            let all = [
                all.get,
                all.get_all,
                all.set,
                all.set_first,
                all.set_tagged,
                all.delete,
                all.delete_tagged,
                all.keys_like,
            ];
            for (number, sql) in all.iter().enumerate() {
                assert_eq!(sql.slot, number);
                assert!(sql.slot < SLOTS);
                let count = sql.types.len();
                assert!(sql.text.contains(&format!("${count}")), "{}", sql.text);
                assert!(!sql.text.contains(&format!("${}", count + 1)), "{}", sql.text);
            }
        }
    }
}
