//! What the options and the environment of the certificate authority mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_kit::number::{self, ParseNumberError};

use super::Flags;
use crate::env::{self, Env};
use crate::{Mode, Namespace};

/// Everything the certificate authority knows before it reads a file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Standalone or in a cluster.
    pub mode: Mode,
    /// Own namespace, which is that of the control plane.
    pub namespace: String,
    /// Path of the Configuration file, or its name in kubernetes mode.
    pub configuration: String,
    /// Trust domain of the control plane.
    pub trust_domain: String,
    /// The gRPC server.
    pub grpc: Listener,
    /// The health server.
    pub healthz: Listener,
    /// The metrics server; `None` for no such server.
    pub metrics: Option<Listener>,
    /// Most series of a metric; 0 for no limit.
    pub metrics_max_series: usize,
    /// Files of the authority.
    pub credentials: CredentialPaths,
    /// How JWTs are issued; `None` when they are not.
    pub jwt: Option<Jwt>,
    /// The OIDC server; `None` for no such server.
    pub oidc: Option<Oidc>,
    /// Path of a kubeconfig file; empty for none.
    pub kubeconfig: String,
    /// Whether uid 0 is allowed in kubernetes mode.
    pub allow_root: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address to bind; empty is all.
    pub address: String,
    /// Port to bind; 0 takes a free one.
    pub port: u16,
}

/// Files of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialPaths {
    /// Trust anchors, PEM.
    pub anchors: PathBuf,
    /// Issuer certificate chain, PEM.
    pub issuer_certificate: PathBuf,
    /// Issuer key, PEM.
    pub issuer_key: PathBuf,
    /// JWT signing key, PEM.
    pub jwt_key: PathBuf,
    /// JWT key set, JSON.
    pub jwks: PathBuf,
}

/// How JWTs are issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Issuer claim; `None` leaves it out.
    pub issuer: Option<String>,
    /// Signing algorithm of a key that is provided; a generated one is for RS256.
    pub signing_algorithm: String,
    /// Key id in the header; `None` for the thumbprint.
    pub key_id: Option<String>,
    /// Lifetime.
    pub ttl: Duration,
}

/// The OIDC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Where it listens.
    pub listener: Listener,
    /// Its certificate and key; `None` serves plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Address of the key set in the discovery document; `None` derives it.
    pub jwks_uri: Option<String>,
    /// Prefix of all paths, without a slash at its end; empty for none.
    pub path_prefix: String,
    /// Hosts that may be asked for; empty allows all.
    pub allowed_hosts: Vec<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
}

/// Why options make no sense together. Log as fatal and exit with 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither standalone nor kubernetes.
    #[error("Invalid options: invalid mode: {0}")]
    Mode(String),
    /// An issuer claim for JWTs that are not issued.
    #[error("Invalid options: jwt-issuer cannot be set when jwt-enabled is false")]
    JwtIssuer,
    /// A lifetime that no JWT can have.
    #[error("Invalid options: jwt-ttl must be positive, got {0}")]
    JwtTtl(String),
    /// TLS for OIDC without a certificate or key.
    #[error(
        "Invalid options: {0} is required when OIDC HTTP server is enabled (unless oidc-server-tls-enabled is false)"
    )]
    OidcTlsRequired(&'static str),
    /// A certificate without key, or a key without certificate.
    #[error("Invalid options: both OIDC TLS certificate and key must be provided if one is specified")]
    OidcTlsPair,
    /// A number that is no port.
    #[error("Invalid options: invalid value for '{option}': {number} is not a port, which is 0 to 65535")]
    PortRange {
        /// The option.
        option: &'static str,
        /// The number.
        number: i64,
    },
    /// A port that is no number.
    #[error("Invalid options: invalid value for '{option}': {source}")]
    PortNumber {
        /// The option.
        option: &'static str,
        /// What is wrong with the number.
        source: ParseNumberError,
    },
    /// Kubernetes mode needs to know its namespace.
    #[error("'NAMESPACE' environment variable not set")]
    NamespaceUnset,
    /// Kubernetes mode needs to know its namespace.
    #[error("'NAMESPACE' environment variable is empty")]
    NamespaceEmpty,
}

// === impl Settings ===

