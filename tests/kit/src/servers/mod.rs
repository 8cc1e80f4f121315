//! Real servers that components are tested against.
//!
//! Each is a process of its own with a folder and a port of its own, so tests run beside each other. A test
//! begins with
//!
//! ```ignore
//! let Some(server) = Etcd::start().await? else { return Ok(()) };
//! ```
//!
//! which skips it where the program is not installed, and fails where nothing may be skipped.

mod azurite;
mod cosmos;
mod etcd;
mod mariadb;
mod memcached;
mod moto;
mod postgres;
mod redis;
mod redis_documents;
mod zookeeper;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::{Directory, Process, Program, Result, Signal, free_port, skip, wait_for_port};

pub use azurite::Azurite;
pub use cosmos::Cosmos;
pub use etcd::Etcd;
pub use mariadb::Mariadb;
pub use memcached::Memcached;
pub use moto::Moto;
pub use postgres::Postgres;
pub use redis::{MASTER_NAME, Redis, RedisCluster, RedisSentinel};
pub use redis_documents::RedisDocuments;
pub use zookeeper::ZooKeeper;

/// A running server, killed when the value is dropped; then its folder is removed.
#[derive(Debug)]
pub struct Server {
    process: Process,
    program: Program,
    port: u16,
    directory: Directory,
}

/// Where programs are that are in no user's path.
const PLACES: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin"];

/// Where tools are that come from the registries of other languages.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-tools");

/// The path that programs get which start others.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first of some names under which a program is installed; if none is, the test is skipped.
///
/// # Panics
/// If none is installed and nothing may be skipped.
#[must_use]
pub fn installed(names: &[&str]) -> Option<Program> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<_> = std::env::split_paths(&path)
        .chain(PLACES.map(PathBuf::from))
        .collect();
    for name in names {
        let found = places.iter().map(|place| place.join(name));
        if let Some(program) = found.into_iter().find(|program| program.is_file()) {
            return Some(Program::new(program).env("PATH", PATH));
        }
    }
    skip(&format!("{} is not installed", names.join(" or ")));
    None
}

/// A program below `target/test-tools`, where `make test-tools` puts what comes from other registries; if it is not
/// there, the test is skipped.
///
/// # Panics
/// If it is not there and nothing may be skipped.
#[must_use]
pub fn tool(path: &str) -> Option<Program> {
    let program = Path::new(TOOLS).join(path);
    if program.is_file() {
        return Some(Program::new(program).env("PATH", PATH));
    }
    skip(&format!("no {path}: run `make test-tools`"));
    None
}

/// The folder of JavaScript modules, if one of them is installed there; else the test is skipped.
///
/// # Panics
/// If it is not there and nothing may be skipped.
#[must_use]
pub fn module(name: &str) -> Option<PathBuf> {
    let modules = Path::new(TOOLS).join("node/node_modules");
    if modules.join(name).is_dir() {
        return Some(modules);
    }
    skip(&format!("no {name}: run `make test-tools`"));
    None
}

// === impl Server ===

impl Server {
    /// Starts a program with what `adjust` adds to its command line, its folder and a free port known, and waits
    /// until it accepts connections.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start(
        program: Program,
        adjust: impl FnOnce(Program, &Path, u16) -> Program,
    ) -> Result<Self> {
        Self::start_in(Directory::new()?, program, adjust).await
    }

    /// Starts a program in a folder that has been prepared.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_in(
        directory: Directory,
        program: Program,
        adjust: impl FnOnce(Program, &Path, u16) -> Program,
    ) -> Result<Self> {
        let port = free_port()?;
        let program = adjust(program.env("HOME", directory.path()), directory.path(), port);
        Self::start_on(port, directory, program).await
    }

    /// Starts a program that knows its port and its folder by itself.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_on(port: u16, directory: Directory, program: Program) -> Result<Self> {
        let process = program.start()?;
        let server = Self {
            process,
            program,
            port,
            directory,
        };
        server.wait().await?;
        Ok(server)
    }

    /// Its port on the loopback address.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The folder with its data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills the process at once, as a crash would; what it has on disk stays.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::Kill).await?;
        self.process.exit().await.map(drop)
    }

    /// Starts the program again on the same folder and port, after [`kill`](Self::kill).
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = self.program.start()?;
        self.wait().await
    }

    async fn wait(&self) -> Result<()> {
        let ready = wait_for_port(self.port).await;
        ready.with_context(|| self.process.tail())
    }
}
