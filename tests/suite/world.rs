//! Two sidecars with a network between them that misbehaves at command.

use outrigger_test_kit::{Daprd, DaprdBuilder, FaultProxy, Result, Sentry};

/// A caller and a callee with mTLS; what goes from one to the other goes through a proxy.
///
/// Names resolve to the port of that proxy, so that no test needs a network of its own.
#[derive(Debug)]
pub(super) struct World {
    /// The authority of both.
    pub(super) sentry: Sentry,
    /// The sidecar whose API the test uses. It has no app.
    pub(super) caller: Daprd,
    /// The way from the caller to the callee.
    pub(super) link: FaultProxy,
    /// The sidecar of the app.
    pub(super) callee: Daprd,
}

// === impl World ===

impl World {
    /// A world with an HTTP app behind the callee.
    pub(super) async fn start(app_port: u16) -> Result<Self> {
        Self::start_with(app_port, |caller| caller, |callee| callee).await
    }

    /// A world whose sidecars have further options.
    pub(super) async fn start_with(
        app_port: u16,
        caller: impl FnOnce(DaprdBuilder) -> DaprdBuilder,
        callee: impl FnOnce(DaprdBuilder) -> DaprdBuilder,
    ) -> Result<Self> {
        let sentry = Sentry::start().await?;
        // The callee finds nobody but itself, for which any address will do.
        let builder = Daprd::builder("callee")?
            .app("http", app_port)
            .mtls(&sentry)
            .configuration(&resolving_to(1))?;
        let callee = callee(builder).start().await?;
        let link = FaultProxy::start(callee.internal_port).await?;
        let builder = Daprd::builder("caller")?
            .mtls(&sentry)
            .configuration(&resolving_to(link.port()))?;
        let caller = caller(builder).start().await?;
        Ok(Self {
            sentry,
            caller,
            link,
            callee,
        })
    }
}

/// A Configuration by which every app is at one port of this machine.
pub(super) fn resolving_to(port: u16) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n  nameResolution:\n    \
         component: nameformat\n    configuration: {{format: \"{{appid}}.localhost:{port}\"}}\n"
    )
}
