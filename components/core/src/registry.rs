//! Types of one family by name and version.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use outrigger_svc::{BoxError, BoxFuture};

use crate::init::Init;

/// The types of one family, and how components of them are made.
///
/// Names and versions are found whatever their case. A type is either registered without versions, and then
/// answers to none, `v0` and `v1`, or for each version by itself.
///
/// Source: specification, components 4.2.
pub struct Registry<C: ?Sized, I = Init> {
    makers: BTreeMap<String, Maker<C, I>>,
    versions: BTreeMap<String, Versions>,
}

/// Makes components of one type; cheap to clone.
pub struct Maker<C: ?Sized, I = Init>(Arc<Make<C, I>>);

/// What a look-up found.
#[derive(Debug)]
pub struct Found<'a, C: ?Sized, I = Init> {
    /// Makes a component of the type.
    pub maker: &'a Maker<C, I>,
    /// The version found, in lower case; of a type with several the default one if none was asked for.
    pub version: String,
    /// The version that should be used instead of the one found, if that is deprecated.
    pub preferred: Option<&'static str>,
}

/// The versions of a type that has several.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// The one that is meant if none is given.
    pub default: &'static str,
    /// The one that new components should have.
    pub preferred: &'static str,
    /// Those that will be removed.
    pub deprecated: &'static [&'static str],
}

type Make<C, I> = dyn Fn(I) -> BoxFuture<'static, Result<Arc<C>, BoxError>> + Send + Sync;

// === impl Registry ===

impl<C: ?Sized, I> Registry<C, I> {
    /// Adds a type without versions, such as `middleware.http.uppercase`; one of the same name is replaced.
    pub fn register<F, M>(&mut self, kind: &str, make: M)
    where
        M: Fn(I) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Arc<C>, BoxError>> + Send + 'static,
    {
        self.insert(kind.to_lowercase(), make);
    }

    /// Adds one version of a type that has several.
    pub fn register_version<F, M>(&mut self, kind: &str, version: &str, make: M)
    where
        M: Fn(I) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Arc<C>, BoxError>> + Send + 'static,
    {
        self.insert(key(kind, version), make);
    }

    /// Says which version of a type is meant if none is given, and which are deprecated.
    pub fn set_versions(&mut self, kind: &str, versions: Versions) {
        self.versions.insert(kind.to_lowercase(), versions);
    }

    /// Finds the maker of a type and version as a resource gives them.
    #[must_use]
    pub fn find(&self, kind: &str, version: &str) -> Option<Found<'_, C, I>> {
        let kind = kind.to_lowercase();
        let mut version = version.to_lowercase();
        let mut preferred = None;
        if let Some(versions) = self.versions.get(&kind) {
            if version.is_empty() {
                version = versions.default.to_owned();
            }
            if versions.deprecated.contains(&version.as_str()) {
                preferred = Some(versions.preferred);
            }
        }
        let exact = self.makers.get(&key(&kind, &version));
        let maker = exact.or_else(|| {
            matches!(version.as_str(), "" | "v0" | "v1")
                .then(|| self.makers.get(&kind))
                .flatten()
        })?;
        Some(Found {
            maker,
            version,
            preferred,
        })
    }

    /// The names of the types, with their versions if they have several, sorted.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.makers.keys().map(String::as_str)
    }

    fn insert<F, M>(&mut self, key: String, make: M)
    where
        M: Fn(I) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Arc<C>, BoxError>> + Send + 'static,
    {
        let make: Arc<Make<C, I>> = Arc::new(move |init| Box::pin(make(init)));
        self.makers.insert(key, Maker(make));
    }
}

impl<C: ?Sized, I> Default for Registry<C, I> {
    fn default() -> Self {
        Self {
            makers: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }
}

impl<C: ?Sized, I> Clone for Registry<C, I> {
    fn clone(&self) -> Self {
        Self {
            makers: self.makers.clone(),
            versions: self.versions.clone(),
        }
    }
}

impl<C: ?Sized, I> fmt::Debug for Registry<C, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds()).finish()
    }
}

// === impl Maker ===

impl<C: ?Sized, I> Maker<C, I> {
    /// Makes a component and brings it up.
    ///
    /// # Errors
    /// What the component says of its settings or its surroundings.
    pub fn make(&self, init: I) -> BoxFuture<'static, Result<Arc<C>, BoxError>> {
        (self.0)(init)
    }
}

impl<C: ?Sized, I> Clone for Maker<C, I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: ?Sized, I> fmt::Debug for Maker<C, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}

fn key(kind: &str, version: &str) -> String {
    format!("{}/{}", kind.to_lowercase(), version.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Texts = Registry<str, ()>;

    fn registry() -> Texts {
        let mut registry = Texts::default();
        registry.register("state.Plain", |()| async { Ok(Arc::from("plain")) });
        registry.register_version("state.both", "v1", |()| async { Ok(Arc::from("both 1")) });
        registry.register_version("state.both", "v2", |()| async { Ok(Arc::from("both 2")) });
        registry.register_version("state.late", "v2", |()| async { Ok(Arc::from("late 2")) });
        let versions = |default, deprecated| Versions {
            default,
            preferred: "v2",
            deprecated,
        };
        registry.set_versions("state.both", versions("v1", &["v1"]));
        registry.set_versions("state.late", versions("v2", &[]));
        registry
    }

    #[tokio::test]
    async fn types_are_found_by_name_and_version_whatever_the_case() {
        let table = [
            ("state.plain", "", Some(("plain", None))),
            ("state.plain", "v0", Some(("plain", None))),
            ("State.PLAIN", "V1", Some(("plain", None))),
            ("state.plain", "v2", None),
            ("state.both", "", Some(("both 1", Some("v2")))),
            ("state.both", "v1", Some(("both 1", Some("v2")))),
            ("state.BOTH", "V2", Some(("both 2", None))),
            ("state.both", "v0", None),
            ("state.late", "", Some(("late 2", None))),
            ("state.late", "v1", None),
            ("state.late", "v2", Some(("late 2", None))),
            ("state.other", "", None),
        ];
        let registry = registry();
        for (kind, version, expected) in table {
            let found = match registry.find(kind, version) {
                Some(found) => Some((found.maker.make(()).await.unwrap(), found.preferred)),
                None => None,
            };
            let found = found.as_ref().map(|(made, preferred)| (&**made, *preferred));
            assert_eq!(found, expected, "{kind}/{version}");
        }
    }

    #[tokio::test]
    async fn a_later_registration_takes_the_place_of_an_earlier_one() {
        let mut registry = registry();
        registry.register("state.plain", |()| async { Ok(Arc::from("pluggable")) });
        let made = registry.find("state.plain", "v1").unwrap().maker.make(());
        assert_eq!(&*made.await.unwrap(), "pluggable");
    }
}
