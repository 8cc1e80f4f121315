//! Every option of `sentry`, with its default.

use outrigger_kit::duration::GoDuration;

use crate::LogFlags;
use crate::flags::{FlagError, FlagSet, Parsed};
use crate::metrics::{DEFAULT_MAX_SERIES, check_max_series};

/// The command line of the certificate authority, as given. [`Settings`](super::Settings) has what it means.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is the option of the same name, described in `declare`"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "options are independent of each other"
)]
pub struct Flags {
    pub mode: String,
    pub config: String,
    pub port: i64,
    pub listen_address: String,
    pub healthz_port: i64,
    pub healthz_listen_address: String,
    pub metrics_port: String,
    pub metrics_listen_address: String,
    pub metrics_max_series: i64,
    pub enable_metrics: bool,
    pub log: LogFlags,
    pub kubeconfig: Option<String>,
    pub trust_domain: String,
    pub issuer_credentials: String,
    pub issuer_ca_filename: String,
    pub issuer_certificate_filename: String,
    pub issuer_key_filename: String,
    pub jwt_enabled: bool,
    pub jwt_key_filename: String,
    pub jwks_filename: String,
    pub jwt_issuer: Option<String>,
    pub jwt_signing_algorithm: String,
    pub jwt_key_id: Option<String>,
    pub jwt_ttl: GoDuration,
    pub oidc_enabled: bool,
    pub oidc_server_listen_address: String,
    pub oidc_server_listen_port: i64,
    pub oidc_server_tls_enabled: bool,
    pub oidc_server_tls_cert_file: Option<String>,
    pub oidc_server_tls_key_file: Option<String>,
    pub oidc_jwks_uri: Option<String>,
    pub oidc_path_prefix: Option<String>,
    pub oidc_allowed_hosts: Vec<String>,
    pub version: bool,
}

// === impl Flags ===

impl Default for Flags {
    fn default() -> Self {
        Self {
            mode: "standalone".to_owned(),
            config: "daprsystem".to_owned(),
            port: 50001,
            listen_address: String::new(),
            healthz_port: 8080,
            healthz_listen_address: String::new(),
            metrics_port: "9090".to_owned(),
            metrics_listen_address: "0.0.0.0".to_owned(),
            metrics_max_series: DEFAULT_MAX_SERIES,
            enable_metrics: true,
            log: LogFlags::default(),
            kubeconfig: None,
            trust_domain: "localhost".to_owned(),
            issuer_credentials: "/var/run/secrets/dapr.io/credentials".to_owned(),
            issuer_ca_filename: "ca.crt".to_owned(),
            issuer_certificate_filename: "issuer.crt".to_owned(),
            issuer_key_filename: "issuer.key".to_owned(),
            jwt_enabled: false,
            jwt_key_filename: "jwt.key".to_owned(),
            jwks_filename: "jwks.json".to_owned(),
            jwt_issuer: None,
            jwt_signing_algorithm: "RS256".to_owned(),
            jwt_key_id: None,
            jwt_ttl: GoDuration::from_secs(24 * 3600),
            oidc_enabled: false,
            oidc_server_listen_address: "localhost".to_owned(),
            oidc_server_listen_port: 9080,
            oidc_server_tls_enabled: true,
            oidc_server_tls_cert_file: None,
            oidc_server_tls_key_file: None,
            oidc_jwks_uri: None,
            oidc_path_prefix: None,
            oidc_allowed_hosts: Vec::new(),
            version: false,
        }
    }
}

