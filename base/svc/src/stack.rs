//! Stacks of layers.

use tower::util::BoxCloneSyncService;
use tower::{Layer, Service};

/// A service of a known request, response and error, whatever layers it is made of.
pub type BoxedService<Req, Rsp, Err> = BoxCloneSyncService<Req, Rsp, Err>;

/// A service on which layers are pushed; the last one pushed meets the request first.
#[derive(Clone, Debug)]
pub struct Stack<S>(S);

/// Starts a stack from its innermost service.
pub fn stack<S>(inner: S) -> Stack<S> {
    Stack(inner)
}

// === impl Stack ===

impl<S> Stack<S> {
    /// Wraps the stack in one more layer.
    pub fn push<L: Layer<S>>(self, layer: L) -> Stack<L::Service> {
        Stack(layer.layer(self.0))
    }

    /// The finished service.
    pub fn into_inner(self) -> S {
        self.0
    }

    /// The finished service behind one virtual call, at a chapter's border.
    pub fn boxed<Req>(self) -> BoxedService<Req, S::Response, S::Error>
    where
        S: Service<Req> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        BoxCloneSyncService::new(self.0)
    }
}
