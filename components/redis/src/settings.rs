//! The settings that everything on Redis shares, read strictly.
//!
//! Source: specification, state stores 2.1; components 3.5, second decoder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_component::{Properties, PropertyError};
use outrigger_kit::duration::parse_go;
use outrigger_kit::number::atoi;
use outrigger_kit::quote::go_quote;

/// What a component of this crate is configured with.
///
/// The debug output names no setting: users and passwords are among them.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `redisHost` as it was written, for messages.
    pub(crate) host: String,
    /// `host:port` of the server, of some nodes of the cluster, or of the sentinels.
    pub(crate) addresses: Vec<Arc<str>>,
    pub(crate) shape: Shape,
    pub(crate) login: Login,
    pub(crate) database: i64,
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) retries: Retries,
    pub(crate) dial_timeout: Option<Duration>,
    /// How long an answer may take; the time to write is in it.
    pub(crate) answer_timeout: Option<Duration>,
    /// Most connections to one server; none is one for each thread.
    pub(crate) pool_size: Option<usize>,
    /// How old a connection may become.
    pub(crate) max_age: Option<Duration>,
    /// Expiry in seconds of values whose save names none.
    pub(crate) ttl: Option<i64>,
    pub(crate) query_indexes: String,
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One server.
    Node,
    /// Servers that share the keys.
    Cluster,
    /// A master that sentinels know, and their own login.
    Sentinel { master: String, login: Login },
}

/// User and password, either of them empty for none.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What TLS is to look like.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) skip_verify: bool,
    /// PEM texts of certificate and key.
    pub(crate) client: Option<(String, String)>,
}

/// How often and when a command is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retries {
    pub(crate) limit: u32,
    pub(crate) min_pause: Duration,
    pub(crate) max_pause: Duration,
}

/// The family that a component belongs to, which the default pauses depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    State,
    Configuration,
    Lock,
}

/// Why the settings are none.
#[derive(Debug, thiserror::Error)]
#[error("redis client configuration error: {0}")]
pub(crate) struct SettingsError(String);

/// The strict decoder.
struct Strict<'a>(&'a Properties);

const DEFAULT_PORT: &str = "6379";
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(3);
const RETRIES: i64 = 3;

// === impl Settings ===