impl Flags {
    /// Reads the arguments of the program, without its name.
    ///
    /// # Errors
    /// See [`FlagError`]: the usage, or an unknown option or bad value.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Parsed<Self>, FlagError> {
        let mut flags = Self::default();
        let mut set = FlagSet::new("sentry");
        flags.declare(&mut set);
        let notices = set.parse(args)?;
        check_max_series(flags.metrics_max_series)?;
        Ok(Parsed { flags, notices })
    }

    /// Every option with its type and default, for the golden file.
    #[must_use]
    pub fn table() -> String {
        let mut flags = Self::default();
        let mut set = FlagSet::new("sentry");
        flags.declare(&mut set);
        set.table()
    }

    #[rustfmt::skip]
    fn declare<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.text("mode", &mut self.mode, "where the authority runs: standalone or kubernetes");
        set.text("config", &mut self.config, "path of a Configuration file, or its name in kubernetes mode");
        set.integer("port", &mut self.port, "port of the gRPC server");
        set.text("listen-address", &mut self.listen_address, "address of the gRPC server; empty for all");
        set.integer("healthz-port", &mut self.healthz_port, "port of the health server");
        set.text("healthz-listen-address", &mut self.healthz_listen_address, "address of the health server; empty for all");
        set.bool("enable-metrics", &mut self.enable_metrics, "start the metrics server");
        set.text("metrics-port", &mut self.metrics_port, "port of the metrics server");
        set.text("metrics-listen-address", &mut self.metrics_listen_address, "address of the metrics server");
        set.integer("metrics-max-series", &mut self.metrics_max_series, "most series of a metric; what is beyond is counted in one; 0 for no limit");
        self.log.declare(set);
        set.optional_text("kubeconfig", &mut self.kubeconfig, "path of a kubeconfig file");
        set.text("trust-domain", &mut self.trust_domain, "trust domain of the control plane");

        set.text("issuer-credentials", &mut self.issuer_credentials, "directory of the issuer's files");
        set.text("issuer-ca-filename", &mut self.issuer_ca_filename, "file of the trust anchors");
        set.text("issuer-certificate-filename", &mut self.issuer_certificate_filename, "file of the issuer certificate");
        set.text("issuer-key-filename", &mut self.issuer_key_filename, "file of the issuer key");

        set.bool("jwt-enabled", &mut self.jwt_enabled, "issue JWTs besides certificates");
        set.text("jwt-key-filename", &mut self.jwt_key_filename, "file of the JWT signing key, if absolute");
        set.text("jwks-filename", &mut self.jwks_filename, "file of the JWT key set, if absolute");
        set.optional_text("jwt-issuer", &mut self.jwt_issuer, "issuer claim of JWTs");
        set.text("jwt-signing-algorithm", &mut self.jwt_signing_algorithm, "signing algorithm of a given JWT key");
        set.optional_text("jwt-key-id", &mut self.jwt_key_id, "key id in the header of JWTs");
        set.duration("jwt-ttl", &mut self.jwt_ttl, "lifetime of JWTs");

        set.bool("oidc-enabled", &mut self.oidc_enabled, "start the OIDC server");
        set.text("oidc-server-listen-address", &mut self.oidc_server_listen_address, "address of the OIDC server");
        set.integer("oidc-server-listen-port", &mut self.oidc_server_listen_port, "port of the OIDC server");
        set.bool("oidc-server-tls-enabled", &mut self.oidc_server_tls_enabled, "serve OIDC over TLS");
        set.optional_text("oidc-server-tls-cert-file", &mut self.oidc_server_tls_cert_file, "certificate of the OIDC server");
        set.optional_text("oidc-server-tls-key-file", &mut self.oidc_server_tls_key_file, "key of the OIDC server");
        set.optional_text("oidc-jwks-uri", &mut self.oidc_jwks_uri, "address of the key set in the discovery document");
        set.optional_text("oidc-path-prefix", &mut self.oidc_path_prefix, "prefix of all OIDC paths");
        set.list("oidc-allowed-hosts", &mut self.oidc_allowed_hosts, "hosts that may be asked for; none for all");
        set.bool("version", &mut self.version, "print the version and exit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_file_shows_the_options() {
        assert_eq!(
            Flags::table(),
            include_str!("../../golden/sentry-flags.txt"),
            "run `cargo xtask golden` and look at the change"
        );
    }

    #[test]
    fn every_option_of_the_sheet_is_known() {
        let parsed = Flags::parse([]).unwrap();
        assert_eq!(parsed.flags, Flags::default());
        let with_value = "mode config port listen-address healthz-port healthz-listen-address metrics-port \
            metrics-listen-address metrics-max-series log-level log-file kubeconfig trust-domain issuer-credentials issuer-ca-filename \
            issuer-certificate-filename issuer-key-filename jwt-key-filename jwks-filename jwt-issuer \
            jwt-signing-algorithm jwt-key-id oidc-server-listen-address oidc-server-listen-port \
            oidc-server-tls-cert-file oidc-server-tls-key-file oidc-jwks-uri oidc-path-prefix oidc-allowed-hosts";
        for name in with_value.split_whitespace() {
            assert!(
                Flags::parse([format!("-{name}"), "1".to_owned()]).is_ok(),
                "{name}"
            );
        }
        for name in [
            "enable-metrics",
            "log-as-json",
            "jwt-enabled",
            "oidc-enabled",
            "oidc-server-tls-enabled",
        ] {
            assert!(Flags::parse([format!("--{name}=false")]).is_ok(), "{name}");
        }
        assert_eq!(
            Flags::parse(["--jwt-ttl=1h".to_owned()]).unwrap().flags.jwt_ttl,
            GoDuration::from_secs(3600)
        );
        assert_eq!(Flags::parse(["--nope".to_owned()]).unwrap_err().exit_code(), 2);
    }
}
