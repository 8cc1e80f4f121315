//! The settings of a component. Source: specification, state stores 13.

use std::time::Duration;

use outrigger_component::Properties;
use outrigger_svc::BoxError;

/// Where memcached is, and how it is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `host:port`, one at least. Their order says which server has a key.
    pub(crate) hosts: Vec<String>,
    /// The most connections that wait for work, for each host.
    pub(crate) max_idle: usize,
    pub(crate) timeout: Duration,
}

const MAX_IDLE: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(1);

// === impl Settings ===

impl Settings {
    pub(crate) fn parse(properties: &Properties) -> Result<Self, BoxError> {
        let fields = properties.fields()?;
        let hosts = fields.text("hosts").unwrap_or_default().split(',').map(str::trim);
        let hosts: Vec<_> = hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect();
        if hosts.is_empty() {
            return Err("missing or empty hosts field from metadata".into());
        }
        let max_idle = fields.integer("maxIdleConnections")?;
        let max_idle = max_idle.and_then(|count| usize::try_from(count).ok());
        let timeout = fields.integer("timeout")?;
        let timeout = timeout.and_then(|millis| u64::try_from(millis).ok());
        Ok(Self {
            hosts,
            max_idle: max_idle.filter(|count| *count > 0).unwrap_or(MAX_IDLE),
            timeout: timeout
                .filter(|millis| *millis > 0)
                .map_or(TIMEOUT, Duration::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_specified_defaults() {
        let settings = Settings::parse(&Properties::from([("hosts", "a:1, b:2")])).unwrap();
        assert_eq!(settings.hosts, ["a:1", "b:2"]);
        assert_eq!((settings.max_idle, settings.timeout), (2, Duration::from_secs(1)));
        let own = [("hosts", "a:1"), ("maxIdleConnections", "7"), ("timeout", "250")];
        let settings = Settings::parse(&Properties::from(own)).unwrap();
        assert_eq!(
            (settings.max_idle, settings.timeout),
            (7, Duration::from_millis(250))
        );
    }

    #[test]
    fn hosts_are_needed() {
        for properties in [Properties::default(), Properties::from([("hosts", " ")])] {
            let error = Settings::parse(&properties).unwrap_err().to_string();
            assert_eq!(error, "missing or empty hosts field from metadata");
        }
    }
}