impl Settings {
    /// Reads the settings of a component.
    ///
    /// # Errors
    /// A text that is not of its kind, ports that contradict each other, a login by tokens.
    pub(crate) fn read(properties: &Properties, family: Family) -> Result<Self, SettingsError> {
        let strict = Strict(properties);
        let host = strict.text("redisHost");
        let cluster = match strict.text("redisType") {
            "" | "node" => false,
            "cluster" => true,
            other => {
                let other = go_quote(other);
                return Err(SettingsError(format!(
                    "redisType {other} is not one of node, cluster"
                )));
            }
        };
        let login = Login::read(&strict, "redisUsername", "redisPassword");
        strict.refuse_tokens(&login)?;
        let sentinels = Login::read(&strict, "sentinelUsername", "sentinelPassword");
        let failover = strict.boolean("failover")?;
        let shape = match (failover, cluster) {
            // Sentinels know one master, whatever the type says of it.
            (true, _) => Shape::Sentinel {
                master: strict.text("sentinelMasterName").to_owned(),
                login: sentinels,
            },
            (false, true) => Shape::Cluster,
            (false, false) => Shape::Node,
        };
        let read_timeout = strict.timeout("readTimeout", READ_TIMEOUT)?;
        let write_timeout = strict.duration("writeTimeout")?;
        let answer_timeout = read_timeout.map(|read| read + write_timeout.unwrap_or_default());
        // Connections are shared and not kept in stock; what says how many wait for how long is only read.
        strict.integer("minIdleConns")?;
        for name in ["poolTimeout", "idleTimeout", "idleCheckFrequency"] {
            strict.duration(name)?;
        }
        let ttl = match strict.given("ttlInSeconds") {
            Some(_) => strict.integer("ttlInSeconds")?,
            None => None,
        };
        Ok(Self {
            host: host.to_owned(),
            addresses: strict.addresses(host)?,
            shape,
            login,
            database: if cluster && !failover {
                0
            } else {
                strict.integer("redisDB")?.unwrap_or(0)
            },
            tls: strict.tls()?,
            retries: Retries::read(&strict, family)?,
            dial_timeout: strict.timeout("dialTimeout", DIAL_TIMEOUT)?,
            answer_timeout,
            pool_size: strict
                .integer("poolSize")?
                .and_then(|size| usize::try_from(size).ok())
                .filter(|&size| size > 0),
            max_age: strict.duration("maxConnAge")?.filter(|age| !age.is_zero()),
            ttl,
            query_indexes: strict.text("queryIndexes").to_owned(),
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

// === impl Login ===

impl Login {
    fn read(strict: &Strict<'_>, user: &str, password: &str) -> Self {
        Self {
            user: strict.text(user).to_owned(),
            password: strict.text(password).to_owned(),
        }
    }

    /// Whether there is nothing to log in with.
    pub(crate) const fn is_empty(&self) -> bool {
        self.user.is_empty() && self.password.is_empty()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

// === impl Retries ===

impl Retries {
    fn read(strict: &Strict<'_>, family: Family) -> Result<Self, SettingsError> {
        let (min, max) = match family {
            Family::Configuration => (Duration::from_millis(8), Duration::from_secs(2)),
            Family::State | Family::Lock => (Duration::from_secs(2), Duration::from_millis(512)),
        };
        let limit = match strict.given("redisMaxRetries") {
            Some(_) => strict.integer("redisMaxRetries")?,
            None => strict.integer("maxRetries")?,
        };
        let min_pause = match strict.given("redisMinRetryInterval") {
            Some(_) => strict.timeout("redisMinRetryInterval", Duration::from_millis(8))?,
            None => match strict.integer("maxRetryBackoff")? {
                None => Some(min),
                Some(0) => Some(Duration::from_millis(8)),
                Some(nanos) => u64::try_from(nanos).ok().map(Duration::from_nanos),
            },
        };
        let max_pause = match strict.given("redisMaxRetryInterval") {
            Some(_) => strict.timeout("redisMaxRetryInterval", Duration::from_millis(512))?,
            None => Some(max),
        };
        Ok(Self {
            limit: match limit.unwrap_or(RETRIES) {
                0 => 3,
                limit => u32::try_from(limit).unwrap_or(0),
            },
            min_pause: min_pause.unwrap_or_default(),
            max_pause: max_pause.unwrap_or_default(),
        })
    }

    /// The pause before the given retry, counted from 1: the least one doubled each time, with as much chance
    /// added, and at most the greatest one.
    pub(crate) fn pause(&self, retry: u32) -> Duration {
        if self.min_pause.is_zero() {
            return Duration::ZERO;
        }
        let doubled = self
            .min_pause
            .saturating_mul(1_u32.checked_shl(retry.min(16)).unwrap_or(u32::MAX));
        if doubled > self.max_pause {
            return self.max_pause;
        }
        (doubled + doubled.mul_f64(fastrand::f64())).min(self.max_pause)
    }
}

// === impl Strict ===

impl<'a> Strict<'a> {
    fn given(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> &'a str {
        self.given(name).unwrap_or_default()
    }

    /// One of the words that Go takes for a boolean.
    fn boolean(&self, name: &str) -> Result<bool, SettingsError> {
        match self.given(name) {
            None => Ok(false),
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
            Some(text) => {
                let text = go_quote(text);
                let reason = format!("strconv.ParseBool: parsing {text}: invalid syntax");
                Err(SettingsError::value(name, "bool", reason))
            }
        }
    }

    /// A decimal number; an empty text is none.
    fn integer(&self, name: &str) -> Result<Option<i64>, SettingsError> {
        let Some(text) = self.given(name) else {
            return Ok(None);
        };
        match atoi(text) {
            Ok(number) => Ok(Some(number)),
            Err(error) => Err(SettingsError::value(name, "int", error.to_string())),
        }
    }

    /// A Go duration or a whole number of milliseconds; none if it is negative.
    fn duration(&self, name: &str) -> Result<Option<Duration>, SettingsError> {
        let Some(text) = self.given(name) else {
            return Ok(Some(Duration::ZERO));
        };
        if let Ok(millis) = atoi(text) {
            return Ok(u64::try_from(millis).ok().map(Duration::from_millis));
        }
        match parse_go(text) {
            Ok(span) => Ok(u64::try_from(span.as_nanos()).ok().map(Duration::from_nanos)),
            Err(error) => Err(SettingsError::value(name, "duration", error.to_string())),
        }
    }

    /// A duration where 0 is the client's own and a negative one is none.
    fn timeout(&self, name: &str, own: Duration) -> Result<Option<Duration>, SettingsError> {
        let given = self.duration(name)?;
        Ok(given.map(|span| if span.is_zero() { own } else { span }))
    }

    fn tls(&self) -> Result<Option<TlsSettings>, SettingsError> {
        let skip_verify = self.boolean("insecureSkipTLSVerify")?;
        if !self.boolean("enableTLS")? {
            return Ok(None);
        }
        let pair = (self.text("clientCert"), self.text("clientKey"));
        let client = match pair {
            ("", _) | (_, "") => None,
            (certificate, key) => Some((certificate.to_owned(), key.to_owned())),
        };
        Ok(Some(TlsSettings { skip_verify, client }))
    }

    /// Each element with its port, or the common one.
    fn addresses(&self, host: &str) -> Result<Vec<Arc<str>>, SettingsError> {
        let common = match self.given("redisPort") {
            Some(_) => self.integer("redisPort")?.map(|port| port.to_string()),
            None => None,
        };
        let elements = host
            .split(',')
            .map(str::trim)
            .filter(|element| !element.is_empty());
        let mut addresses: Vec<Arc<str>> = Vec::new();
        for element in elements {
            let (name, port) = split(element);
            addresses.push(match (port, &common) {
                (Some(port), Some(common)) if port != common => {
                    return Err(SettingsError(format!(
                        "redis host \"{element}\" already contains port {port}, but redisPort is set to {common}; \
                         either remove the port from redisHost or remove the redisPort setting"
                    )));
                }
                (Some(_), _) => element.into(),
                (None, common) => {
                    let port = common.as_deref().unwrap_or(DEFAULT_PORT);
                    match name.contains(':') && !name.starts_with('[') {
                        true => format!("[{name}]:{port}").into(),
                        false => format!("{name}:{port}").into(),
                    }
                }
            });
        }
        if addresses.is_empty() {
            let port = common.as_deref().unwrap_or(DEFAULT_PORT);
            addresses.push(format!("localhost:{port}").into());
        }
        Ok(addresses)
    }

    /// Logins by tokens are not built in; saying so is better than an error of the server.
    fn refuse_tokens(&self, login: &Login) -> Result<(), SettingsError> {
        let entra = self.boolean("useEntraID")?;
        let oidc = self.boolean("useOIDC")?;
        if entra && !login.is_empty() {
            return Err(SettingsError(
                "redisUsername and redisPassword must be empty when useEntraID is true".to_owned(),
            ));
        }
        for (name, on) in [("useEntraID", entra), ("useOIDC", oidc)] {
            if on {
                return Err(SettingsError(format!("{name} is not supported in this build")));
            }
        }
        Ok(())
    }
}

// === impl SettingsError ===

impl SettingsError {
    fn value(name: &str, kind: &'static str, reason: String) -> Self {
        let error = PropertyError::Value {
            name: name.to_owned(),
            kind,
            reason,
        };
        Self(error.to_string())
    }

    /// What is wrong with something that the settings lead to, such as a certificate.
    pub(crate) fn of(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// The name and the port of `host:port`, where the host may be an IPv6 address with or without brackets.
fn split(element: &str) -> (&str, Option<&str>) {
    match element.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (element, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(pairs: [(&str, &str); N]) -> Result<Settings, String> {
        Settings::read(&Properties::from(pairs), Family::State).map_err(|error| error.to_string())
    }

    fn addresses<const N: usize>(pairs: [(&str, &str); N]) -> String {
        read(pairs).map_or_else(|error| error, |settings| settings.addresses.join(" "))
    }

    #[test]
    fn every_host_has_a_port() {
        assert_eq!(addresses([("redisHost", "redis")]), "redis:6379");
        assert_eq!(addresses([]), "localhost:6379");
        assert_eq!(
            addresses([("redisHost", " a , b:1,, [::1]:2,::1")]),
            "a:6379 b:1 [::1]:2 [::1]:6379"
        );
        assert_eq!(
            addresses([("redisHost", "a,b:7000"), ("redisPort", "7000")]),
            "a:7000 b:7000"
        );
        assert_eq!(
            addresses([("redisHost", "a,b:1"), ("redisPort", "7000")]),
            "redis client configuration error: redis host \"b:1\" already contains port 1, but redisPort is set to \
             7000; either remove the port from redisHost or remove the redisPort setting"
        );
    }

    #[test]
    fn settings_are_read_strictly() {
        let table = [
            (
                "enableTLS",
                "yes",
                "cannot parse 'enableTLS' as bool: strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
            (
                "failover",
                "",
                "cannot parse 'failover' as bool: strconv.ParseBool: parsing \"\": invalid syntax",
            ),
            (
                "redisDB",
                "",
                "cannot parse 'redisDB' as int: strconv.Atoi: parsing \"\": invalid syntax",
            ),
            (
                "redisDB",
                "0x1",
                "cannot parse 'redisDB' as int: strconv.Atoi: parsing \"0x1\": invalid syntax",
            ),
            (
                "dialTimeout",
                "soon",
                "cannot parse 'dialTimeout' as duration: time: invalid duration \"soon\"",
            ),
            (
                "redisType",
                "ring",
                "redisType \"ring\" is not one of node, cluster",
            ),
            ("useOIDC", "true", "useOIDC is not supported in this build"),
            ("useEntraID", "true", "useEntraID is not supported in this build"),
        ];
        for (name, value, expected) in table {
            let error = read([(name, value)]).unwrap_err();
            assert_eq!(error, format!("redis client configuration error: {expected}"));
        }
        let error = read([("useEntraID", "true"), ("redisPassword", "p")]).unwrap_err();
        assert!(
            error.ends_with("must be empty when useEntraID is true"),
            "{error}"
        );
    }

    #[test]
    fn the_shape_follows_the_type_and_the_failover() {
        let shape = |cluster: &str, failover: &str| {
            let pairs = [
                ("redisType", cluster),
                ("failover", failover),
                ("sentinelMasterName", "m"),
            ];
            read(pairs).unwrap().shape
        };
        assert_eq!(shape("node", "false"), Shape::Node);
        assert_eq!(shape("cluster", "0"), Shape::Cluster);
        for cluster in ["node", "cluster"] {
            assert!(matches!(shape(cluster, "true"), Shape::Sentinel { master, .. } if master == "m"));
        }
        assert_eq!(
            read([("redisType", "cluster"), ("redisDB", "3")])
                .unwrap()
                .database,
            0
        );
        assert_eq!(read([("redisDB", "3")]).unwrap().database, 3);
    }

    #[test]
    fn times_are_milliseconds_or_go_durations() {
        let settings = read([("dialTimeout", "250"), ("readTimeout", "-1")]).unwrap();
        assert_eq!(settings.dial_timeout, Some(Duration::from_millis(250)));
        assert_eq!(settings.answer_timeout, None);
        let settings = read([("readTimeout", "1m"), ("writeTimeout", "1s")]).unwrap();
        assert_eq!(settings.dial_timeout, Some(DIAL_TIMEOUT));
        assert_eq!(settings.answer_timeout, Some(Duration::from_secs(61)));
        assert_eq!(read([("maxConnAge", "0")]).unwrap().max_age, None);
    }

    #[test]
    fn old_names_of_the_retries_count_where_the_new_ones_are_absent() {
        let retries = |pairs: [(&str, &str); 2]| read(pairs).unwrap().retries;
        let millis = Duration::from_millis;
        let own = read([]).unwrap().retries;
        assert_eq!(
            (own.limit, own.min_pause, own.max_pause),
            (3, millis(2000), millis(512))
        );
        assert_eq!(own.pause(1), millis(512));
        let old = retries([("maxRetries", "7"), ("maxRetryBackoff", "5000000")]);
        assert_eq!((old.limit, old.min_pause), (7, millis(5)));
        let new = retries([("redisMaxRetries", "-1"), ("maxRetries", "7")]);
        assert_eq!(new.limit, 0);
        let quick = retries([("redisMinRetryInterval", "8"), ("redisMaxRetryInterval", "1s")]);
        for (retry, least) in [(1, 16), (2, 32), (3, 64), (9, 1000)] {
            let pause = quick.pause(retry);
            assert!(
                pause >= millis(least) && pause <= millis(2 * least),
                "{retry}: {pause:?}"
            );
        }
        assert_eq!(
            retries([("redisMinRetryInterval", "-1"), ("x", "")]).pause(3),
            Duration::ZERO
        );
        let configuration = Settings::read(&Properties::default(), Family::Configuration)
            .unwrap()
            .retries;
        assert_eq!(
            (configuration.min_pause, configuration.max_pause),
            (millis(8), millis(2000))
        );
    }

    #[test]
    fn passwords_are_never_shown() {
        let pairs = [
            ("redisPassword", "hidden"),
            ("sentinelPassword", "hidden"),
            ("failover", "true"),
        ];
        let settings = read(pairs).unwrap();
        let shown = format!("{settings:?} {:?} {:?}", settings.login, settings.shape);
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
