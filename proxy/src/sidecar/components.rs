//! Components of the resource folders.
//!
//! This build has no component types yet: each component is answered as one of an unknown type is.
//!
//! Source: specification, components 4 and 5.

use outrigger_component::Catalogue;
use outrigger_config::resources::{Category, Component, Resource};

use super::{RUNTIME, RunError};

const PROCESSOR: &str = "dapr.runtime.processor.loops.root";

/// Loads components in order.
///
/// # Errors
/// The first that cannot be loaded and does not say `ignoreErrors`.
pub(super) fn load(_catalogue: &Catalogue, components: &[Component]) -> Result<(), RunError> {
    for component in components {
        let Err(error) = create(component) else { continue };
        tracing::error!(target: PROCESSOR, "Failed to init component {}: {error}", component.log_name());
        let error = format!(
            "process component {} error: [INIT_COMPONENT_FAILURE]: initialization error occurred for {}: {error}",
            component.metadata.name,
            component.log_name()
        );
        if component.ignore_errors {
            tracing::error!(target: PROCESSOR, "Ignoring error processing component: {error}");
            continue;
        }
        tracing::warn!(target: RUNTIME, "Error processing component, daprd will exit gracefully: {error}");
        return Err(RunError::Components(error));
    }
    Ok(())
}

/// Looks a component's type up; there is none so far.
fn create(component: &Component) -> Result<(), String> {
    let category = component.category().map_err(|error| error.to_string())?;
    let kind = format!("{}/{}", component.kind, component.version);
    let text = match category {
        Category::State => format!("couldn't find state store {kind}"),
        Category::SecretStores => format!("couldn't find secret store {kind}"),
        Category::Pubsub => format!("couldn't find message bus {kind}"),
        Category::Bindings => return Err(format!("couldn't find binding {}", component.log_name())),
        Category::Configuration => format!("couldn't find configuration store {kind}"),
        Category::Lock => format!("couldn't find lock store {kind}"),
        Category::Crypto => format!("couldn't find crypto provider {kind}"),
        Category::Conversation => format!("couldn't find conversation {kind}"),
        Category::Middleware => format!("HTTP middleware {kind} has not been registered"),
    };
    Err(format!(
        "[CREATE_COMPONENT_FAILURE]: initialization error occurred for {}: {text}",
        component.log_name()
    ))
}
