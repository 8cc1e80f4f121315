//! Who asks, and where: region, endpoint and credentials.
//!
//! Source: specification, state stores 14.

use std::fmt;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use outrigger_component::{Fields, HttpClient};

use crate::bridge::Bridge;

/// The settings that all components of AWS share. Its debug form has no secret.
#[derive(Clone, Default)]
pub(crate) struct Access {
    region: Option<String>,
    endpoint: Option<String>,
    login: Login,
}

/// Who asks.
#[derive(Clone, Default)]
enum Login {
    /// Whoever the environment, the profile or the machine says.
    #[default]
    Surroundings,
    /// The owner of a key.
    Key {
        id: String,
        secret: String,
        session_token: Option<String>,
    },
    /// A role, taken on by whoever the surroundings say.
    Role {
        arn: String,
        session_name: Option<String>,
    },
}

/// Settings that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "IAM Roles Anywhere (trustAnchorArn, trustProfileArn) is not supported by this build: use accessKey and secretKey, \
     or the default credentials"
)]
pub(crate) struct RolesAnywhere;

/// Source of the keys, as the client's own messages name it.
const PROVIDER: &str = "component";

// === impl Access ===

impl Access {
    /// Reads the settings.
    ///
    /// # Errors
    /// Settings of IAM Roles Anywhere, which would be signed with the sidecar's own certificate.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, RolesAnywhere> {
        let text = |name: &str| {
            fields
                .text(name)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let arn = text("assumeRoleArn");
        if text("trustProfileArn").is_some() && text("trustAnchorArn").is_some() && arn.is_some() {
            return Err(RolesAnywhere);
        }
        let login = match (text("accessKey"), text("secretKey"), arn) {
            (Some(id), Some(secret), _) => Login::Key {
                id,
                secret,
                session_token: text("sessionToken"),
            },
            (_, _, Some(arn)) => Login::Role {
                arn,
                session_name: text("assumeRoleSessionName"),
            },
            _ => Login::Surroundings,
        };
        let region = fields.text_of(&["region", "awsRegion"]);
        Ok(Self {
            region: region.filter(|region| !region.is_empty()).map(str::to_owned),
            endpoint: text("endpoint"),
            login,
        })
    }

    /// What clients are made from. May ask the machine for its region.
    pub(crate) async fn config(&self, http: HttpClient) -> SdkConfig {
        self.config_from(aws_config::defaults(BehaviorVersion::latest()), http)
            .await
    }

    async fn config_from(&self, mut loader: ConfigLoader, http: HttpClient) -> SdkConfig {
        loader = loader.http_client(Bridge::new(http));
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Login::Key {
            id,
            secret,
            session_token,
        } = &self.login
        {
            let keys = Credentials::new(id, secret, session_token.clone(), None, PROVIDER);
            loader = loader.credentials_provider(keys);
        }
        let mut config = loader.load().await;
        // The endpoint is that of the service, not of those who give credentials.
        if let Login::Role { arn, session_name } = &self.login {
            let mut role = AssumeRoleProvider::builder(arn).configure(&config);
            if let Some(name) = session_name {
                role = role.session_name(name);
            }
            let provider = aws_credential_types::provider::SharedCredentialsProvider::new(role.build().await);
            config = config.into_builder().credentials_provider(provider).build();
        }
        match &self.endpoint {
            None => config,
            Some(endpoint) => config.into_builder().endpoint_url(endpoint).build(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = match &self.login {
            Login::Surroundings => "surroundings",
            Login::Key { .. } => "key",
            Login::Role { arn, .. } => arn,
        };
        f.debug_struct("Access")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("login", &login)
            .finish()
    }
}

#[cfg(test)]
mod tests;
