//! The folder that the sidecars of one user meet in.
//!
//! Everybody can write to a folder for temporary files, so nothing there is trusted for its name: the folder must
//! be a real one, belong to the own user and be closed to everybody else. What is inside has then been written by
//! this user, whoever else is on the machine.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why the sidecars of this machine cannot meet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The folder cannot be made or read.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Somebody else could write to it.
    #[error("{} {problem}", path.display())]
    Unsafe { path: PathBuf, problem: &'static str },
}

/// Permissions of the folder: the owner's, and nobody else's.
const MODE: u32 = 0o700;

/// Below the user's runtime folder.
const NAME: &str = "outrigger";

/// Where the folder is unless it is configured: below `XDG_RUNTIME_DIR`, else below `/run/user/<uid>`, else a
/// folder of the user's own among the temporary files.
///
/// The second place is the first one for those who were started without a session, so that all meet in one.
pub(crate) fn default_path(runtime_folder: Option<&Path>) -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let session = Path::new("/run/user").join(user.to_string());
    let runtime = runtime_folder
        .filter(|folder| folder.is_absolute() && folder.is_dir())
        .or_else(|| session.is_dir().then_some(session.as_path()));
    match runtime {
        Some(folder) => folder.join(NAME),
        None => std::env::temp_dir().join(format!("{NAME}-{user}")),
    }
}

/// Makes the folder if it is not there, and makes sure that nobody else can write to it.
pub(crate) fn open(path: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // Of the name itself, not of what a link leads to.
    let found = fs::symlink_metadata(path).map_err(failed)?;
    match problem(&found, rustix::process::getuid().as_raw()) {
        None => Ok(()),
        Some(problem) => Err(FolderError::Unsafe {
            path: path.to_owned(),
            problem,
        }),
    }
}

fn problem(found: &Metadata, user: u32) -> Option<&'static str> {
    if !found.is_dir() {
        Some("is not a folder")
    } else if found.uid() != user {
        Some("belongs to another user")
    } else if found.mode() & 0o777 & !MODE != 0 {
        Some("is open to other users")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::local::testing::Temporary;

    #[test]
    fn a_new_folder_is_closed_to_others() {
        let place = Temporary::new();
        let path = place.path().join("new");
        open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        open(&path).unwrap();
    }

    #[test]
    fn what_others_could_write_to_is_refused() {
        let place = Temporary::new();
        let refusal = |name: &str| open(&place.path().join(name)).unwrap_err().to_string();

        fs::create_dir(place.path().join("open")).unwrap();
        fs::set_permissions(place.path().join("open"), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(refusal("open").ends_with("/open is open to other users"));

        open(&place.path().join("own")).unwrap();
        symlink(place.path().join("own"), place.path().join("link")).unwrap();
        assert!(refusal("link").ends_with("/link is not a folder"));

        fs::write(place.path().join("file"), "").unwrap();
        assert!(refusal("file").ends_with("/file is not a folder"));

        let own = fs::symlink_metadata(place.path().join("own")).unwrap();
        assert_eq!(problem(&own, own.uid() + 1), Some("belongs to another user"));
    }

    #[test]
    fn a_folder_without_a_parent_is_an_error() {
        let error = open(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/at/all: "), "{error}");
    }

    #[test]
    fn the_session_decides_where_the_folder_is() {
        let place = Temporary::new();
        assert_eq!(default_path(Some(place.path())), place.path().join("outrigger"));
        let elsewhere = default_path(None);
        assert_eq!(default_path(Some(Path::new("relative"))), elsewhere);
        assert_eq!(default_path(Some(Path::new("/nowhere/at/all"))), elsewhere);
    }
}
