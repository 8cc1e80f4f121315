//! What is asked for and what is found.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// The callee that a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// Id of the callee's app.
    pub app_id: &'a str,
    /// Namespace of the callee's app.
    pub namespace: &'a str,
    /// The caller's own internal gRPC port, which Kubernetes names carry.
    pub port: u16,
}

/// One address of a callee's internal gRPC server and the facts that a choice may rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`; an IPv6 host stands in brackets.
    pub address: Arc<str>,
    /// Zone that the instance runs in, if the resolver knows it.
    pub zone: Option<Arc<str>>,
    /// Version of the app, if the resolver knows it.
    pub version: Option<Arc<str>>,
    /// Share of the traffic relative to the others, 1 by default; 0 takes none.
    pub weight: u32,
}

/// The addresses of one callee, kept up to date while calls read them.
///
/// Reading takes no lock. A set that turned empty means that nothing is known any more.
#[derive(Debug, Default)]
pub struct Endpoints(ArcSwap<Vec<Endpoint>>);

/// The members of a set at one moment.
pub type Members = Arc<Vec<Endpoint>>;

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint of which nothing but the address is known.
    #[must_use]
    pub fn new(address: impl Into<Arc<str>>) -> Self {
        Self {
            address: address.into(),
            zone: None,
            version: None,
            weight: 1,
        }
    }
}

// === impl Endpoints ===

impl Endpoints {
    /// A set with the given members.
    #[must_use]
    pub fn new(members: Vec<Endpoint>) -> Self {
        Self(ArcSwap::from_pointee(members))
    }

    /// Replaces the members, and tells whether that made a difference.
    ///
    /// Calls that already chose keep their endpoint.
    pub fn replace(&self, members: Vec<Endpoint>) -> bool {
        let differs = **self.0.load() != members;
        if differs {
            self.0.store(Arc::new(members));
        }
        differs
    }

    /// The members of this moment.
    #[must_use]
    pub fn members(&self) -> Members {
        self.0.load_full()
    }

    /// Shows the members of this moment to `read`, without touching a counter that cores share.
    pub fn with<R>(&self, read: impl FnOnce(&Members) -> R) -> R {
        read(&self.0.load())
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(members: I) -> Self {
        Self::new(members.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_set_is_seen_by_the_next_reader_and_kept_by_the_last() {
        let set = Endpoints::new(vec![Endpoint::new("a:1")]);
        let kept = set.members();
        assert!(set.replace(vec![Endpoint::new("b:1")]));
        assert_eq!(set.with(|members| members[0].address.to_string()), "b:1");
        assert_eq!(&*kept[0].address, "a:1");
    }

    #[test]
    fn a_set_is_not_replaced_by_its_like() {
        let set = Endpoints::new(vec![Endpoint::new("a:1")]);
        let kept = set.members();
        assert!(!set.replace(vec![Endpoint::new("a:1")]));
        assert!(Arc::ptr_eq(&kept, &set.members()));
    }
}