impl Settings {
    /// Reads the environment once and checks the options.
    ///
    /// # Errors
    /// The first option that makes no sense.
    pub fn new(flags: Flags, environment: &impl Env) -> Result<Self, SettingsError> {
        let mode = Mode::from_name(&flags.mode).ok_or_else(|| SettingsError::Mode(flags.mode.clone()))?;
        if flags.jwt_issuer.is_some() && !flags.jwt_enabled {
            return Err(SettingsError::JwtIssuer);
        }
        let jwt = jwt(&flags)?;
        let oidc = oidc(&flags)?;
        let namespace = namespace(mode, environment)?;
        let metrics_port = number::atoi(&flags.metrics_port).map_err(|source| SettingsError::PortNumber {
            option: "metrics-port",
            source,
        })?;
        let metrics = Listener::new("metrics-port", &flags.metrics_listen_address, metrics_port)?;
        Ok(Self {
            mode,
            namespace,
            grpc: Listener::new("port", &flags.listen_address, flags.port)?,
            healthz: Listener::new("healthz-port", &flags.healthz_listen_address, flags.healthz_port)?,
            metrics: flags.enable_metrics.then_some(metrics),
            metrics_max_series: usize::try_from(flags.metrics_max_series).unwrap_or_default(),
            credentials: CredentialPaths::new(&flags),
            jwt,
            oidc,
            kubeconfig: flags.kubeconfig.unwrap_or_else(|| kubeconfig(environment)),
            configuration: flags.config,
            trust_domain: flags.trust_domain,
            allow_root: environment
                .get(env::DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK)
                .as_deref()
                == Some("true"),
        })
    }
}

// === impl Listener ===

impl Listener {
    fn new(option: &'static str, address: &str, number: i64) -> Result<Self, SettingsError> {
        let port = u16::try_from(number).map_err(|_| SettingsError::PortRange { option, number })?;
        Ok(Self {
            address: address.to_owned(),
            port,
        })
    }
}

// === impl CredentialPaths ===

impl CredentialPaths {
    fn new(flags: &Flags) -> Self {
        let directory = Path::new(&flags.issuer_credentials);
        // Joining an absolute path replaces the directory, as wanted. Relative JWT names are ignored.
        let absolute_or = |name: &str, fallback: &str| {
            directory.join(if Path::new(name).is_absolute() {
                name
            } else {
                fallback
            })
        };
        Self {
            anchors: directory.join(&flags.issuer_ca_filename),
            issuer_certificate: directory.join(&flags.issuer_certificate_filename),
            issuer_key: directory.join(&flags.issuer_key_filename),
            jwt_key: absolute_or(&flags.jwt_key_filename, "jwt.key"),
            jwks: absolute_or(&flags.jwks_filename, "jwks.json"),
        }
    }
}

fn jwt(flags: &Flags) -> Result<Option<Jwt>, SettingsError> {
    if !flags.jwt_enabled {
        return Ok(None);
    }
    let ttl = flags
        .jwt_ttl
        .positive()
        .ok_or_else(|| SettingsError::JwtTtl(flags.jwt_ttl.to_string()))?;
    Ok(Some(Jwt {
        issuer: flags.jwt_issuer.clone(),
        signing_algorithm: flags.jwt_signing_algorithm.clone(),
        key_id: flags.jwt_key_id.clone(),
        ttl,
    }))
}

fn oidc(flags: &Flags) -> Result<Option<Oidc>, SettingsError> {
    let (certificate, key) = (&flags.oidc_server_tls_cert_file, &flags.oidc_server_tls_key_file);
    if flags.oidc_enabled && flags.oidc_server_tls_enabled {
        for (file, option) in [
            (certificate, "oidc-server-tls-cert-file"),
            (key, "oidc-server-tls-key-file"),
        ] {
            if file.is_none() {
                return Err(SettingsError::OidcTlsRequired(option));
            }
        }
    }
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
        (None, None) => None,
        _ => return Err(SettingsError::OidcTlsPair),
    };
    if !(flags.oidc_enabled && flags.jwt_enabled) {
        return Ok(None);
    }
    let prefix = flags.oidc_path_prefix.as_deref().unwrap_or_default();
    Ok(Some(Oidc {
        listener: Listener::new(
            "oidc-server-listen-port",
            &flags.oidc_server_listen_address,
            flags.oidc_server_listen_port,
        )?,
        tls,
        jwks_uri: flags.oidc_jwks_uri.clone(),
        path_prefix: prefix.strip_suffix('/').unwrap_or(prefix).to_owned(),
        allowed_hosts: flags.oidc_allowed_hosts.clone(),
    }))
}

fn namespace(mode: Mode, environment: &impl Env) -> Result<String, SettingsError> {
    let variable = environment.get(env::NAMESPACE);
    match (mode, variable.as_deref()) {
        (Mode::Kubernetes, None) => Err(SettingsError::NamespaceUnset),
        (Mode::Kubernetes, Some("")) => Err(SettingsError::NamespaceEmpty),
        (_, variable) => Ok(Namespace::new(variable).name().to_owned()),
    }
}

