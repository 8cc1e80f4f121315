//! Queries on the documents of a store.

use serde_json::{Map, Value};

/// A query: what documents must have, their order, and which part of them.
///
/// Source: specification, state API 6.6.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// What documents must have; none is all documents.
    pub filter: Option<Filter>,
    /// The filter as the caller wrote it, for stores in other processes.
    pub filter_members: Map<String, Value>,
    /// By what they are sorted, the most important first.
    pub sort: Vec<Sort>,
    /// Which part of them.
    pub page: Page,
}

/// What a document must have. Paths are names within the stored value, with dots between.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// The value at a path is this.
    Eq(String, Value),
    /// It is another.
    Neq(String, Value),
    /// It is greater.
    Gt(String, Value),
    /// It is greater or the same.
    Gte(String, Value),
    /// It is less.
    Lt(String, Value),
    /// It is less or the same.
    Lte(String, Value),
    /// It is one of these.
    In(String, Vec<Value>),
    /// All of these hold, two at least.
    And(Vec<Self>),
    /// One of these holds, two at least.
    Or(Vec<Self>),
}

/// One sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Path of the value that counts.
    pub key: String,
    /// Which end comes first; none is the store's own way.
    pub order: Option<Direction>,
}

/// Which end of an order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The least.
    Ascending,
    /// The greatest.
    Descending,
}

/// A part of the documents found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The most documents; 0 is no limit.
    pub limit: u32,
    /// Where the part before ended.
    pub token: Option<String>,
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryAnswer {
    /// The documents in their order.
    pub items: Vec<QueryItem>,
    /// Where the next part begins.
    pub token: Option<String>,
    /// What the store says of the answer.
    pub metadata: super::Metadata,
}

/// A document that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// Key as it is stored.
    pub key: String,
    /// The stored bytes.
    pub data: bytes::Bytes,
    /// The tag, where a store has one.
    pub etag: Option<String>,
    /// Why the document could not be read.
    pub error: Option<String>,
    /// Media type, where a store keeps one.
    pub content_type: Option<String>,
}

/// A query that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub(super) String);
