//! Who asks, and where: accounts, their keys and their endpoints.

use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use outrigger_component::{Fields, HttpClient, Init};
use outrigger_svc::BoxError;

use super::sign::{Scheme, signature};
use crate::cloud::Cloud;
use crate::credential::{Login, LoginSettings, secret_header};
use crate::moment::http_date;
use crate::service::{Answer, Ask, Patience};

/// A storage account with the right to use it.
#[derive(Debug)]
pub(super) struct Account {
    http: HttpClient,
    name: String,
    access: Access,
    scheme: Scheme,
    patience: Patience,
}

/// Where a service is, and who may use it.
#[derive(Debug)]
pub(super) struct Place {
    /// Address of the service for this account, without a slash at the end.
    pub(super) endpoint: String,
    pub(super) account: Account,
}

/// The parts of a connection string.
#[derive(Clone, Default)]
struct Connection {
    account: String,
    key: String,
    /// Address of the service, if it is given.
    endpoint: Option<String>,
    protocol: String,
    suffix: String,
}

/// Who asks. Its debug form has no secret.
enum Access {
    /// Who has the account's key.
    Key(Box<hmac::Key>),
    /// Whom Microsoft Entra knows.
    Login(Login),
}

const KEY: &[&str] = &["accountKey", "accessKey", "storageAccessKey", "storageAccountKey"];
const ACCOUNT: &[&str] = &["accountName", "storageAccount", "storageAccountName"];

const SCOPE: &str = "https://storage.azure.com/.default";
const X_DATE: HeaderName = HeaderName::from_static("x-ms-date");
const X_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const VERSION: HeaderValue = HeaderValue::from_static("2021-12-02");

// === impl Place ===

impl Place {
    /// Reads the settings of a service, `blob` or `table`. `endpoint` is the address of all accounts, `url` that of
    /// this one.
    ///
    /// # Errors
    /// If the account or a way to use it is missing.
    pub(super) fn read(
        fields: &Fields<'_>,
        init: &Init,
        service: &str,
        patience: Patience,
    ) -> Result<Self, BoxError> {
        let filled = |names: &[&str]| fields.text_of(names).filter(|text| !text.is_empty());
        let scheme = if service == "table" {
            Scheme::Table
        } else {
            Scheme::Blob
        };
        let account = |name: &str, access| Account {
            http: init.http.clone(),
            name: name.to_owned(),
            access,
            scheme,
            patience,
        };
        if let Some(text) = filled(&["connectionString"]) {
            let connection = Connection::parse(text, service)?;
            return Ok(Self {
                endpoint: connection.endpoint(service),
                account: account(&connection.account, Access::key(&connection.key)?),
            });
        }
        let name = filled(ACCOUNT).ok_or("missing or empty accountName field from metadata")?;
        let (access, cloud) = match filled(KEY) {
            Some(key) => {
                let cloud = filled(&["azureEnvironment", "azureCloud"]).unwrap_or_default();
                let found = Cloud::parse(cloud).ok_or_else(|| format!("invalid Azure cloud: {cloud}"))?;
                (Access::key(key)?, found)
            }
            None => {
                let settings = LoginSettings::read(fields, |name| std::env::var(name).ok())?;
                let cloud = settings.cloud;
                (Access::Login(Login::new(settings, init.http.clone())), cloud)
            }
        };
        let endpoint = match (filled(&["serviceURL"]), filled(&["endpoint"])) {
            (Some(url), _) if service == "table" => url.trim_end_matches('/').to_owned(),
            (_, Some(endpoint)) if service == "blob" => format!("{}/{name}", endpoint.trim_end_matches('/')),
            _ if service == "table" && fields.boolean("cosmosDbMode") == Some(true) => {
                format!("https://{name}.table.cosmosdb.azure.com")
            }
            _ => format!("https://{name}.{service}.{}", cloud.storage()),
        };
        Ok(Self {
            endpoint,
            account: account(name, access),
        })
    }
}

// === impl Account ===

impl Account {
    /// Sends a request; any status is an answer.
    ///
    /// # Errors
    /// If there is no answer, or no token to ask with.
    pub(super) async fn send(&self, mut ask: Ask) -> Result<Answer, BoxError> {
        ask.headers.insert(X_VERSION, VERSION);
        if let Access::Login(login) = &self.access {
            ask.headers.insert(AUTHORIZATION, login.bearer(SCOPE).await?);
        }
        ask.send(&self.http, self.patience, |ask| {
            let date = http_date(SystemTime::now());
            ask.headers.insert(X_DATE, HeaderValue::from_str(&date)?);
            if let Access::Key(key) = &self.access {
                let text = signature(self.scheme, key, &self.name, ask)?;
                ask.headers.insert(AUTHORIZATION, secret_header(&text)?);
            }
            Ok(())
        })
        .await
    }
}

// === impl Access ===

impl Access {
    fn key(text: &str) -> Result<Self, BoxError> {
        let key = STANDARD
            .decode(text)
            .map_err(|_| "the account key is not base64")?;
        Ok(Self::Key(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key))))
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Login(_) => "Login",
        })
    }
}

// === impl Connection ===

impl Connection {
    /// Reads `DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=…`, or with `BlobEndpoint=…`.
    fn parse(text: &str, service: &str) -> Result<Self, BoxError> {
        let mut found = Self {
            protocol: "https".to_owned(),
            suffix: Cloud::Public.storage().to_owned(),
            ..Self::default()
        };
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or("connectionString is malformed")?;
            let name = name.to_ascii_lowercase();
            let value = value.to_owned();
            match name.as_str() {
                "accountname" => found.account = value,
                "accountkey" => found.key = value,
                "defaultendpointsprotocol" => found.protocol = value,
                "endpointsuffix" => found.suffix = value,
                name if name.strip_suffix("endpoint") == Some(service) => found.endpoint = Some(value),
                _ => {}
            }
        }
        if found.account.is_empty() || found.key.is_empty() {
            return Err("connectionString has no AccountName or no AccountKey".into());
        }
        Ok(found)
    }

    fn endpoint(&self, service: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("{}://{}.{service}.{}", self.protocol, self.account, self.suffix),
        }
    }
}

/// Reads a connection string; for fuzzing.
pub(crate) fn read_connection(text: &str) {
    if let Ok(connection) = Connection::parse(text, "blob") {
        drop(connection.endpoint("blob"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_says_where_and_who() {
        let own =
            "AccountName=a;AccountKey=a2V5==;BlobEndpoint=http://127.0.0.1:10000/a/;TableEndpoint=http://t";
        let connection = Connection::parse(own, "blob").unwrap();
        assert_eq!(connection.endpoint("blob"), "http://127.0.0.1:10000/a");
        assert_eq!(
            (connection.account.as_str(), connection.key.as_str()),
            ("a", "a2V5==")
        );
        let usual =
            "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=k;EndpointSuffix=core.chinacloudapi.cn;";
        let connection = Connection::parse(usual, "table").unwrap();
        assert_eq!(
            connection.endpoint("table"),
            "http://a.table.core.chinacloudapi.cn"
        );
        assert!(Connection::parse("AccountName=a", "blob").is_err());
        assert!(Connection::parse("nonsense", "blob").is_err());
    }
}
