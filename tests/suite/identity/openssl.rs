//! `openssl` as the second opinion on certificates and handshakes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use outrigger_test_kit::{Certificate, Directory, PATIENCE, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

const OPENSSL: &str = "openssl";

/// Files of a certificate, as the tool wants them.
#[derive(Debug)]
pub(super) struct CertificateFiles {
    chain: PathBuf,
    key: PathBuf,
    _directory: Directory,
}

/// Runs a command to its end and returns what it printed.
pub(super) async fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<String> {
    let output = Command::new(OPENSSL)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("openssl is missing: run tests/install.sh")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("openssl: {}{text}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// The lines of a certificate's text, without the spaces that versions of the tool print differently.
pub(super) async fn text(pem: &str) -> Result<Vec<String>> {
    let directory = Directory::new()?;
    let file = directory.write("certificate.pem", pem)?;
    let text = run([
        "x509".as_ref(),
        "-in".as_ref(),
        file.as_os_str(),
        "-noout".as_ref(),
        "-text".as_ref(),
    ])
    .await?;
    Ok(text.lines().map(|line| line.trim().replace(" = ", "=")).collect())
}

/// The lines about extensions.
pub(super) fn extensions(text: &[String]) -> Vec<&str> {
    text.iter()
        .map(String::as_str)
        .skip_while(|line| *line != "X509v3 extensions:")
        .skip(1)
        .take_while(|line| !line.starts_with("Signature Algorithm"))
        .collect()
}

/// The line that begins with a word, without it.
pub(super) fn field<'a>(text: &'a [String], word: &str) -> Option<&'a str> {
    text.iter()
        .find_map(|line| line.strip_prefix(word))
        .map(str::trim)
}

/// Whether the tool finds a path from the first certificate of `chain` to one of `anchors`.
pub(super) async fn verify(anchors: &str, chain: &str) -> Result<()> {
    let directory = Directory::new()?;
    let anchors = directory.write("anchors.pem", anchors)?;
    let chain = directory.write("chain.pem", chain)?;
    let [anchors, chain] = [anchors.as_os_str(), chain.as_os_str()];
    run([
        "verify".as_ref(),
        "-CAfile".as_ref(),
        anchors,
        "-untrusted".as_ref(),
        chain,
        chain,
    ])
    .await?;
    Ok(())
}

/// Connects to a port with TLS; returns all that was printed once the server has closed, or once `enough` was
/// printed and the client has.
pub(super) async fn s_client(port: u16, arguments: &[&str], enough: Option<&str>) -> Result<String> {
    let mut client = Command::new(OPENSSL)
        .arg("s_client")
        .arg("-connect")
        .arg(format!("127.0.0.1:{port}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("openssl is missing: run tests/install.sh")?;
    // The tool quits at the end of its input; an alert may come later than that.
    let mut input = client.stdin.take();
    let mut output = client.stdout.take().context("the output is piped")?;
    let mut errors = client.stderr.take().context("the errors are piped")?;
    let mut text = String::new();
    let (mut output_ended, mut errors_ended) = (false, false);
    let read = async {
        while !(output_ended && errors_ended) {
            tokio::select! {
                more = piece(&mut output), if !output_ended => output_ended = take(&mut text, more),
                more = piece(&mut errors), if !errors_ended => errors_ended = take(&mut text, more),
            }
            if enough.is_some_and(|enough| text.contains(enough)) {
                input = None;
            }
        }
    };
    if timeout(PATIENCE, read).await.is_err() {
        bail!("openssl s_client does not end; it printed:\n{text}");
    }
    Ok(text)
}

/// The first number of an alert in what `s_client` printed.
pub(super) fn alert(text: &str) -> Option<u8> {
    let (_, rest) = text.split_once("SSL alert number ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

async fn piece(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut buffer = vec![0; 16 * 1024];
    // A pipe that breaks has ended.
    let length = stream.read(&mut buffer).await.unwrap_or(0);
    buffer.truncate(length);
    buffer
}

/// Adds a piece to the text; true if it is the end.
fn take(text: &mut String, piece: Vec<u8>) -> bool {
    text.push_str(&String::from_utf8_lossy(&piece));
    piece.is_empty()
}

// === impl CertificateFiles ===

impl CertificateFiles {
    /// Writes the files; they go with the value.
    pub(super) fn new(certificate: &Certificate) -> Result<Self> {
        let directory = Directory::new()?;
        Ok(Self {
            chain: directory.write("chain.pem", &certificate.chain)?,
            key: directory.write("key.pem", &certificate.key)?,
            _directory: directory,
        })
    }

    /// Options of `s_client` and `s_server` that show the certificate.
    pub(super) fn options(&self) -> [String; 6] {
        let show = |path: &Path| path.display().to_string();
        let option = |name: &str| name.to_owned();
        [
            option("-cert"),
            show(&self.chain),
            option("-cert_chain"),
            show(&self.chain),
            option("-key"),
            show(&self.key),
        ]
    }
}
