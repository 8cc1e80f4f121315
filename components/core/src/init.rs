//! What a component is made from.

use std::sync::Arc;

use tokio::time::Instant;

use crate::condition::Condition;
use crate::http_client::HttpClient;
use crate::properties::Properties;

/// The settings and surroundings of a component that is to be made.
#[derive(Clone, Debug)]
pub struct Init {
    /// Name of the resource, by which the component is called.
    pub name: Arc<str>,
    /// `<name> (<type>/<version>)`: how the component's own log lines name it.
    pub log_name: Arc<str>,
    /// App id of the sidecar.
    pub app_id: Arc<str>,
    /// Namespace of the sidecar.
    pub namespace: Arc<str>,
    /// Its settings, with references and placeholders resolved.
    pub properties: Properties,
    /// When making it must be over; a component that waits for others gives up then by itself.
    pub deadline: Instant,
    /// The way to servers outside.
    pub http: HttpClient,
    /// Where the component says how it does.
    pub condition: Condition,
}
