//! What a component says of its login.

use std::path::PathBuf;

use outrigger_component::Fields;

use super::LoginError;
use super::source::Source;
use crate::cloud::Cloud;

/// The ways to tokens, in their order, and who gives them.
#[derive(Debug)]
pub(crate) struct LoginSettings {
    pub(crate) cloud: Cloud,
    pub(super) authority: String,
    pub(super) sources: Vec<Source>,
}

/// A way to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    ClientSecret,
    Certificate,
    Workload,
    Spiffe,
    Managed,
    CommandLine,
}

const TENANT: &[&str] = &["azureTenantId", "spnTenantId", "tenantId"];
const CLIENT: &[&str] = &["azureClientId", "spnClientId", "clientId"];
const SECRET: &[&str] = &["azureClientSecret", "spnClientSecret", "clientSecret"];
const CERTIFICATE: &[&str] = &["azureCertificate", "spnCertificate"];
const CERTIFICATE_FILE: &[&str] = &["azureCertificateFile", "spnCertificateFile"];
const CLOUD: &[&str] = &["azureEnvironment", "azureCloud"];
const METHODS: &[&str] = &[
    "azureAuthMethods",
    "azureADAuthMethods",
    "entraIDAuthMethods",
    "microsoftEntraIDAuthMethods",
];

const NO_CERTIFICATE: LoginError = LoginError::Unsupported(
    "certificate credentials are not supported by this build: use a client secret or workload identity",
);
const NO_SPIFFE: LoginError = LoginError::Unsupported(
    "SPIFFE workload identity is not supported by this build: use workload or managed identity",
);

/// All ways, in the order in which they are tried unless it is said otherwise.
const ALL: [Method; 6] = [
    Method::ClientSecret,
    Method::Certificate,
    Method::Workload,
    Method::Spiffe,
    Method::Managed,
    Method::CommandLine,
];

// === impl LoginSettings ===

impl LoginSettings {
    /// Reads the settings, then the environment.
    ///
    /// # Errors
    /// A cloud or a way that is none, or that is named and not gone by this build.
    pub(crate) fn read(
        fields: &Fields<'_>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, LoginError> {
        let filled = |names: &[&str]| fields.text_of(names).filter(|text| !text.is_empty());
        let cloud = filled(CLOUD).unwrap_or_default();
        let cloud = Cloud::parse(cloud).ok_or_else(|| LoginError::Cloud(cloud.to_owned()))?;
        let named = filled(METHODS).map(methods).transpose()?;
        let is_certain = named.is_some();
        let variable = |name: &str| environment(name).filter(|text| !text.is_empty());

        let (tenant, client) = (
            filled(TENANT).map(str::to_owned),
            filled(CLIENT).map(str::to_owned),
        );
        let mut sources = Vec::new();
        for method in named.unwrap_or_else(|| ALL.to_vec()) {
            match method {
                Method::ClientSecret => {
                    if let (Some(tenant), Some(client), Some(secret)) = (&tenant, &client, filled(SECRET)) {
                        sources.push(Source::Secret {
                            tenant: tenant.clone(),
                            client: client.clone(),
                            secret: secret.to_owned(),
                        });
                    }
                }
                Method::Certificate => {
                    if is_certain || filled(CERTIFICATE).or(filled(CERTIFICATE_FILE)).is_some() {
                        return Err(NO_CERTIFICATE);
                    }
                }
                Method::Workload => {
                    let tenant = tenant.clone().or_else(|| variable("AZURE_TENANT_ID"));
                    let client = client.clone().or_else(|| variable("AZURE_CLIENT_ID"));
                    let file = variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from);
                    if let (Some(tenant), Some(client), Some(file)) = (tenant, client, file) {
                        sources.push(Source::Workload { tenant, client, file });
                    }
                }
                Method::Spiffe => {
                    if is_certain {
                        return Err(NO_SPIFFE);
                    }
                }
                Method::Managed => sources.push(Source::Managed {
                    client: client.clone(),
                    endpoint: variable("IDENTITY_ENDPOINT").zip(variable("IDENTITY_HEADER")),
                }),
                Method::CommandLine => sources.push(Source::CommandLine {
                    tenant: tenant.clone(),
                }),
            }
        }
        if sources.is_empty() {
            return Err(LoginError::Nothing);
        }
        let authority = variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| cloud.authority().to_owned());
        Ok(Self {
            cloud,
            authority: authority.trim_end_matches('/').to_owned(),
            sources,
        })
    }
}

/// The ways of a list.
fn methods(list: &str) -> Result<Vec<Method>, LoginError> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut found = Vec::new();
    for name in names {
        found.push(match name.to_ascii_lowercase().as_str() {
            "clientcredentials" | "creds" => Method::ClientSecret,
            "clientcertificate" | "cert" => Method::Certificate,
            "workloadidentity" | "wi" => Method::Workload,
            "spiffeworkloadidentity" | "spiffe" => Method::Spiffe,
            "managedidentity" | "mi" => Method::Managed,
            "commandlineinterface" | "cli" => Method::CommandLine,
            "none" => return Err(LoginError::Disabled),
            _ => return Err(LoginError::Method(name.to_owned())),
        });
    }
    Ok(found)
}
