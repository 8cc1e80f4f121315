//! The own identity as files, for programs that can read it in no other way.
//!
//! | File | Content |
//! |---|---|
//! | `key.pem` | private key, PKCS#8 |
//! | `cert.pem` | leaf, then intermediates; no self-signed certificate |
//! | `ca.pem` | the anchors, byte for byte |
//! | `jwt_svid.token` | the base JWT, if there is one |
//!
//! The files of one identity belong together, so they stand in a folder of their own, and the path that readers
//! know is a link that is switched from one to the next. Source: specification: identity 7.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::anchors::TrustAnchors;
use crate::certificate::Certificate;
use crate::jwt::JwtSvids;
use crate::svid::Svid;
use crate::tls::signature_algorithms;
use crate::{key::KeyError, pem};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder of identity files that is replaced as a whole.
#[derive(Debug)]
pub(crate) struct IdentityDirectory {
    link: PathBuf,
    current: Option<PathBuf>,
}

/// Why the identity cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file or folder cannot be written.
    #[error("failed to write identity to directory: {0}")]
    Io(#[from] io::Error),
    /// The private key cannot be written.
    #[error("failed to write identity to directory: {0}")]
    Key(#[from] KeyError),
}

// === impl IdentityDirectory ===

impl IdentityDirectory {
    /// Prepares to write below `link`. A relative path is taken from the working directory of this moment.
    ///
    /// # Errors
    /// When the path is empty.
    pub(crate) fn new(link: &Path) -> Result<Self, DirectoryError> {
        Ok(Self {
            link: std::path::absolute(link)?,
            current: None,
        })
    }

    /// Writes an identity and makes it the one that readers find.
    ///
    /// # Errors
    /// When anything cannot be written; then readers still find the previous one.
    pub(crate) fn write(
        &mut self,
        svid: &Svid,
        jwts: &JwtSvids,
        anchors: &TrustAnchors,
        now: SystemTime,
    ) -> Result<(), DirectoryError> {
        let key = svid.key().to_pem()?;
        let chain = chain_without_roots(svid);
        let mut files: Vec<(&str, &[u8])> = vec![
            ("key.pem", key.as_bytes()),
            ("cert.pem", chain.as_bytes()),
            ("ca.pem", anchors.as_pem()),
        ];
        if let Some(jwt) = jwts.base() {
            files.push(("jwt_svid.token", jwt.token().as_bytes()));
        }
        let folder = self.make_folder(now)?;
        for (name, contents) in files {
            write_file(&folder.join(name), contents)?;
        }
        self.switch_to(&folder)?;
        Ok(())
    }

    fn make_folder(&self, now: SystemTime) -> io::Result<PathBuf> {
        let stamp = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let folder = self.sibling(&format!("{stamp}-"), "");
        let mut builder = fs::DirBuilder::new();
        builder.mode(FOLDER_MODE).recursive(true).create(&folder)?;
        Ok(folder)
    }

    fn switch_to(&mut self, folder: &Path) -> io::Result<()> {
        let new_link = self.sibling("", ".new");
        match fs::remove_file(&new_link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(folder, &new_link)?,
        }
        fs::rename(&new_link, &self.link)?;
        if let Some(previous) = self.current.replace(folder.to_owned())
            && previous != folder
        {
            fs::remove_dir_all(previous)?;
        }
        Ok(())
    }

    /// A path beside the link, its name made of the link's.
    fn sibling(&self, before: &str, after: &str) -> PathBuf {
        let name = self.link.file_name().unwrap_or_default().to_string_lossy();
        self.link.with_file_name(format!("{before}{name}{after}"))
    }
}

fn chain_without_roots(svid: &Svid) -> String {
    let is_root = |encoding: &[u8]| {
        Certificate::parse(encoding)
            .is_ok_and(|certificate| certificate.is_self_signed(signature_algorithms()))
    };
    pem::encode_certificates(svid.chain().iter().filter(|encoding| !is_root(encoding)))
}

fn write_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    options.open(path)?.write_all(contents)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::authority::{Authority, Leaf};
    use crate::fixtures::{self, Folder};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn readers_find_the_latest_identity_as_a_whole() {
        let folder = Folder::new();
        let link = folder.path().join("secrets").join("tls");
        let authority = Authority::new();
        let anchors = authority.anchors().current();
        let mut directory = IdentityDirectory::new(&link).unwrap();
        let mut keys = Vec::new();
        for round in 0..3 {
            let svid = authority.svid(&Leaf::default());
            let now = fixtures::now() + Duration::from_secs(round);
            directory
                .write(&svid, &JwtSvids::default(), &anchors, now)
                .unwrap();
            assert_eq!(
                fs::read_to_string(link.join("key.pem")).unwrap(),
                svid.key().to_pem().unwrap()
            );
            assert_eq!(
                pem::certificates(&fs::read(link.join("cert.pem")).unwrap()),
                svid.chain()
            );
            assert_eq!(&fs::read(link.join("ca.pem")).unwrap(), anchors.as_pem());
            assert!(!link.join("jwt_svid.token").exists());
            keys.push(fs::read(link.join("key.pem")).unwrap());
        }
        keys.dedup();
        assert_eq!(keys.len(), 3);
        let target = fs::read_link(&link).unwrap();
        assert_eq!(
            target.file_name().unwrap().to_str().unwrap(),
            format!("{}-tls", (u128::from(fixtures::NOW) + 2) * 1_000_000_000)
        );
        let entries = fs::read_dir(link.parent().unwrap()).unwrap().count();
        assert_eq!(entries, 2, "the link and the folder it leads to");
        assert_eq!(mode(&link), 0o700);
        assert_eq!(mode(&link.join("key.pem")), 0o600);
    }

    #[test]
    fn a_folder_that_stands_in_the_way_is_not_replaced() {
        let folder = Folder::new();
        let link = folder.path().join("tls");
        fs::create_dir(&link).unwrap();
        fs::write(link.join("precious"), "x").unwrap();
        let authority = Authority::new();
        let written = IdentityDirectory::new(&link).unwrap().write(
            &authority.svid(&Leaf::default()),
            &JwtSvids::default(),
            &authority.anchors().current(),
            fixtures::now(),
        );
        assert!(written.is_err());
        assert!(link.join("precious").exists());
    }
}
