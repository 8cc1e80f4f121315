//! MariaDB.

use anyhow::ensure;
use tokio::sync::Mutex;

use super::{Server, installed};
use crate::{Directory, Result};

/// A running MariaDB whose user `root` has no password.
#[derive(Debug)]
pub struct Mariadb {
    /// The process, its folder and its port.
    pub server: Server,
}

const LOG_SIZE: &str = "8M";

// === impl Mariadb ===

impl Mariadb {
    /// Starts it with an empty folder; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// Starts it with settings of its own, such as `--ssl-cert`; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with(flags: &[(&str, &str)]) -> Result<Option<Self>> {
        let Some(install) = installed(&["mariadb-install-db"]) else {
            return Ok(None);
        };
        let Some(program) = installed(&["mariadbd"]) else {
            return Ok(None);
        };
        let directory = Directory::new()?;
        let data = directory.path().join("data");
        // The folder of a new server is made by much work: one at a time is quicker.
        static INSTALL: Mutex<()> = Mutex::const_new(());
        let turn = INSTALL.lock().await;
        let (status, process) = install
            .arg("--no-defaults")
            .flag("innodb-log-file-size", LOG_SIZE)
            .flag("datadir", data.display())
            .flag("tmpdir", directory.path().display())
            .flag("auth-root-authentication-method", "normal")
            .flag("user", "root")
            .arg("--skip-test-db")
            .run()
            .await?;
        drop(turn);
        ensure!(status.success(), "{}", process.tail());
        let server = Server::start_in(directory, program, |program, directory, port| {
            let program = program
                .arg("--no-defaults")
                .flag("datadir", data.display())
                // A server tidies up its folder of temporary files, whoever else has some there.
                .flag("tmpdir", directory.display())
                .flag("socket", directory.join("socket").display())
                .flag("bind-address", "127.0.0.1")
                .flag("character-set-server", "utf8mb4")
                .flag("innodb-log-file-size", LOG_SIZE)
                .flag("port", port)
                .flag("user", "root");
            flags
                .iter()
                .fold(program, |program, (name, value)| program.flag(name, value))
        });
        Ok(Some(Self {
            server: server.await?,
        }))
    }

    /// How programs of Go are told of it: `root@tcp(127.0.0.1:<port>)/`.
    #[must_use]
    pub fn data_source_name(&self) -> String {
        format!("root@tcp({})/", self.server.address())
    }
}
