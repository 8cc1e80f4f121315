//! What the families of components have in common, and the families that this build does not have.

use std::fmt;

use outrigger_component::Init;
use outrigger_config::resources::{Category, Component, Resource};
use outrigger_svc::{BoxError, BoxFuture};

/// All components of one category: how they are made, and where callers find them.
pub(crate) trait Family: fmt::Debug + Send + Sync {
    /// Makes a component and puts it where callers find it.
    fn open<'a>(&'a self, component: &'a Component, init: Init) -> BoxFuture<'a, Result<Opened, Failure>>;

    /// Takes a component away from callers, then ends it.
    fn close<'a>(&'a self, component: &'a Component) -> BoxFuture<'a, Result<(), BoxError>>;

    /// The component that has what there is only once, and what this one asks for, too.
    fn holder(&self, _: &Component) -> Option<String> {
        None
    }
}

/// A component that callers find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// What it can do, as metadata show it.
    pub(crate) capabilities: Vec<String>,
}

/// Why a component was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its type belongs to no category.
    NoCategory(String),
    /// There is no such type.
    Unknown(String),
    /// Its settings cannot be used.
    Create(String),
    /// It did not come up.
    Init(String),
    /// A text that says all by itself.
    Bare(String),
}

/// A category without types in this build.
#[derive(Debug)]
pub(super) struct Absent(pub(super) Category);

// === impl Failure ===

impl Failure {
    /// The failure as the log tells it.
    pub(super) fn text(&self, log_name: &str) -> String {
        let (kind, error) = match self {
            Self::Create(error) | Self::Unknown(error) => ("CREATE", error),
            Self::Init(error) => ("INIT", error),
            Self::Bare(error) | Self::NoCategory(error) => return error.clone(),
        };
        format!("[{kind}_COMPONENT_FAILURE]: initialization error occurred for {log_name}: {error}")
    }

    /// The failure as the end of the sidecar tells it.
    pub(super) fn outer_text(&self, log_name: &str) -> String {
        let error = self.text(log_name);
        match self {
            Self::NoCategory(_) => error,
            _ => format!("[INIT_COMPONENT_FAILURE]: initialization error occurred for {log_name}: {error}"),
        }
    }

    /// Whether it would fail again for as long as the resource stays as it is.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::NoCategory(_) | Self::Unknown(_))
    }

    /// The label of metrics.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::NoCategory(_) | Self::Unknown(_) | Self::Create(_) => "creation",
            Self::Init(_) | Self::Bare(_) => "init",
        }
    }
}

// === impl Absent ===

impl Family for Absent {
    fn open<'a>(&'a self, component: &'a Component, _: Init) -> BoxFuture<'a, Result<Opened, Failure>> {
        Box::pin(std::future::ready(Err(unknown_type(self.0, component))))
    }

    fn close<'a>(&'a self, _: &'a Component) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The failure of a type that no registry has.
pub(super) fn unknown_type(category: Category, component: &Component) -> Failure {
    let kind = format!("{}/{}", component.kind, component.version);
    Failure::Unknown(match category {
        Category::State => format!("couldn't find state store {kind}"),
        Category::SecretStores => format!("couldn't find secret store {kind}"),
        Category::Pubsub => format!("couldn't find message bus {kind}"),
        Category::Bindings => {
            return Failure::Bare(format!("couldn't find binding {}", component.log_name()));
        }
        Category::Configuration => format!("couldn't find configuration store {kind}"),
        Category::Lock => format!("couldn't find lock store {kind}"),
        Category::Crypto => format!("couldn't find crypto provider {kind}"),
        Category::Conversation => format!("couldn't find conversation {kind}"),
        Category::Middleware => format!(
            "process component {} error: HTTP middleware {kind} has not been registered",
            component.metadata.name
        ),
    })
}
