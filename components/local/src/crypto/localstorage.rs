//! `crypto.dapr.localstorage`: a directory in which each file is a key.
//!
//! The name of a key is the path of its file. A file is read each time its key is used, so that a new one counts at
//! once.
//!
//! Source: specification, cryptography 3.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_component::Init;
use outrigger_component::crypto::CryptoProvider;
use outrigger_component_keys::{JSON, Key, KeySource, PEM, Provider};
use outrigger_kit::system;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::NOT_FOUND;

/// The keys of a directory.
#[derive(Debug)]
struct Folder(PathBuf);

/// Most bytes of a file that are taken for a key.
const MAX_KEY: u64 = 1 << 20;

/// Makes the provider.
///
/// # Errors
/// If `path` is missing or no directory.
pub(super) async fn make(init: Init) -> Result<Arc<dyn CryptoProvider>, BoxError> {
    let fields = init.properties.fields()?;
    let path = fields.text("path").unwrap_or_default();
    if path.is_empty() {
        return Err("metadata property path is required".into());
    }
    let metadata = fs::metadata(path).await;
    let metadata = metadata.map_err(|error| {
        format!(
            "could not stat path '{path}': stat {path}: {}",
            system::text(&error)
        )
    })?;
    if !metadata.is_dir() {
        return Err(format!("path '{path}' is not a directory").into());
    }
    Ok(Arc::new(Provider::new(Folder(path.into()))))
}

// === impl Folder ===

impl Folder {
    async fn read(&self, name: &str) -> Result<Arc<Key>, BoxError> {
        if name.contains("..") {
            return Err("invalid key path: cannot contain '..'".into());
        }
        let path = self.0.join(name.trim_start_matches('/'));
        let content = content(&path).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => BoxError::from(NOT_FOUND),
            _ => format!("failed to read key: {}", system::text(&error)).into(),
        })?;
        let content_type = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => JSON,
            Some("pem") => PEM,
            _ => "",
        };
        Ok(Arc::new(Key::parse(&content, content_type)?))
    }
}

impl KeySource for Folder {
    fn key<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Key>, BoxError>> {
        Box::pin(self.read(name))
    }
}

async fn content(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).await?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(MAX_KEY + 1).read_to_end(&mut content).await?;
    match u64::try_from(content.len()) {
        Ok(length) if length <= MAX_KEY => Ok(content),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::crypto::KeyUse;
    use outrigger_test_kit::Directory;

    use super::*;
    use crate::testing::{Server, init};

    async fn provider(path: &Path) -> Result<Arc<dyn CryptoProvider>, String> {
        let path = path.to_str().unwrap();
        let made = make(init(&Server::new(), &[("path", path)])).await;
        made.map_err(|error| error.to_string())
    }

    fn with<'a>(name: &'a str, algorithm: &'a str) -> KeyUse<'a> {
        KeyUse {
            name,
            algorithm,
            nonce: &[],
            tag: &[],
            associated_data: &[],
        }
    }

    #[tokio::test]
    async fn a_directory_is_needed() {
        let folder = Directory::new().unwrap();
        let file = folder.write("file", "x").unwrap();
        let file_text = file.to_str().unwrap();
        let absent = folder.path().join("absent");
        let absent_text = absent.to_str().unwrap();
        let table = [
            (Path::new(""), "metadata property path is required".to_owned()),
            (&*file, format!("path '{file_text}' is not a directory")),
            (
                &*absent,
                format!("could not stat path '{absent_text}': stat {absent_text}: no such file or directory"),
            ),
        ];
        for (path, expected) in table {
            assert_eq!(provider(path).await.unwrap_err(), expected);
        }
    }

    #[tokio::test]
    async fn a_key_is_a_file_that_is_read_on_each_use() {
        let folder = Directory::new().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        folder.write("sub/raw", "AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
        folder
            .write(
                "web.json",
                r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA","key_ops":["wrapKey"]}"#,
            )
            .unwrap();
        let provider = provider(folder.path()).await.unwrap();
        let wrapped = provider
            .wrap_key(&[1; 16], with("sub/raw", "A128KW"))
            .await
            .unwrap();
        let same = provider
            .wrap_key(&[1; 16], with("/web.json", "A128KW"))
            .await
            .unwrap();
        assert_eq!(wrapped, same);
        let unwrapped = provider
            .unwrap_key(&wrapped.bytes, with("sub/raw", "A128KW"))
            .await;
        assert_eq!(unwrapped.unwrap(), [1; 16]);
        folder.write("sub/raw", "AQAAAAAAAAAAAAAAAAAAAA==").unwrap();
        let other = provider
            .wrap_key(&[1; 16], with("sub/raw", "A128KW"))
            .await
            .unwrap();
        assert_ne!(other, wrapped);
    }

    #[tokio::test]
    async fn what_is_no_key_is_refused() {
        let folder = Directory::new().unwrap();
        folder.write("bad.json", "secret").unwrap();
        folder.write("bad.pem", "secret").unwrap();
        folder.write("short", "AAAA").unwrap();
        let provider = provider(folder.path()).await.unwrap();
        let failed = |reason: &str| format!("failed to retrieve the key encryption key: {reason}");
        let table = [
            ("../x", "A128KW", failed("invalid key path: cannot contain '..'")),
            ("absent", "A128KW", failed("key not found")),
            (
                "bad.json",
                "A128KW",
                failed("failed to parse JSON Web Key: invalid JSON or missing 'kty'"),
            ),
            (
                "bad.pem",
                "A128KW",
                failed("failed to parse PEM key: no block found"),
            ),
            ("short", "A128KW", "key type mismatch".to_owned()),
            ("short", "RSA-OAEP-256", "key type mismatch".to_owned()),
            ("short", "A128CBC-NOPAD", "unsupported algorithm".to_owned()),
            ("short", "ECDH-ES", "unsupported algorithm".to_owned()),
        ];
        for (name, algorithm, expected) in table {
            let error = provider
                .wrap_key(&[1; 16], with(name, algorithm))
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
