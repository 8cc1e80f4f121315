//! Loaded components by name, as calls find them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The loaded components of one family. Clones share them.
///
/// A look-up takes no lock; a change swaps the table, and calls that run keep what they have found.
pub(crate) struct Table<C: ?Sized>(Arc<ArcSwap<BTreeMap<String, Arc<C>>>>);

// === impl Table ===

impl<C: ?Sized> Table<C> {
    /// The component of a name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<C>> {
        self.0.load().get(name).cloned()
    }

    /// Whether no component is loaded.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Puts a component where calls find it.
    pub(crate) fn insert(&self, name: &str, component: &Arc<C>) {
        self.0.rcu(|table| {
            let mut table = BTreeMap::clone(table);
            table.insert(name.to_owned(), Arc::clone(component));
            table
        });
    }

    /// Takes a component away from calls.
    pub(super) fn remove(&self, name: &str) -> Option<Arc<C>> {
        let before = self.0.rcu(|table| {
            let mut table = BTreeMap::clone(table);
            table.remove(name);
            table
        });
        before.get(name).cloned()
    }
}

impl<C: ?Sized> Clone for Table<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: ?Sized> Default for Table<C> {
    fn default() -> Self {
        Self(Arc::new(ArcSwap::default()))
    }
}

impl<C: ?Sized> fmt::Debug for Table<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.load().keys()).finish()
    }
}