fn kubeconfig(environment: &impl Env) -> String {
    environment
        .get_filled(env::HOME)
        .map_or_else(String::new, |home| format!("{home}/.kube/config"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::EmptyEnv;

    fn settings_in(environment: &impl Env, args: &[&str]) -> Result<Settings, SettingsError> {
        let parsed = Flags::parse(args.iter().map(|arg| (*arg).to_owned())).unwrap();
        Settings::new(parsed.flags, environment)
    }

    fn settings(args: &[&str]) -> Settings {
        settings_in(&EmptyEnv, args).unwrap()
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let settings = settings(&[]);
        assert_eq!((settings.grpc.port, settings.healthz.port), (50001, 8080));
        assert_eq!(settings.namespace, "default");
        assert_eq!(settings.kubeconfig, "");
        assert_eq!(settings.jwt, None);
        assert_eq!(settings.oidc, None);
        assert_eq!(
            settings.credentials.anchors,
            Path::new("/var/run/secrets/dapr.io/credentials/ca.crt")
        );
    }

    #[test]
    fn absolute_names_override_the_directory_and_relative_jwt_names_are_ignored() {
        let paths = settings(&[
            "--issuer-credentials=/c",
            "--issuer-key-filename=/k/issuer.key",
            "--issuer-ca-filename=my.crt",
            "--jwt-key-filename=my.key",
            "--jwks-filename=/j/my.json",
        ])
        .credentials;
        assert_eq!(paths.issuer_key, Path::new("/k/issuer.key"));
        assert_eq!(paths.anchors, Path::new("/c/my.crt"));
        assert_eq!(paths.jwt_key, Path::new("/c/jwt.key"));
        assert_eq!(paths.jwks, Path::new("/j/my.json"));
    }

    #[test]
    fn mistakes_have_the_specified_texts() {
        let oidc = "is required when OIDC HTTP server is enabled (unless oidc-server-tls-enabled is false)";
        let table: [(&[&str], String); 8] = [
            (&["--mode=x"], "Invalid options: invalid mode: x".to_owned()),
            (
                &["--jwt-issuer=i"],
                "Invalid options: jwt-issuer cannot be set when jwt-enabled is false".to_owned(),
            ),
            (
                &["--oidc-enabled"],
                format!("Invalid options: oidc-server-tls-cert-file {oidc}"),
            ),
            (
                &["--oidc-enabled", "--oidc-server-tls-cert-file=c"],
                format!("Invalid options: oidc-server-tls-key-file {oidc}"),
            ),
            (
                &["--oidc-server-tls-key-file=k"],
                "Invalid options: both OIDC TLS certificate and key must be provided if one is specified"
                    .to_owned(),
            ),
            (
                &["--mode=kubernetes"],
                "'NAMESPACE' environment variable not set".to_owned(),
            ),
            (
                &["--jwt-enabled", "--jwt-ttl=0"],
                "Invalid options: jwt-ttl must be positive, got 0s".to_owned(),
            ),
            (
                &["--port=70000"],
                "Invalid options: invalid value for 'port': 70000 is not a port, which is 0 to 65535"
                    .to_owned(),
            ),
        ];
        for (args, expected) in table {
            assert_eq!(settings_in(&EmptyEnv, args).unwrap_err().to_string(), expected);
        }
        let empty = settings_in(&[("NAMESPACE", "")], &["--mode=kubernetes"]).unwrap_err();
        assert_eq!(empty.to_string(), "'NAMESPACE' environment variable is empty");
    }

    #[test]
    fn oidc_runs_only_with_jwt() {
        assert_eq!(
            settings(&["--oidc-enabled", "--oidc-server-tls-enabled=false"]).oidc,
            None
        );
        let oidc = settings(&[
            "--jwt-enabled",
            "--oidc-enabled",
            "--oidc-server-tls-enabled=false",
            "--oidc-server-tls-cert-file=c",
            "--oidc-server-tls-key-file=k",
            "--oidc-path-prefix=/",
        ])
        .oidc
        .unwrap();
        assert!(
            oidc.tls.is_some(),
            "given files are used even when TLS is not asked for"
        );
        assert_eq!(oidc.path_prefix, "");
    }

    #[test]
    fn a_home_directory_gives_a_kubeconfig() {
        assert_eq!(
            settings_in(&[("HOME", "/h")], &[]).unwrap().kubeconfig,
            "/h/.kube/config"
        );
        assert_eq!(
            settings_in(&[("HOME", "/h")], &["--kubeconfig="])
                .unwrap()
                .kubeconfig,
            ""
        );
    }
}
