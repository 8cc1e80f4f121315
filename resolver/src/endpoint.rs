//! What is asked for and what is found.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::choose::{Choose, Turn};

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
pub struct Endpoints {
    list: ArcSwap<Vec<Endpoint>>,
    turn: Turn,
}

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
    pub fn new(list: Vec<Endpoint>) -> Self {
        Self {
            list: ArcSwap::from_pointee(list),
            turn: Turn::default(),
        }
    }

    /// Replaces the members; calls that already chose keep their endpoint.
    pub fn replace(&self, list: Vec<Endpoint>) {
        if **self.list.load() != list {
            self.list.store(Arc::new(list));
        }
    }

    /// The members of this moment.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<Endpoint>> {
        self.list.load_full()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.load().is_empty()
    }

    /// Lets `choose` pick a member and shows it to `read`; none if the set is empty.
    pub fn pick<R>(&self, choose: &dyn Choose, read: impl FnOnce(&Endpoint) -> R) -> Option<R> {
        let list = self.list.load();
        let index = if list.len() > 1 {
            choose.choose(&list, &self.turn)
        } else {
            0
        };
        list.get(index).or_else(|| list.first()).map(read)
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
    use crate::choose::RoundRobin;

    #[test]
    fn an_empty_set_picks_nothing() {
        assert_eq!(Endpoints::default().pick(&RoundRobin, Endpoint::clone), None);
    }

    #[test]
    fn a_choice_out_of_range_falls_back_to_the_first() {
        #[derive(Debug)]
        struct Wrong;
        impl Choose for Wrong {
            fn choose(&self, endpoints: &[Endpoint], _turn: &Turn) -> usize {
                endpoints.len()
            }
        }
        let set = Endpoints::new(vec![Endpoint::new("a:1"), Endpoint::new("b:1")]);
        assert_eq!(
            set.pick(&Wrong, |endpoint| endpoint.address.to_string()).unwrap(),
            "a:1"
        );
    }

    #[test]
    fn a_replaced_set_is_seen_by_the_next_pick() {
        let set = Endpoints::new(vec![Endpoint::new("a:1")]);
        let kept = set.list();
        set.replace(vec![Endpoint::new("b:1")]);
        assert_eq!(
            set.pick(&RoundRobin, |endpoint| endpoint.address.to_string())
                .unwrap(),
            "b:1"
        );
        assert_eq!(&*kept[0].address, "a:1");
    }
}
