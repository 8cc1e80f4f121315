//! The token that proves to the certificate authority who asks.

use std::io;
use std::path::{Path, PathBuf};

use outrigger_api::sentry::sign_certificate_request::TokenValidator;

use crate::LOG;
use crate::settings::{Mode, Settings};

/// The token that Kubernetes binds to the authority.
const BOUND_TOKEN: &str = "/var/run/secrets/dapr.io/sentrytoken/token";

/// The token of the pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where tokens may be found, in order.
#[derive(Clone, Debug)]
pub(crate) struct TokenSource {
    mode: Mode,
    file: Option<PathBuf>,
    variable: Option<String>,
    bound: PathBuf,
    service_account: PathBuf,
}

/// A token and the judge that it is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) validator: TokenValidator,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The environment names no file.
    #[error("environmental variable DAPR_SENTRY_TOKEN_FILE is set with an empty value")]
    EmptyVariable,
    /// The file cannot be read.
    #[error("failed to read token file '{}': {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file holds nothing.
    #[error("token file '{}' is empty", .0.display())]
    EmptyFile(PathBuf),
}

// === impl TokenSource ===

impl TokenSource {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            mode: settings.mode,
            file: settings.token_file.clone(),
            variable: settings.token_file_variable.clone(),
            bound: BOUND_TOKEN.into(),
            service_account: SERVICE_ACCOUNT_TOKEN.into(),
        }
    }

    /// Reads the token of the moment, since tokens are replaced while the process runs. It is not trimmed.
    ///
    /// # Errors
    /// When a file that must be there cannot be read or is empty.
    pub(crate) async fn read(&self) -> Result<Token, TokenError> {
        if let Some(path) = &self.file {
            return Token::read(path, TokenValidator::Jwks).await;
        }
        let in_kubernetes = self.mode == Mode::Kubernetes;
        match self.variable.as_deref() {
            Some("") => return Err(TokenError::EmptyVariable),
            Some(path) if in_kubernetes => return Token::read(path, TokenValidator::Kubernetes).await,
            Some(path) => return Token::read(path, TokenValidator::Jwks).await,
            None => {}
        }
        if in_kubernetes && exists(&self.bound).await {
            return Token::read(&self.bound, TokenValidator::Kubernetes).await;
        }
        if in_kubernetes && exists(&self.service_account).await {
            tracing::warn!(
                target: LOG,
                "No bound token found, using the service account token, which gives access to the Kubernetes API"
            );
            return Token::read(&self.service_account, TokenValidator::Kubernetes).await;
        }
        Ok(Token {
            text: String::new(),
            validator: TokenValidator::Unknown,
        })
    }
}

// === impl Token ===

impl Token {
    async fn read(path: impl AsRef<Path>, validator: TokenValidator) -> Result<Self, TokenError> {
        let path = path.as_ref();
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| TokenError::Unreadable {
                path: path.to_owned(),
                error,
            })?;
        if text.is_empty() {
            return Err(TokenError::EmptyFile(path.to_owned()));
        }
        Ok(Self { text, validator })
    }
}

async fn exists(path: &Path) -> bool {
    // A file that is there but cannot be seen is an error when it is read.
    tokio::fs::try_exists(path).await.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Folder;

    struct Files(Folder);

    impl Files {
        fn write(&self, name: &str, contents: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, contents).unwrap();
            path
        }

        fn source(&self, mode: Mode) -> TokenSource {
            TokenSource {
                mode,
                file: None,
                variable: None,
                bound: self.0.path().join("bound"),
                service_account: self.0.path().join("account"),
            }
        }
    }

    async fn read(source: &TokenSource) -> Result<(String, TokenValidator), String> {
        let token = source.read().await;
        token
            .map(|token| (token.text, token.validator))
            .map_err(|error| error.to_string())
    }

    fn token(text: &str, validator: TokenValidator) -> Result<(String, TokenValidator), String> {
        Ok((text.to_owned(), validator))
    }

    #[tokio::test]
    async fn the_token_comes_from_the_first_place_that_has_one() {
        let files = Files(Folder::new());
        let mut standalone = files.source(Mode::Standalone);
        let mut kubernetes = files.source(Mode::Kubernetes);
        assert_eq!(read(&kubernetes).await, token("", TokenValidator::Unknown));
        files.write("account", "account token\n");
        assert_eq!(
            read(&kubernetes).await,
            token("account token\n", TokenValidator::Kubernetes)
        );
        files.write("bound", "bound token");
        assert_eq!(
            read(&kubernetes).await,
            token("bound token", TokenValidator::Kubernetes)
        );
        assert_eq!(read(&standalone).await, token("", TokenValidator::Unknown));

        let variable = files.write("variable", "variable token");
        let variable = Some(variable.to_str().unwrap().to_owned());
        (standalone.variable, kubernetes.variable) = (variable.clone(), variable);
        assert_eq!(
            read(&standalone).await,
            token("variable token", TokenValidator::Jwks)
        );
        assert_eq!(
            read(&kubernetes).await,
            token("variable token", TokenValidator::Kubernetes)
        );

        let file = Some(files.write("file", "file token"));
        (standalone.file, kubernetes.file) = (file.clone(), file);
        assert_eq!(read(&standalone).await, token("file token", TokenValidator::Jwks));
        assert_eq!(read(&kubernetes).await, token("file token", TokenValidator::Jwks));
    }

    #[tokio::test]
    async fn a_place_that_is_named_must_have_a_token() {
        let files = Files(Folder::new());
        let mut source = files.source(Mode::Standalone);
        source.variable = Some(String::new());
        assert_eq!(
            read(&source).await.unwrap_err(),
            "environmental variable DAPR_SENTRY_TOKEN_FILE is set with an empty value"
        );
        source.variable = Some(files.write("empty", "").to_str().unwrap().to_owned());
        assert!(read(&source).await.unwrap_err().ends_with("empty' is empty"));
        source.variable = Some("/nowhere/token".to_owned());
        assert!(
            read(&source)
                .await
                .unwrap_err()
                .starts_with("failed to read token file '/nowhere/token': ")
        );
    }

    #[tokio::test]
    async fn a_token_that_was_replaced_is_read_anew() {
        let files = Files(Folder::new());
        let source = files.source(Mode::Kubernetes);
        for text in ["first", "second"] {
            files.write("bound", text);
            assert_eq!(read(&source).await, token(text, TokenValidator::Kubernetes));
        }
    }
}
