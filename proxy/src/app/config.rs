//! What an HTTP app says about itself when it is first healthy: `GET /dapr/config`.
//!
//! Source: specification, the daprd process 6.

use http::HeaderValue;
use outrigger_kit::json::from_str_ignoring_case;
use outrigger_svc::collect_limited;
use serde::Deserialize;

use super::AppChannel;

/// The app's answer; all members may be missing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AppConfig {
    /// Actor types that the app hosts.
    pub(crate) entities: Vec<String>,
    /// Time without calls after which an actor is deactivated.
    pub(crate) actor_idle_timeout: String,
    /// Time that running calls get when an actor moves.
    pub(crate) drain_ongoing_call_timeout: String,
    /// Whether running calls get that time.
    pub(crate) drain_rebalanced_actors: Option<bool>,
    /// Calls of an actor to itself.
    pub(crate) reentrancy: Reentrancy,
    /// Has no effect any more.
    pub(crate) reminders_storage_partitions: i64,
    /// Settings of single actor types, which go before the ones above.
    pub(crate) entities_config: Vec<EntityConfig>,
}

/// Settings of some actor types; durations are Go texts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EntityConfig {
    /// The actor types meant.
    pub(crate) entities: Vec<String>,
    /// Time without calls after which an actor is deactivated.
    pub(crate) actor_idle_timeout: String,
    /// Time that running calls get when an actor moves.
    pub(crate) drain_ongoing_call_timeout: String,
    /// Whether running calls get that time.
    pub(crate) drain_rebalanced_actors: Option<bool>,
    /// Calls of an actor to itself.
    pub(crate) reentrancy: Reentrancy,
    /// Has no effect any more.
    pub(crate) reminders_storage_partitions: i64,
}

/// Whether an actor may be called by its own calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Reentrancy {
    /// Whether it may.
    pub(crate) enabled: bool,
    /// How deep.
    pub(crate) max_stack_depth: Option<i64>,
}

/// Most bytes of the answer that are read.
const MOST: usize = 4 << 20;

/// Asks an HTTP app for its configuration; any status but 200, and a gRPC app, means an empty one.
///
/// # Errors
/// If the app cannot be reached or says something that is no configuration.
pub(crate) async fn load_app_config(channel: &AppChannel, app_id: &str) -> Result<AppConfig, String> {
    let app_id = HeaderValue::from_str(app_id).map_err(|error| error.to_string())?;
    let Some(response) = channel.ask("dapr/config", app_id).await? else {
        return Ok(AppConfig::default());
    };
    if response.status() != http::StatusCode::OK {
        return Ok(AppConfig::default());
    }
    let body = collect_limited(response.into_body(), MOST)
        .await
        .map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&body).map_err(|error| error.to_string())?;
    let config: AppConfig = from_str_ignoring_case(text).map_err(|error| error.to_string())?;
    if config.reminders_storage_partitions > 0 {
        tracing::warn!(target: "dapr.runtime", "remindersStoragePartitions is deprecated and has no effect");
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_in_any_case_and_may_be_missing() {
        let text = r#"{"Entities":["A","B"],"actorIdleTimeout":"1h","drainRebalancedActors":false,
            "reentrancy":{"enabled":true,"maxStackDepth":8},"entitiesConfig":[{"entities":["B"],
            "reentrancy":{"enabled":false}}],"unknown":1}"#;
        let config: AppConfig = from_str_ignoring_case(text).unwrap();
        assert_eq!(
            (config.entities.len(), config.actor_idle_timeout.as_str()),
            (2, "1h")
        );
        assert_eq!(config.drain_rebalanced_actors, Some(false));
        assert_eq!(
            config.reentrancy,
            Reentrancy {
                enabled: true,
                max_stack_depth: Some(8)
            }
        );
        assert_eq!(config.entities_config[0].entities, ["B"]);
        assert_eq!(
            from_str_ignoring_case::<AppConfig>("{}").unwrap(),
            AppConfig::default()
        );
    }
}
