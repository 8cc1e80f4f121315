//! What the certificate authority takes from its Configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_kit::duration::{self, ParseDurationError};

use crate::Mode;
use crate::configuration::{Configuration, ConfigurationError, ValidatorSpec};

/// Lifetimes and validators of the certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaConfiguration {
    /// Lifetime of workload certificates; 24 hours by default.
    pub workload_cert_ttl: Duration,
    /// How far certificates are dated back; 15 minutes by default.
    pub allowed_clock_skew: Duration,
    /// Ways for callers to prove who they are, besides those that come with the mode.
    pub validators: Vec<TokenValidator>,
}

/// A validator that the Configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenValidator {
    /// Which one.
    pub kind: ValidatorKind,
    /// Its settings.
    pub options: BTreeMap<String, String>,
}

/// Ways to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidatorKind {
    /// No proof at all.
    Insecure,
    /// A service account token of the cluster.
    Kubernetes,
    /// A JWT of an issuer whose keys are known.
    Jwks,
}

/// Why a Configuration is no good for the certificate authority.
///
/// Log as fatal `loading default config. couldn't find config name "<n>": <text>` and exit with 1.
#[derive(Debug, thiserror::Error)]
pub enum CaConfigurationError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ConfigurationError),
    /// A lifetime that is no Go duration.
    #[error("error parsing WorkloadCertTTL duration: {0}")]
    WorkloadCertTtl(ParseDurationError),
    /// A skew that is no Go duration.
    #[error("error parsing AllowedClockSkew duration: {0}")]
    AllowedClockSkew(ParseDurationError),
    /// A validator that does not exist.
    #[error("invalid token validator name: '{0}'; supported values: 'jwks'")]
    UnknownValidator(String),
    /// A validator that comes with the mode.
    #[error(
        "invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured manually"
    )]
    BuiltInValidator,
}

// === impl CaConfiguration ===

impl CaConfiguration {
    /// Takes what matters from a Configuration.
    ///
    /// # Errors
    /// A duration or validator that makes no sense.
    pub fn new(configuration: Configuration) -> Result<Self, CaConfigurationError> {
        let mut own = Self::default();
        let Some(mtls) = configuration.mtls else {
            return Ok(own);
        };
        if !mtls.workload_cert_ttl.is_empty() {
            let ttl = duration::parse_go(&mtls.workload_cert_ttl);
            own.workload_cert_ttl = ttl.map_err(CaConfigurationError::WorkloadCertTtl)?.to_std();
        }
        if !mtls.allowed_clock_skew.is_empty() {
            let skew = duration::parse_go(&mtls.allowed_clock_skew);
            own.allowed_clock_skew = skew.map_err(CaConfigurationError::AllowedClockSkew)?.to_std();
        }
        let validators = mtls.token_validators.into_iter().map(TokenValidator::new);
        own.validators = validators.collect::<Result<_, _>>()?;
        Ok(own)
    }

    /// Validators that answer in this mode.
    #[must_use]
    pub fn enabled(&self, mode: Mode) -> Vec<ValidatorKind> {
        let built_in = match mode {
            Mode::Kubernetes => Some(ValidatorKind::Kubernetes),
            Mode::Standalone if self.validators.is_empty() => Some(ValidatorKind::Insecure),
            Mode::Standalone => None,
        };
        let configured = self.validators.iter().map(|validator| validator.kind);
        let mut kinds: Vec<_> = built_in.into_iter().chain(configured).collect();
        kinds.dedup();
        kinds
    }

    /// The validator for requests that name none; `None` refuses such requests.
    #[must_use]
    pub const fn default_validator(&self, mode: Mode) -> Option<ValidatorKind> {
        match mode {
            Mode::Kubernetes => Some(ValidatorKind::Kubernetes),
            Mode::Standalone if self.validators.is_empty() => Some(ValidatorKind::Insecure),
            Mode::Standalone => None,
        }
    }
}

impl Default for CaConfiguration {
    fn default() -> Self {
        Self {
            workload_cert_ttl: Duration::from_secs(24 * 3600),
            allowed_clock_skew: Duration::from_secs(15 * 60),
            validators: Vec::new(),
        }
    }
}

// === impl TokenValidator ===

impl TokenValidator {
    fn new(spec: ValidatorSpec) -> Result<Self, CaConfigurationError> {
        match spec.name.to_ascii_lowercase().as_str() {
            "jwks" => Ok(Self {
                kind: ValidatorKind::Jwks,
                options: spec.options,
            }),
            "kubernetes" | "insecure" => Err(CaConfigurationError::BuiltInValidator),
            _ => Err(CaConfigurationError::UnknownValidator(spec.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::EmptyEnv;

    fn read(mtls: &str) -> Result<CaConfiguration, CaConfigurationError> {
        let value = outrigger_kit::yaml::to_json(&format!("spec: {{mtls: {mtls}}}")).unwrap();
        CaConfiguration::new(Configuration::from_json(&value.to_string(), &EmptyEnv).unwrap())
    }

    #[test]
    fn lifetimes_have_defaults() {
        assert_eq!(
            CaConfiguration::new(Configuration::default()).unwrap(),
            CaConfiguration::default()
        );
        let own = read("{workloadCertTTL: 1h, allowedClockSkew: 1m}").unwrap();
        assert_eq!(own.workload_cert_ttl, Duration::from_secs(3600));
        assert_eq!(own.allowed_clock_skew, Duration::from_secs(60));
    }

    #[test]
    fn validators_follow_mode_and_configuration() {
        use ValidatorKind::{Insecure, Jwks, Kubernetes};
        let none = CaConfiguration::default();
        let jwks = read("{tokenValidators: [{name: JWKS, options: {source: s}}]}").unwrap();
        assert_eq!(jwks.validators[0].options["source"], "s");
        let table = [
            (&none, Mode::Kubernetes, vec![Kubernetes], Some(Kubernetes)),
            (&jwks, Mode::Kubernetes, vec![Kubernetes, Jwks], Some(Kubernetes)),
            (&none, Mode::Standalone, vec![Insecure], Some(Insecure)),
            (&jwks, Mode::Standalone, vec![Jwks], None),
        ];
        for (configuration, mode, enabled, default) in table {
            assert_eq!(configuration.enabled(mode), enabled);
            assert_eq!(configuration.default_validator(mode), default);
        }
    }

    #[test]
    fn mistakes_have_the_specified_texts() {
        let built_in = "invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured manually";
        let unknown = "invalid token validator name: 'unknown'; supported values: 'jwks'";
        let table = [
            (
                "{workloadCertTTL: x}",
                r#"error parsing WorkloadCertTTL duration: time: invalid duration "x""#,
            ),
            (
                "{allowedClockSkew: 5}",
                r#"error parsing AllowedClockSkew duration: time: missing unit in duration "5""#,
            ),
            ("{tokenValidators: [{name: unknown}]}", unknown),
            ("{tokenValidators: [{name: Kubernetes}]}", built_in),
        ];
        for (mtls, expected) in table {
            assert_eq!(read(mtls).unwrap_err().to_string(), expected);
        }
    }
}
