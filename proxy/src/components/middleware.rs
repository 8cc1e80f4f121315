//! HTTP middleware, and the two pipelines that they are put together to.
//!
//! A pipeline names components; those that are not loaded, or have another type or version, are left out. A
//! component may be in both, and is then one handler with one state.
//!
//! Source: specification, HTTP middleware 1.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_component::{Chain, HttpMiddleware, Init, Registry};
use outrigger_config::configuration::Handler;
use outrigger_config::resources::{Category, Component};
use outrigger_svc::{BoxError, BoxFuture};

use super::Handlers;
use super::family::{Failure, Family, Opened, unknown_type};

/// The handlers around the HTTP API and around calls to the app. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipelines {
    /// Around the HTTP API.
    pub(crate) server: Handlers,
    /// Around calls to the app.
    pub(crate) app: Handlers,
}

/// Loaded middleware, and the pipelines that name it.
#[derive(Debug)]
pub(super) struct MiddlewareFamily {
    registry: Registry<dyn HttpMiddleware>,
    pipelines: [Pipeline; 2],
    loaded: Mutex<BTreeMap<String, Loaded>>,
}

#[derive(Debug)]
struct Pipeline {
    name: &'static str,
    wanted: Vec<Handler>,
    handlers: Handlers,
}

#[derive(Debug)]
struct Loaded {
    kind: String,
    version: String,
    handler: Arc<dyn HttpMiddleware>,
}

const SCOPE: &str = "dapr.middleware.http";

// === impl MiddlewareFamily ===

impl MiddlewareFamily {
    /// No handler is loaded yet; `server` and `app` are what the pipelines are made of, outermost first.
    pub(super) fn new(
        registry: Registry<dyn HttpMiddleware>,
        pipelines: Pipelines,
        server: Vec<Handler>,
        app: Vec<Handler>,
    ) -> Self {
        let pipeline = |name, wanted, handlers| Pipeline {
            name,
            wanted,
            handlers,
        };
        Self {
            registry,
            pipelines: [
                pipeline("server", server, pipelines.server),
                pipeline("app", app, pipelines.app),
            ],
            loaded: Mutex::default(),
        }
    }

    /// Changes what is loaded and puts the pipelines together anew.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Loaded>)) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut loaded);
        for pipeline in self
            .pipelines
            .iter()
            .filter(|pipeline| !pipeline.wanted.is_empty())
        {
            tracing::info!(target: SCOPE, "Building pipeline {}", pipeline.name);
            let handlers = pipeline.wanted.iter().filter_map(|wanted| {
                let loaded = loaded.get(&wanted.name)?;
                loaded.is(wanted).then(|| Arc::clone(&loaded.handler))
            });
            pipeline.handlers.replace(Chain::new(handlers.collect()));
        }
    }
}

impl Family for MiddlewareFamily {
    fn open<'a>(&'a self, component: &'a Component, init: Init) -> BoxFuture<'a, Result<Opened, Failure>> {
        let (name, kind, version) = (&component.metadata.name, &component.kind, &component.version);
        let Some(found) = self.registry.find(kind, version) else {
            return Box::pin(std::future::ready(Err(unknown_type(
                Category::Middleware,
                component,
            ))));
        };
        let made = found.maker.make(init);
        Box::pin(async move {
            let handler = made.await.map_err(|error| {
                Failure::Create(format!(
                    "process component {name} error: error creating HTTP middleware {kind}/{version}: {error}"
                ))
            })?;
            let loaded = Loaded {
                kind: kind.clone(),
                version: version.clone(),
                handler,
            };
            tracing::info!(target: SCOPE, "Adding {kind}/{version} {name} middleware");
            self.change(|all| {
                all.insert(name.clone(), loaded);
            });
            Ok(Opened::default())
        })
    }

    fn close<'a>(&'a self, component: &'a Component) -> BoxFuture<'a, Result<(), BoxError>> {
        let (name, kind, version) = (&component.metadata.name, &component.kind, &component.version);
        tracing::info!(target: SCOPE, "Removing {kind}/{version} {name} middleware");
        self.change(|all| {
            all.remove(name);
        });
        Box::pin(std::future::ready(Ok(())))
    }
}

// === impl Loaded ===

impl Loaded {
    /// Whether a pipeline means this component: the type must be written alike, and the version be the same.
    fn is(&self, wanted: &Handler) -> bool {
        self.kind == wanted.kind && version(&self.version) == version(&wanted.version)
    }
}

/// None, `v0` and `v1` are the same.
fn version(text: &str) -> &str {
    match text {
        "" | "v0" => "v1",
        other => other,
    }
}
