//! Who asks: access tokens.
//!
//! ```text
//! key of the settings ─▶ file of GOOGLE_APPLICATION_CREDENTIALS ─▶ file of gcloud ─▶ metadata server
//! ```
//!
//! Source: RFC 7523 for service accounts, RFC 6749 for users, "Application Default Credentials".

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use outrigger_component::HttpClient;
use outrigger_kit::percent::encode_form;
use outrigger_svc::Body;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Where tokens come from. Its debug form has no secret.
pub(crate) enum Source {
    /// A service account with its key.
    Account(Account),
    /// A user who has logged in.
    User(User),
    /// The account of the machine, by the host of its metadata server.
    Machine(String),
}

/// A service account.
pub(crate) struct Account {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
    token_uri: String,
}

/// A user.
pub(crate) struct User {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

/// Gives tokens, and keeps one for as long as it is good.
#[derive(Debug)]
pub(crate) struct Login {
    http: HttpClient,
    source: Source,
    known: Mutex<Option<Known>>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// A key that is none.
    #[error("the private key is no PKCS #8 key of RSA in PEM")]
    Key,
    /// A file that cannot be read.
    #[error("credentials of {file}: {reason}")]
    File {
        /// Where it is.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server gave none.
    #[error("no access token: {0}")]
    Refused(String),
}

struct Known {
    token: String,
    end: Instant,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Granted {
    access_token: String,
    expires_in: u64,
    error: String,
    error_description: String,
}

/// The file of credentials.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    r#type: String,
    client_email: String,
    private_key_id: String,
    private_key: String,
    token_uri: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const METADATA_HOST: &str = "metadata.google.internal";
const LIFETIME: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);
/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(60);
const MAX_ANSWER: usize = 1 << 20;

// === impl Source ===

impl Source {
    /// What the environment and the files of tools say, else the machine.
    ///
    /// # Errors
    /// A file that is named or there and cannot be used.
    pub(crate) fn surrounding(environment: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialError> {
        let variable = |name: &str| environment(name).filter(|text| !text.is_empty());
        if let Some(file) = variable("GOOGLE_APPLICATION_CREDENTIALS") {
            return Self::file(Path::new(&file));
        }
        if let Some(home) = variable("HOME") {
            let file = Path::new(&home).join(".config/gcloud/application_default_credentials.json");
            if file.is_file() {
                return Self::file(&file);
            }
        }
        let host = variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA_HOST.to_owned());
        Ok(Self::Machine(host))
    }

    fn file(path: &Path) -> Result<Self, CredentialError> {
        let wrong = |reason: String| CredentialError::File {
            file: path.display().to_string(),
            reason,
        };
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        // The reason of the library may quote the text, which has secrets.
        let file: File =
            serde_json::from_slice(&text).map_err(|_| wrong("not the JSON of credentials".to_owned()))?;
        match file.r#type.as_str() {
            "service_account" => {
                let token_uri = match file.token_uri.as_str() {
                    "" => TOKEN_URI,
                    uri => uri,
                };
                let key_id = Some(file.private_key_id.as_str()).filter(|id| !id.is_empty());
                Account::new(&file.client_email, key_id, &file.private_key, token_uri).map(Self::Account)
            }
            "authorized_user" => Ok(Self::User(User {
                client_id: file.client_id,
                client_secret: file.client_secret,
                refresh_token: file.refresh_token,
            })),
            kind => Err(wrong(format!("credentials of type {kind} are not supported"))),
        }
    }

    fn request(&self) -> Result<http::Request<Body>, String> {
        let form = |uri: &str, parameters: &[(&str, &str)]| {
            let pairs = parameters
                .iter()
                .map(|(name, value)| format!("{name}={}", encode_form(value)));
            http::Request::post(uri)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(pairs.collect::<Vec<_>>().join("&")))
        };
        let request = match self {
            Self::Account(account) => {
                let assertion = account.assertion(SystemTime::now())?;
                form(
                    &account.token_uri,
                    &[("grant_type", GRANT), ("assertion", &assertion)],
                )
            }
            Self::User(user) => {
                let parameters = [
                    ("grant_type", "refresh_token"),
                    ("client_id", user.client_id.as_str()),
                    ("client_secret", user.client_secret.as_str()),
                    ("refresh_token", user.refresh_token.as_str()),
                ];
                form(TOKEN_URI, &parameters)
            }
            Self::Machine(host) => {
                let path = "computeMetadata/v1/instance/service-accounts/default/token";
                http::Request::get(format!("http://{host}/{path}?scopes={}", encode_form(SCOPE)))
                    .header("metadata-flavor", "Google")
                    .body(Body::empty())
            }
        };
        request.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => f.debug_tuple("Account").field(&account.email).finish(),
            Self::User(_) => f.write_str("User"),
            Self::Machine(host) => f.debug_tuple("Machine").field(host).finish(),
        }
    }
}

// === impl Account ===

impl Account {
    /// # Errors
    /// A key that is none. Its line ends may be written as `\n`.
    pub(crate) fn new(
        email: &str,
        key_id: Option<&str>,
        key: &str,
        token_uri: &str,
    ) -> Result<Self, CredentialError> {
        let pem = key.replace("\\n", "\n");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CredentialError::Key)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| CredentialError::Key)?;
        Ok(Self {
            email: email.to_owned(),
            key_id: key_id.map(str::to_owned),
            key,
            token_uri: token_uri.to_owned(),
        })
    }

    /// What proves that a request is the account's.
    fn assertion(&self, now: SystemTime) -> Result<String, String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut head = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(key_id) = &self.key_id {
            head["kid"] = key_id.as_str().into();
        }
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + LIFETIME.as_secs(),
        });
        let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{head}.{claims}");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                text.as_bytes(),
                &mut signature,
            )
            .map_err(|_| "the private key does not sign".to_owned())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

