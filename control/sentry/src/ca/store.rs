//! Where a bundle is kept: files in the credentials directory.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use outrigger_config::sentry::CredentialPaths;

use super::bundle::BundleText;
use crate::jwt::JwtText;

/// The files of a bundle.
#[derive(Clone, Debug)]
pub(crate) struct FileStore(CredentialPaths);

/// What was found: each half is there as a whole, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) bundle: Option<BundleText>,
    pub(crate) jwt: Option<JwtText>,
}

/// Why a file of the bundle could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading failed for another reason than that the file is missing.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Writing failed.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

// === impl FileStore ===

impl FileStore {
    /// Keeps the bundle in these files.
    pub(crate) const fn new(paths: CredentialPaths) -> Self {
        Self(paths)
    }

    /// Reads what is there.
    pub(crate) fn load(&self) -> Result<Stored, StoreError> {
        let bundle = match (
            read(&self.0.anchors)?,
            read(&self.0.issuer_certificate)?,
            read(&self.0.issuer_key)?,
        ) {
            (Some(anchors), Some(chain), Some(key)) => Some(BundleText { anchors, chain, key }),
            _ => None,
        };
        let jwt = match (read(&self.0.jwt_key)?, read(&self.0.jwks)?) {
            (Some(key), Some(jwks)) => Some(JwtText { key, jwks }),
            _ => None,
        };
        Ok(Stored { bundle, jwt })
    }

    /// Writes what is given; the owner alone may read it.
    pub(crate) fn save(&self, stored: &Stored) -> Result<(), StoreError> {
        if let Some(bundle) = &stored.bundle {
            write(&self.0.anchors, &bundle.anchors)?;
            write(&self.0.issuer_certificate, &bundle.chain)?;
            write(&self.0.issuer_key, &bundle.key)?;
        }
        if let Some(jwt) = &stored.jwt {
            write(&self.0.jwt_key, &jwt.key)?;
            write(&self.0.jwks, &jwt.jwks)?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let put = || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        // The mode above is for new files only.
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    put().map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}
