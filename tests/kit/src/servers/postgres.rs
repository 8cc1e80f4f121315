//! PostgreSQL.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;

use anyhow::ensure;

use super::{Server, installed};
use crate::{Certificate, Directory, Program, Result, until};

/// A running PostgreSQL whose user `postgres` has no password.
///
/// The server refuses to run as root; there it runs as the user `postgres`, whom its package makes.
#[derive(Debug)]
pub struct Postgres {
    /// The process, its folder and its port.
    pub server: Server,
}

// === impl Postgres ===

impl Postgres {
    /// Starts it with an empty database; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// Starts it with settings of its own, such as `max_connections`; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Option<Self>> {
        Self::start_prepared(&Directory::new()?, settings).await
    }

    /// Starts it with a certificate for those who want to be secure; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_secure(certificate: &Certificate) -> Result<Option<Self>> {
        let folder = Directory::new()?;
        let chain = folder.write("server.crt", &certificate.chain)?;
        let key = folder.write("server.key", &certificate.key)?;
        own(&folder).await?;
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        let settings = [("ssl", "on"), ("ssl_cert_file", &chain), ("ssl_key_file", &key)];
        Self::start_prepared(&folder, &settings).await
    }

    /// Starts it while the files that its settings name are there.
    async fn start_prepared(_files: &Directory, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let (Some(postgres), Some(initdb)) = (program("postgres"), program("initdb")) else {
            return Ok(None);
        };
        let directory = Directory::new()?;
        own(&directory).await?;
        let data = directory.path().join("data");
        let (status, process) = unprivileged(&initdb)
            .arg("--no-sync")
            .arg("--auth=trust")
            .arg("--username=postgres")
            .arg("--encoding=UTF8")
            .arg("--no-locale")
            .arg(format!("--pgdata={}", data.display()))
            .run()
            .await?;
        ensure!(status.success(), "{}", process.tail());
        let server = Server::start_in(directory, unprivileged(&postgres), |program, directory, port| {
            let program = program
                .arg("-D")
                .arg(&data)
                .arg("-h")
                .arg("127.0.0.1")
                .arg("-p")
                .arg(port.to_string())
                .arg("-k")
                .arg(directory);
            let set = |program: Program, (name, value): &(&str, &str)| {
                program.arg("-c").arg(format!("{name}={value}"))
            };
            settings.iter().fold(program, set)
        });
        let own = Self {
            server: server.await?,
        };
        own.ready().await?;
        Ok(Some(own))
    }

    /// Starts it again on the same folder and port after it was killed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn restart(&mut self) -> Result<()> {
        // A new one is refused until the last of its processes has noticed.
        let data = self.server.directory().join("data");
        until("the end of the server's processes", async || {
            (!is_in_use(&data)).then_some(())
        })
        .await?;
        self.server.restart().await?;
        self.ready().await
    }

    /// Waits until it takes statements, which is later than it takes connections.
    async fn ready(&self) -> Result<()> {
        let process = self.server.process();
        process
            .wait_for_line("database system is ready to accept connections")
            .await?;
        Ok(())
    }

    /// `host=127.0.0.1 port=<port> user=postgres dbname=postgres`
    #[must_use]
    pub fn connection_string(&self) -> String {
        let port = self.server.port();
        format!("host=127.0.0.1 port={port} user=postgres dbname=postgres")
    }
}

/// Where a program of the newest installed version is; none, and the test is skipped, if there is no version.
fn program(name: &str) -> Option<Program> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.is_file())
        .max();
    match newest {
        Some(path) => Some(Program::new(path).env("PATH", super::PATH)),
        None => installed(&[name]),
    }
}

/// Whether a process works in a folder, as all of a server's do.
fn is_in_use(folder: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut folders = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    folders.any(|of_process| of_process == folder)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The program as a user that it accepts.
fn unprivileged(program: &Program) -> Program {
    if !is_root() {
        return program.clone();
    }
    Program::new("/usr/bin/setpriv")
        .label("postgres")
        .env("PATH", super::PATH)
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program.path())
}

/// Gives the folder to the user that the server runs as.
async fn own(directory: &Directory) -> Result<()> {
    if is_root() {
        let chown = Program::new("/bin/chown").env("PATH", super::PATH);
        let (status, process) = chown
            .arg("-R")
            .arg("postgres")
            .arg(directory.path())
            .run()
            .await?;
        ensure!(status.success(), "{}", process.tail());
    }
    let only_its_own = || PermissionsExt::from_mode(0o600);
    for file in std::fs::read_dir(directory.path())? {
        std::fs::set_permissions(file?.path(), only_its_own())?;
    }
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700))?;
    Ok(())
}
