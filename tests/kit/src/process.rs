//! Programs under test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, anyhow, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{PATIENCE, Result, outrigger_binary, until};

/// Lines of output that an error shows.
const TAIL: usize = 40;

/// A program and how to start it. Its environment is empty but for what is set here.
#[derive(Clone, Debug)]
pub struct Program {
    label: String,
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: BTreeMap<OsString, OsString>,
    directory: Option<PathBuf>,
}

/// A running program, killed when the value is dropped.
#[derive(Debug)]
pub struct Process {
    label: String,
    id: u32,
    child: Child,
    output: Output,
}

/// What a process has of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What is its own now.
    pub anonymous: u64,
    /// What it has of files now, its own program above all. The system can take that back.
    pub file: u64,
    /// The most that both together have been.
    pub peak: u64,
}

/// A signal that programs handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Start again.
    Hangup,
    /// Stop, from a terminal.
    Interrupt,
    /// Stop.
    Terminate,
    /// Die at once.
    Kill,
    /// Stand still: the process hears and does nothing.
    Pause,
    /// Go on after a pause.
    Continue,
}

/// All lines that a program wrote so far, in the order of their arrival.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Vec<Line>>>);

#[derive(Clone, Debug)]
struct Line {
    from_stderr: bool,
    text: String,
}

// === impl Program ===

impl Program {
    /// A program of the binary under test, such as `daprd`.
    ///
    /// # Errors
    /// If the binary is not there and cannot be built.
    pub fn outrigger(name: &str) -> Result<Self> {
        Ok(Self::new(outrigger_binary()?).label(name).arg(name))
    }

    /// Any program.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            label: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path,
            arguments: Vec::new(),
            variables: BTreeMap::new(),
            directory: None,
        }
    }

    /// Where the program is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Sets the name that messages of the kit show.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds `--<name>=<value>`.
    #[must_use]
    pub fn flag(self, name: &str, value: impl std::fmt::Display) -> Self {
        self.arg(format!("--{name}={value}"))
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn start(&self) -> Result<Process> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let output = Output::default();
        output.follow(
            self.label.clone(),
            false,
            child.stdout.take().context("the output is piped")?,
        );
        output.follow(
            self.label.clone(),
            true,
            child.stderr.take().context("the errors are piped")?,
        );
        let id = child.id().context("a new process has an id")?;
        Ok(Process {
            label: self.label.clone(),
            id,
            child,
            output,
        })
    }

    /// Runs the program to its end and returns how it ended with all it wrote.
    ///
    /// # Errors
    /// If it cannot be executed or does not end in time.
    pub async fn run(&self) -> Result<(ExitStatus, Process)> {
        let mut process = self.start()?;
        let status = process.exit().await?;
        Ok((status, process))
    }
}

// === impl Process ===

impl Process {
    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// All lines so far, of both outputs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.output.select(|_| true)
    }

    /// The lines of the standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.output.select(|line| !line.from_stderr)
    }

    /// The lines of the error output so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.output.select(|line| line.from_stderr)
    }

    /// The lines so far that contain `text`.
    #[must_use]
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.output.select(|line| line.text.contains(text))
    }

    /// Waits for a line that contains `text`, also among those that came already.
    ///
    /// # Errors
    /// If it does not come, with the last lines that did.
    pub async fn wait_for_line(&self, text: &str) -> Result<String> {
        let mut lines = self.wait_for_lines(text, 1).await?;
        Ok(lines.remove(0))
    }

    /// Waits until `count` lines contain `text`.
    ///
    /// # Errors
    /// If they do not come, with the last lines that did.
    pub async fn wait_for_lines(&self, text: &str, count: usize) -> Result<Vec<String>> {
        until(format_args!("{count} lines with {text:?}"), async || {
            let lines = self.lines_with(text);
            (lines.len() >= count).then_some(lines)
        })
        .await
        .with_context(|| self.tail())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process is gone.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        let command = format!("kill -{} {}", signal.name(), self.id);
        let status = Command::new("sh").args(["-c", &command]).status().await?;
        ensure!(status.success(), "{} cannot be signalled", self.label);
        Ok(())
    }

    /// Waits until the process ends by itself and its output is read.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn exit(&mut self) -> Result<ExitStatus> {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status
            .map_err(|_| anyhow!("{} does not end", self.label))
            .with_context(|| self.tail())??;
        let output = &self.output;
        until("the end of the output", async || {
            output.is_finished().then_some(())
        })
        .await?;
        Ok(status)
    }

    /// Asks the process to stop and waits until it ended.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Terminate).await?;
        self.exit().await
    }

    /// The processor time that it used so far, in clock ticks (1/100 s), from `/proc`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn processor_ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        // The name in parentheses may hold anything; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').context("unexpected /proc/<pid>/stat")?;
        fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| Ok(field.parse::<u64>()?))
            .sum()
    }

    /// The memory that it has, from `/proc`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
            Ok(number.context("unexpected /proc/<pid>/status")?.parse::<u64>()? << 10)
        };
        Ok(Memory {
            anonymous: bytes("RssAnon")?,
            file: bytes("RssFile")?,
            peak: bytes("VmHWM")?,
        })
    }

    /// The last lines of the output, for a message.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = self.lines();
        let mut text = format!("last lines of {}:", self.label);
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            write!(text, "\n    {line}").expect("a string takes all text");
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

// === impl Memory ===

impl Memory {
    /// The most that the process has had for itself; what it has of files is left out.
    #[must_use]
    pub fn own_peak(&self) -> u64 {
        self.peak.saturating_sub(self.file).max(self.anonymous)
    }
}

// === impl Signal ===

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Hangup => "HUP",
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Pause => "STOP",
            Self::Continue => "CONT",
        }
    }
}

// === impl Output ===

impl Output {
    /// Reads a stream to its end in the background. The task holds the second reference.
    fn follow(&self, label: String, from_stderr: bool, stream: impl AsyncRead + Send + Unpin + 'static) {
        let output = self.clone();
        let show = std::env::var_os("TESTKIT_LOG").is_some();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut bytes = Vec::new();
            while matches!(stream.read_until(b'\n', &mut bytes).await, Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes)
                    .trim_end_matches(['\n', '\r'])
                    .to_owned();
                bytes.clear();
                if show {
                    eprintln!("[{label}] {text}");
                }
                output.lock().push(Line { from_stderr, text });
            }
        });
    }

    fn is_finished(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn select(&self, want: impl Fn(&Line) -> bool) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|line| want(line))
            .map(|line| line.text.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn output_environment_and_end_are_seen() {
        let script = "echo out; echo \"err $NAME\" >&2; exit 3";
        let (status, process) = shell(script).env("NAME", "value").run().await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(process.stdout(), ["out"]);
        assert_eq!(process.stderr(), ["err value"]);
        assert!(process.tail().contains("\n    out"));
    }

    #[tokio::test]
    async fn a_process_is_waited_for_and_stopped() {
        let script = "trap 'echo stopped; exit 0' TERM; echo ready; while :; do read -t 1 line; done";
        let mut process = Program::new("/bin/bash").arg("-c").arg(script).start().unwrap();
        assert_eq!(process.wait_for_line("read").await.unwrap(), "ready");
        assert!(process.processor_ticks().is_ok());
        assert!(process.memory().unwrap().own_peak() > 4096);
        assert!(process.stop().await.unwrap().success());
        assert_eq!(process.lines_with("stop"), ["stopped"]);
    }
}