// === impl Login ===

impl Login {
    pub(crate) fn new(source: Source, http: HttpClient) -> Self {
        Self {
            http,
            source,
            known: Mutex::new(None),
        }
    }

    /// A token for the services.
    ///
    /// # Errors
    /// If none is given.
    pub(crate) async fn token(&self) -> Result<String, CredentialError> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() + MARGIN < known.end) {
            return Ok(known.token.clone());
        }
        let granted = self.grant().await.map_err(CredentialError::Refused)?;
        let end = Instant::now() + Duration::from_secs(granted.expires_in);
        let token = granted.access_token.clone();
        *known = Some(Known {
            token: granted.access_token,
            end,
        });
        Ok(token)
    }

    async fn grant(&self) -> Result<Granted, String> {
        let deadline = Instant::now() + PATIENCE;
        let answer = self
            .http
            .fetch(self.source.request()?, MAX_ANSWER, deadline)
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        let granted: Granted = serde_json::from_slice(answer.body())
            .map_err(|_| format!("{}: the answer is no token", answer.status()))?;
        if granted.access_token.is_empty() {
            return Err(format!(
                "{}: {} {}",
                answer.status(),
                granted.error,
                granted.error_description
            )
            .trim_end()
            .to_owned());
        }
        Ok(granted)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;
    use outrigger_component::testing::Server;
    use outrigger_test_kit::Directory;

    use super::*;

    fn key() -> (RsaKeyPair, String) {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = key.as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        (
            key,
            format!("-----BEGIN PRIVATE KEY-----\\n{text}\\n-----END PRIVATE KEY-----\\n"),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_account_signs_for_its_token_and_keeps_it() {
        let (pair, pem) = key();
        let account = Account::new("a@p", Some("k1"), &pem, "https://token/").unwrap();
        let server = Server::new(|_, _| {
            (
                200,
                vec![],
                r#"{"access_token":"tok","expires_in":3600}"#.to_owned(),
            )
        });
        let login = Login::new(Source::Account(account), server.client());
        for _ in 0..2 {
            assert_eq!(login.token().await.unwrap(), "tok");
        }
        assert_eq!(server.asked().len(), 1);
        let body = &server.asked()[0].body;
        let start = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let assertion = body.strip_prefix(start).unwrap();
        let (text, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(text.as_bytes(), &signature).unwrap();
        let (head, claims) = text.split_once('.').unwrap();
        let decoded = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            decoded(head),
            json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" })
        );
        let claims = decoded(claims);
        assert_eq!(
            (&claims["iss"], &claims["aud"], &claims["scope"]),
            (&json!("a@p"), &json!("https://token/"), &json!(SCOPE))
        );
        tokio::time::advance(Duration::from_secs(3541)).await;
        login.token().await.unwrap();
        assert_eq!(server.asked().len(), 2);
        assert_eq!(format!("{:?}", login.source), "Account(\"a@p\")");
    }

    #[tokio::test]
    async fn surroundings_are_a_file_that_is_named_then_the_machine() {
        let directory = Directory::new().unwrap();
        let user = json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r" });
        let file = directory.write("user.json", user.to_string()).unwrap();
        let named =
            |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| file.display().to_string());
        assert!(matches!(Source::surrounding(named).unwrap(), Source::User(_)));
        let (_, pem) = key();
        let account = json!({ "type": "service_account", "client_email": "e", "private_key": pem.replace("\\n", "\n") });
        directory.write("user.json", account.to_string()).unwrap();
        assert!(matches!(Source::surrounding(named).unwrap(), Source::Account(_)));
        directory
            .write("user.json", r#"{"type":"external_account"}"#)
            .unwrap();
        let error = Source::surrounding(named).unwrap_err().to_string();
        assert!(
            error.ends_with("credentials of type external_account are not supported"),
            "{error}"
        );

        let server = Server::new(|_, _| {
            (
                200,
                vec![],
                r#"{"access_token":"tok","expires_in":60}"#.to_owned(),
            )
        });
        let host = |name: &str| (name == "GCE_METADATA_HOST").then(|| "10.0.0.1".to_owned());
        let login = Login::new(Source::surrounding(host).unwrap(), server.client());
        assert_eq!(login.token().await.unwrap(), "tok");
        let asked = &server.asked()[0];
        let path = "/computeMetadata/v1/instance/service-accounts/default/token";
        assert!(
            asked
                .url
                .starts_with(&format!("http://10.0.0.1{path}?scopes=https")),
            "{}",
            asked.url
        );
        assert_eq!(asked.headers["metadata-flavor"], "Google");
    }

    #[tokio::test]
    async fn a_refusal_is_told() {
        let server = Server::new(|_, _| {
            (
                400,
                vec![],
                r#"{"error":"invalid_grant","error_description":"no"}"#.to_owned(),
            )
        });
        let login = Login::new(Source::Machine("m".to_owned()), server.client());
        let error = login.token().await.unwrap_err().to_string();
        assert_eq!(error, "no access token: 400 Bad Request: invalid_grant no");
    }
}
