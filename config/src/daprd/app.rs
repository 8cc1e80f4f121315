//! The app next to the sidecar.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Flags, SettingsError};

/// The app next to the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// Port it listens on; 0 when there is no app.
    pub port: u16,
    /// Protocol it speaks.
    pub protocol: AppProtocol,
    /// Host it listens on.
    pub channel_address: String,
    /// Calls in flight to it at most; `None` is without limit.
    pub max_concurrency: Option<NonZeroUsize>,
    /// Token it is sent with each call.
    pub api_token: Option<String>,
    /// Its health probes; `None` when it always counts as healthy.
    pub health: Option<AppHealth>,
    /// Longest wait for its word on an input binding.
    pub binding_options_timeout: Duration,
}

/// What an app speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS that is not verified.
    Https,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS that is not verified.
    Grpcs,
}

/// How the health of an app is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppHealth {
    /// Path of the probe, for HTTP apps; starts with `/`.
    pub path: String,
    /// Time between probes.
    pub interval: Duration,
    /// Longest probe, at most the interval.
    pub timeout: Duration,
    /// Failures after which the app counts as unhealthy, at least 1.
    pub threshold: u32,
}

/// App endpoints that are not called at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisabledInit {
    /// `/dapr/config` is not called.
    pub config: bool,
    /// `/dapr/subscribe` is not called.
    pub subscribe: bool,
}

// === impl AppSettings ===

impl AppSettings {
    /// Whether there is an app to call.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.port != 0
    }
}

// === impl AppProtocol ===

impl AppProtocol {
    /// The protocol with this name, in any case; empty is `http`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "h2c" => Some(Self::H2c),
            "grpc" => Some(Self::Grpc),
            "grpcs" => Some(Self::Grpcs),
            _ => None,
        }
    }

    /// The name of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// Whether the app is called by HTTP requests, not by gRPC.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::H2c)
    }

    /// Whether the app is called over TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }
}

// === impl DisabledInit ===

impl DisabledInit {
    pub(super) fn new(names: &[String]) -> Result<Self, SettingsError> {
        let mut disabled = Self::default();
        for name in names {
            match name.trim().to_ascii_lowercase().as_str() {
                "config" => disabled.config = true,
                "subscribe" => disabled.subscribe = true,
                _ => return Err(SettingsError::DisabledInit(name.clone())),
            }
        }
        Ok(disabled)
    }
}

pub(super) fn app_protocol(flags: &Flags) -> Result<AppProtocol, SettingsError> {
    let named = AppProtocol::from_name(&flags.app_protocol);
    let protocol = named.ok_or_else(|| SettingsError::AppProtocol(flags.app_protocol.clone()))?;
    Ok(match (flags.app_ssl, protocol) {
        (true, AppProtocol::Http) => AppProtocol::Https,
        (true, AppProtocol::Grpc) => AppProtocol::Grpcs,
        (_, protocol) => protocol,
    })
}

pub(super) fn app_health(flags: &Flags) -> Result<Option<AppHealth>, SettingsError> {
    if !flags.enable_app_health_check {
        return Ok(None);
    }
    let positive = |number: i64, default: u64| match u64::try_from(number) {
        Ok(number) if number > 0 => number,
        _ => default,
    };
    let interval = Duration::from_secs(positive(flags.app_health_probe_interval, 5));
    let timeout = Duration::from_millis(positive(flags.app_health_probe_timeout, 500));
    if timeout > interval {
        return Err(SettingsError::HealthTimeout);
    }
    let path = match flags.app_health_check_path.as_str() {
        rooted if rooted.starts_with('/') => rooted.to_owned(),
        relative => format!("/{relative}"),
    };
    let threshold = u32::try_from(positive(flags.app_health_threshold, 3)).unwrap_or(u32::MAX);
    Ok(Some(AppHealth {
        path,
        interval,
        timeout,
        threshold,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daprd::Settings;
    use crate::env::EmptyEnv;

    fn app(args: &[&str]) -> AppSettings {
        let given = ["--app-id", "a1"].into_iter().chain(args.iter().copied());
        let parsed = Flags::parse(given.map(str::to_owned)).unwrap();
        Settings::new(parsed.flags, &EmptyEnv).unwrap().app
    }

    #[test]
    fn the_app_protocol_has_names_in_any_case() {
        for (name, ssl, expected) in [
            ("", false, AppProtocol::Http),
            ("HTTPS", false, AppProtocol::Https),
            ("h2c", true, AppProtocol::H2c),
            ("http", true, AppProtocol::Https),
            ("gRPC", true, AppProtocol::Grpcs),
            ("grpcs", true, AppProtocol::Grpcs),
        ] {
            let read = app(&[&format!("--app-protocol={name}"), &format!("--app-ssl={ssl}")]);
            assert_eq!(read.protocol, expected);
            assert_eq!(AppProtocol::from_name(expected.as_str()), Some(expected));
        }
    }

    #[test]
    fn health_probes_fall_back_to_their_defaults() {
        let read = app(&[
            "--enable-app-health-check",
            "--app-health-check-path=ready",
            "--app-health-probe-interval=0",
            "--app-health-probe-timeout=-5",
            "--app-health-threshold=0",
        ]);
        let expected = AppHealth {
            path: "/ready".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            threshold: 3,
        };
        assert_eq!(read.health, Some(expected));
        let unprobed = app(&["--app-health-probe-timeout=100000"]);
        assert_eq!(unprobed.health, None);
    }
}
