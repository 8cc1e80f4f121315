//! The configuration, in the words of the resource.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_kit::json::from_value_ignoring_case;
use serde::Deserialize;
use serde_json::Value;

/// What the Configuration says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    pub(crate) client: ClientConfig,
    pub(crate) query_options: QueryOptions,
    pub(crate) self_register: bool,
    pub(crate) self_deregister: bool,
    /// Key of the service meta under which the internal port stands.
    pub(crate) dapr_port_meta_key: String,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) meta: Option<BTreeMap<String, String>>,
    pub(crate) checks: Option<Vec<Value>>,
    pub(crate) advanced_registration: Option<Value>,
    pub(crate) use_cache: bool,
}

/// The way to the agent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClientConfig {
    pub(crate) address: String,
    pub(crate) scheme: String,
    pub(crate) datacenter: String,
    pub(crate) http_auth: Option<HttpAuth>,
    /// Nanoseconds.
    pub(crate) wait_time: i64,
    pub(crate) token: String,
    pub(crate) token_file: String,
    pub(crate) tls_config: Option<TlsConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HttpAuth {
    pub(crate) username: String,
    pub(crate) password: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TlsConfig {
    pub(crate) address: String,
    pub(crate) ca_file: String,
    pub(crate) ca_path: String,
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
    pub(crate) insecure_skip_verify: bool,
}

/// Options of queries for healthy instances.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct QueryOptions {
    pub(crate) datacenter: String,
    pub(crate) allow_stale: bool,
    pub(crate) require_consistent: bool,
    pub(crate) use_cache: bool,
    /// Nanoseconds.
    pub(crate) max_age: i64,
    /// Nanoseconds.
    pub(crate) stale_if_error: i64,
    pub(crate) wait_index: u64,
    pub(crate) wait_hash: String,
    /// Nanoseconds.
    pub(crate) wait_time: i64,
    pub(crate) token: String,
    pub(crate) near: String,
    pub(crate) node_meta: Option<BTreeMap<String, String>>,
    pub(crate) relay_factor: u8,
    pub(crate) local_only: bool,
    pub(crate) connect: bool,
    pub(crate) filter: String,
}

const DEFAULT_PORT_KEY: &str = "DAPR_PORT";

// === impl Config ===

impl Config {
    /// Reads the configuration, whatever the case of its names.
    ///
    /// # Errors
    /// The text of the init error.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let config: Self = from_value_ignoring_case(value)
            .map_err(|error| format!("error deserializing to configSpec: {error}"))?;
        if let Some(tls) = &config.client.tls_config
            && tls.is_set()
        {
            return Err(
                "client.tlsConfig: certificates of its own are not supported; servers are verified by the roots of \
                 the system"
                    .to_owned(),
            );
        }
        Ok(config)
    }

    pub(crate) fn port_key(&self) -> &str {
        match self.dapr_port_meta_key.as_str() {
            "" => DEFAULT_PORT_KEY,
            key => key,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            query_options: QueryOptions {
                use_cache: true,
                ..QueryOptions::default()
            },
            self_register: false,
            self_deregister: false,
            dapr_port_meta_key: DEFAULT_PORT_KEY.to_owned(),
            tags: None,
            meta: None,
            checks: None,
            advanced_registration: None,
            use_cache: false,
        }
    }
}

// === impl TlsConfig ===

impl TlsConfig {
    fn is_set(&self) -> bool {
        let texts = [
            &self.address,
            &self.ca_file,
            &self.ca_path,
            &self.cert_file,
            &self.key_file,
        ];
        self.insecure_skip_verify || texts.iter().any(|text| !text.is_empty())
    }
}

/// A span that is configured in nanoseconds; none if it is not positive.
pub(crate) fn span(nanoseconds: i64) -> Option<Duration> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|&span| span > 0)?;
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_read_whatever_their_case() {
        let config = Config::parse(&json!({
            "Client": { "ADDRESS": "10.0.0.1:8500", "httpauth": { "Username": "u", "password": "p" } },
            "selfregister": true,
            "daprportmetakey": "PORT",
            "QUERYOPTIONS": { "allowStale": true },
        }))
        .unwrap();
        assert_eq!(config.client.address, "10.0.0.1:8500");
        assert_eq!(config.client.http_auth.unwrap().username, "u");
        assert!(config.self_register && config.query_options.allow_stale);
        assert_eq!(config.dapr_port_meta_key, "PORT");
        assert!(
            !config.query_options.use_cache,
            "own options replace the default ones"
        );
    }

    #[test]
    fn without_options_the_agents_cache_is_used() {
        for value in [json!(null), json!({})] {
            let config = Config::parse(&value).unwrap();
            assert!(config.query_options.use_cache && !config.use_cache && !config.self_register);
            assert_eq!(config.port_key(), "DAPR_PORT");
        }
    }

    #[test]
    fn certificates_that_would_not_be_used_are_refused() {
        let tls = json!({ "client": { "tlsConfig": { "caFile": "/ca.pem" } } });
        assert!(Config::parse(&tls).unwrap_err().starts_with("client.tlsConfig: "));
        assert!(Config::parse(&json!({ "client": { "tlsConfig": {} } })).is_ok());
    }

    #[test]
    fn spans_are_nanoseconds() {
        assert_eq!(span(1_500_000_000), Some(Duration::from_millis(1500)));
        assert_eq!((span(0), span(-1)), (None, None));
    }
}
