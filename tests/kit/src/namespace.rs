//! A network of its own for a test.

use std::any::type_name;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::{Result, outrigger_binary, skip};

/// Address of the multicast-capable interface inside a namespace.
pub const WIRE_ADDRESS: &str = "10.0.0.1";

/// Longest run of a test in seconds.
const LONGEST_RUN: &str = "180";

/// Tells the test program that it is inside already.
const INSIDE: &str = "TESTKIT_INSIDE";

/// A wire with both ends in the namespace: what goes out on one comes in on the other, and what is
/// sent to a group is heard by everybody here.
const SET_UP: &str = "
ip link set lo up &&
ip link add wire type veth peer name wire-end &&
ip address add 10.0.0.1/24 dev wire &&
ip link set wire up &&
ip link set wire-end up";

/// Runs the body of a test, an `async` block that yields [`Result<()>`](crate::Result), in a network
/// namespace of its own. Must stand in a function marked `#[test]`, outside any runtime.
///
/// ```no_run
/// fn a_call_reaches_the_app() {
///     outrigger_test_kit::isolated!(async {
///         let cluster = outrigger_test_kit::Cluster::start(["caller", "callee"]).await?;
///         let reply = cluster["caller"].invoke("callee", "hello").await?;
///         assert_eq!(reply.status, 200);
///         Ok(())
///     });
/// }
/// ```
#[macro_export]
macro_rules! isolated {
    ($body:expr) => {{
        fn here() {}
        $crate::namespace::run($crate::namespace::path_of(here), || $body)
    }};
}

/// The path of the function that `here` is in, without the crate.
#[doc(hidden)]
pub fn path_of<T>(_here: T) -> &'static str {
    let path = type_name::<T>()
        .trim_end_matches("::here")
        .trim_end_matches("::{{closure}}");
    path.split_once("::").map_or(path, |(_, path)| path)
}

/// Runs `body` if this process is inside a namespace, else the test `name` of this program in one.
#[doc(hidden)]
pub fn run<F>(name: &str, body: impl FnOnce() -> F)
where
    F: Future<Output = Result<()>>,
{
    // Built out here, so that a test's time is its own.
    let binary = outrigger_binary().expect("the binary under test can be built");
    enter(name, Some(binary), body);
}

fn enter<F>(name: &str, binary: Option<PathBuf>, body: impl FnOnce() -> F)
where
    F: Future<Output = Result<()>>,
{
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let outcome = runtime.expect("a runtime starts").block_on(body());
        if let Err(error) = outcome {
            panic!("{error:?}");
        }
        return;
    }
    if let Err(reason) = available() {
        return skip(reason);
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let output = inside(&format!("{SET_UP} && exec timeout {LONGEST_RUN} \"$@\""))
        .arg(program)
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .envs(binary.map(|binary| ("OUTRIGGER_BIN", binary)))
        .output()
        .expect("`unshare` starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", text(&output.stdout));
    eprint!("{}", text(&output.stderr));
    assert!(
        output.status.success(),
        "the test failed inside its namespace: {}",
        output.status
    );
    let ran = text(&output.stdout).contains("1 passed");
    assert!(
        ran,
        "no test named {name}: `isolated!` stands in the test function itself"
    );
}

/// Whether namespaces can be made here.
fn available() -> Result<(), &'static str> {
    static CHECKED: OnceLock<Result<(), String>> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| match inside(SET_UP).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    });
    match checked {
        Ok(()) => Ok(()),
        Err(reason) => {
            eprintln!("{reason}");
            Err("no network namespace: that needs `unshare`, `ip` and root or user namespaces")
        }
    }
}

/// A shell that runs `script` in a new namespace.
fn inside(script: &str) -> Command {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let user: &[&str] = if is_root {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    let mut command = Command::new("unshare");
    command.arg("--net").args(user).args(["sh", "-c", script, "sh"]);
    command
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_test_inside_sees_its_own_interfaces_only() {
        enter(
            "namespace::tests::a_test_inside_sees_its_own_interfaces_only",
            None,
            async || {
                assert!(UdpSocket::bind((WIRE_ADDRESS, 0)).is_ok());
                let names: Vec<_> = std::fs::read_to_string("/proc/net/dev")?
                    .lines()
                    .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
                    .collect();
                assert_eq!(names.len(), 3, "{names:?}");
                Ok(())
            },
        );
    }

    #[test]
    fn a_test_is_known_by_its_path() {
        fn here() {}
        assert_eq!(path_of(here), "namespace::tests::a_test_is_known_by_its_path");
    }

    #[test]
    #[should_panic(expected = "failed inside its namespace")]
    fn a_failure_inside_is_a_failure_outside() {
        if available().is_err() {
            skip("no network namespace");
            panic!("failed inside its namespace");
        }
        enter(
            "namespace::tests::a_failure_inside_is_a_failure_outside",
            None,
            async || anyhow::bail!("planned"),
        );
    }
}
