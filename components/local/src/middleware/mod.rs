//! HTTP middleware.
//!
//! Source: specification, HTTP middleware.

mod bearer;
mod oauth2;
mod oauth2clientcredentials;
mod ratelimit;
pub mod routeralias;
mod routerchecker;
mod sentinel;
mod session;
mod target;
mod uppercase;

use outrigger_component::{HttpMiddleware, Registry};

pub use bearer::Bearer;
pub use oauth2::AuthorizationCode;
pub use oauth2clientcredentials::ClientCredentials;
pub use ratelimit::RateLimit;
pub use routeralias::RouterAlias;
pub use routerchecker::RouterChecker;
pub use sentinel::Sentinel;
pub use uppercase::Uppercase;

/// Adds the types of this module.
pub(crate) fn register(registry: &mut Registry<dyn HttpMiddleware>) {
    registry.register("middleware.http.bearer", Bearer::make);
    registry.register("middleware.http.oauth2", AuthorizationCode::make);
    registry.register("middleware.http.oauth2clientcredentials", ClientCredentials::make);
    registry.register("middleware.http.ratelimit", RateLimit::make);
    registry.register("middleware.http.routeralias", RouterAlias::make);
    registry.register("middleware.http.routerchecker", RouterChecker::make);
    let guard = sentinel::Guard::new();
    registry.register("middleware.http.sentinel", move |init| {
        Sentinel::make(guard.clone(), init)
    });
    registry.register("middleware.http.uppercase", Uppercase::make);
}
