//! The grammar of the data plane: services, layers, bodies and the drain.
//!
//! Everything here is free of protocol knowledge. A *stack* is a tower service wrapped in layers,
//! read from the bottom up: the last layer pushed meets the request first.
//!
//! ```text
//! stack(inner).push(A).push(B)      request ──▶ B ──▶ A ──▶ inner
//! ```

mod body;
mod context;
mod drain;
mod held;
mod io;
mod signal;
mod stack;

pub use body::{Body, CollectError, collect_limited};
pub use context::{CallContext, Surface};
pub use drain::{Drain, DrainSignal};
pub use held::Held;
pub use io::{BoxConnection, Connect, Connection};
pub use stack::{BoxedService, Stack, stack};
pub use tower::layer::layer_fn;
pub use tower::{Layer, Service, ServiceExt};

/// An error of any kind that crosses a layer border.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An HTTP request with the one body type of the data plane.
pub type Request = http::Request<Body>;

/// An HTTP response with the one body type of the data plane.
pub type Response = http::Response<Body>;
