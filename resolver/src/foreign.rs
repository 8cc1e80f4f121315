//! Name resolvers that are components of their own.

use std::sync::Arc;

use outrigger_component::name_resolution::{Lookup, NameResolution};
use outrigger_svc::BoxFuture;

use crate::endpoint::{Endpoint, Endpoints, Request};
use crate::error::ResolveError;
use crate::resolver::{Answer, Keep, NameResolver};

/// A component as a name resolver.
#[derive(Clone, Debug)]
pub struct ComponentResolver(Arc<dyn NameResolution>);

// === impl ComponentResolver ===

impl ComponentResolver {
    /// Resolves by `component`.
    #[must_use]
    pub fn new(component: Arc<dyn NameResolution>) -> Self {
        Self(component)
    }
}

impl NameResolver for ComponentResolver {
    fn resolve<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        let Request {
            app_id,
            namespace,
            port,
        } = request;
        let lookup = Lookup {
            app_id,
            namespace,
            port,
        };
        Box::pin(async move {
            let found = self.0.resolve(lookup).await;
            let found = found.map_err(|reason| ResolveError::Other(reason.into()))?;
            let endpoints: Endpoints = found.list.into_iter().map(Endpoint::new).collect();
            Ok(Answer {
                endpoints: Arc::new(endpoints),
                keep: found.keep.map_or(Keep::Not, Keep::For),
            })
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_component::name_resolution::Addresses;

    use super::*;

    #[derive(Debug)]
    struct Known;

    impl NameResolution for Known {
        fn resolve<'a>(&'a self, lookup: Lookup<'a>) -> BoxFuture<'a, Result<Addresses, String>> {
            let answer = match lookup.app_id {
                "kept" => Ok(Addresses::kept_for(
                    Duration::from_secs(7),
                    vec!["a:1".to_owned(), "b:1".to_owned()],
                )),
                "once" => Ok(Addresses::once(vec!["a:1".to_owned()])),
                app_id => Err(format!("no {app_id} in {}", lookup.namespace)),
            };
            Box::pin(std::future::ready(answer))
        }
    }

    #[tokio::test]
    async fn what_a_component_finds_is_kept_as_it_says() {
        let resolver = ComponentResolver::new(Arc::new(Known));
        let resolve = |app_id| {
            resolver.resolve(Request {
                app_id,
                namespace: "shop",
                port: 1,
            })
        };
        let kept = resolve("kept").await.unwrap();
        assert_eq!(
            *kept.endpoints.members(),
            [Endpoint::new("a:1"), Endpoint::new("b:1")]
        );
        assert_eq!(kept.keep, Keep::For(Duration::from_secs(7)));
        assert_eq!(resolve("once").await.unwrap().keep, Keep::Not);
        assert_eq!(
            resolve("other").await.unwrap_err().to_string(),
            "no other in shop"
        );
    }
}
