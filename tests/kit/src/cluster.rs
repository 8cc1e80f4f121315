//! Several sidecars with their apps and a certificate authority.

use std::collections::BTreeMap;
use std::ops::Index;

use crate::{Daprd, HttpApp, HttpReply, Result, Sentry};

/// Sidecars that know each other by mTLS, each with an HTTP app.
///
/// They find each other by multicast, so a test with a cluster is [`isolated!`](crate::isolated).
#[derive(Debug)]
pub struct Cluster {
    /// The certificate authority; none without mTLS.
    pub sentry: Option<Sentry>,
    members: BTreeMap<String, Member>,
}

/// A sidecar and its app.
#[derive(Debug)]
pub struct Member {
    /// The sidecar.
    pub daprd: Daprd,
    /// The app.
    pub app: HttpApp,
}

/// How a cluster is started.
#[derive(Debug)]
pub struct ClusterBuilder {
    without_mtls: bool,
    configuration: Option<String>,
    apps: BTreeMap<String, HttpApp>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts sidecars with mTLS whose apps are echoes, and waits until all are healthy.
    ///
    /// # Errors
    /// If one does not start, with the end of its output.
    pub async fn start<'a>(app_ids: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut builder = Self::builder();
        for app_id in app_ids {
            builder = builder.app(app_id, HttpApp::echo().await?);
        }
        builder.start().await
    }

    /// A cluster with apps that the test makes.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder {
            without_mtls: false,
            configuration: None,
            apps: BTreeMap::new(),
        }
    }

    /// All members by app id.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members
            .iter()
            .map(|(app_id, member)| (app_id.as_str(), member))
    }

    /// A member that the test wants to change.
    pub fn member_mut(&mut self, app_id: &str) -> Option<&mut Member> {
        self.members.get_mut(app_id)
    }
}

impl Index<&str> for Cluster {
    type Output = Member;

    /// The member with an app id.
    ///
    /// # Panics
    /// If there is none.
    fn index(&self, app_id: &str) -> &Member {
        self.members
            .get(app_id)
            .unwrap_or_else(|| panic!("no member {app_id}"))
    }
}

// === impl ClusterBuilder ===

impl ClusterBuilder {
    /// Adds a sidecar in front of an app.
    #[must_use]
    pub fn app(mut self, app_id: &str, app: HttpApp) -> Self {
        self.apps.insert(app_id.to_owned(), app);
        self
    }

    /// Lets the sidecars speak without identities.
    #[must_use]
    pub fn without_mtls(mut self) -> Self {
        self.without_mtls = true;
        self
    }

    /// Gives every sidecar a Configuration resource.
    #[must_use]
    pub fn configuration(mut self, yaml: &str) -> Self {
        self.configuration = Some(yaml.to_owned());
        self
    }

    /// Starts everything and waits until all are healthy.
    ///
    /// # Errors
    /// If one does not start, with the end of its output.
    pub async fn start(self) -> Result<Cluster> {
        let sentry = match self.without_mtls {
            true => None,
            false => Some(Sentry::start().await?),
        };
        let mut members = BTreeMap::new();
        for (app_id, app) in self.apps {
            let mut builder = Daprd::builder(&app_id)?.app("http", app.port());
            if let Some(sentry) = &sentry {
                builder = builder.mtls(sentry);
            }
            if let Some(yaml) = &self.configuration {
                builder = builder.configuration(yaml)?;
            }
            members.insert(
                app_id,
                Member {
                    daprd: builder.spawn()?,
                    app,
                },
            );
        }
        for member in members.values() {
            member.daprd.ready().await?;
        }
        Ok(Cluster { sentry, members })
    }
}

// === impl Member ===

impl Member {
    /// Calls a method of another member's app with `GET`.
    ///
    /// # Errors
    /// If there is no whole reply.
    pub async fn invoke(&self, app_id: &str, method: &str) -> Result<HttpReply> {
        self.daprd.invoke(app_id, method).await
    }
}
