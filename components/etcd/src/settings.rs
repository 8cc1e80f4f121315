//! The settings of a component. Source: specification, state stores 12.

use std::fmt;

use outrigger_component::Properties;
use outrigger_svc::BoxError;

/// Where etcd is, and what is kept there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `host:port`, one at least.
    pub(crate) endpoints: Vec<String>,
    pub(crate) key_prefix: String,
    pub(crate) tls: Option<TlsSettings>,
    /// The most operations of a transaction.
    pub(crate) max_operations: usize,
}

/// Certificates and a key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Port of an endpoint that names none.
const PORT: u16 = 2379;

/// What etcd itself allows unless it is told otherwise.
const MAX_OPERATIONS: usize = 128;

// === impl Settings ===

impl Settings {
    pub(crate) fn parse(properties: &Properties) -> Result<Self, BoxError> {
        let fields = properties.fields()?;
        let text = |name| fields.text(name).unwrap_or_default().to_owned();
        let endpoints: Vec<_> = text("endpoints").split(',').filter_map(endpoint).collect();
        if endpoints.is_empty() {
            return Err("endpoints required".into());
        }
        let tls = fields
            .boolean("tlsEnable")
            .unwrap_or_default()
            .then(|| TlsSettings {
                ca: text("ca"),
                certificate: text("cert"),
                key: text("key"),
            });
        if tls.as_ref().is_some_and(TlsSettings::is_incomplete) {
            return Err("tls authentication information is incomplete".into());
        }
        let most = fields
            .integer("maxTxnOps")?
            .and_then(|most| usize::try_from(most).ok());
        Ok(Self {
            endpoints,
            key_prefix: text("keyPrefixPath"),
            tls,
            max_operations: most.filter(|most| *most > 0).unwrap_or(MAX_OPERATIONS),
        })
    }
}

// === impl TlsSettings ===

impl TlsSettings {
    fn is_incomplete(&self) -> bool {
        self.ca.is_empty() || self.certificate.is_empty() || self.key.is_empty()
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

/// `host:port` of an endpoint, which may have a scheme in front.
fn endpoint(text: &str) -> Option<String> {
    let text = text.trim();
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let address = address.trim_end_matches('/');
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    match (address.is_empty(), has_port) {
        (true, _) => None,
        (false, true) => Some(address.to_owned()),
        (false, false) => Some(format!("{address}:{PORT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_may_have_schemes_and_need_no_ports() {
        let properties = Properties::from([("endpoints", "a:1, http://b,https://[::1]:3/ ,")]);
        let settings = Settings::parse(&properties).unwrap();
        assert_eq!(settings.endpoints, ["a:1", "b:2379", "[::1]:3"]);
        assert_eq!((settings.key_prefix.as_str(), settings.max_operations), ("", 128));
        assert_eq!(settings.tls, None);
    }

    #[test]
    fn wrong_settings_are_refused_with_the_specified_texts() {
        let error = |properties: Properties| Settings::parse(&properties).unwrap_err().to_string();
        assert_eq!(error(Properties::from([("endpoints", "")])), "endpoints required");
        assert_eq!(error(Properties::default()), "endpoints required");
        let incomplete = [
            ("endpoints", "a"),
            ("tlsEnable", "Yes"),
            ("ca", "x"),
            ("cert", "y"),
        ];
        let incomplete = Properties::from(incomplete);
        assert_eq!(error(incomplete), "tls authentication information is incomplete");
    }

    #[test]
    fn keys_are_not_shown() {
        let settings = [
            ("endpoints", "a"),
            ("tlsEnable", "1"),
            ("ca", "x"),
            ("cert", "y"),
            ("key", "hidden"),
        ];
        let settings = Settings::parse(&Properties::from(settings)).unwrap();
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
