//! Real multicast between network namespaces.
//!
//! Needs root and `ip`; without them the tests are skipped, or fail if `TESTKIT_REQUIRE=1`. Each
//! machine of a test is a process of this very test binary inside a namespace.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger_resolver::mdns::MdnsResolver;
use outrigger_resolver::{Instance, Request, Resolver};
use tokio::time::Instant;

/// Longest life of a machine's process in seconds.
const LONGEST_RUN: &str = "30";

#[test]
fn machines_find_each_other_over_ipv4() {
    let Some(net) = Net::new(["10.77.0.1/24", "10.77.0.2/24"]) else {
        return;
    };
    let mut callee = net.run(1, "callee", "10.77.0.2", "");
    assert_eq!(callee.line(), "up");
    let mut caller = net.run(0, "caller", "10.77.0.1", "callee");
    assert_eq!(caller.line(), "up");
    assert_eq!(caller.line(), "found 10.77.0.2:50002");
}

#[test]
fn machines_find_each_other_over_ipv6_alone() {
    let Some(net) = Net::new(["fd77::1/64", "fd77::2/64"]) else {
        return;
    };
    let mut callee = net.run(1, "callee", "fd77::2", "");
    assert_eq!(callee.line(), "up");
    let mut caller = net.run(0, "caller", "fd77::1", "callee");
    assert_eq!(caller.line(), "up");
    assert_eq!(caller.line(), "found [fd77::2]:50002");
}

#[test]
fn two_sidecars_of_one_machine_share_the_port() {
    let Some(net) = Net::new(["10.77.0.1/24", "10.77.0.2/24"]) else {
        return;
    };
    let mut callee = net.run(0, "callee", "10.77.0.1", "");
    assert_eq!(callee.line(), "up");
    let mut caller = net.run(0, "caller", "10.77.0.1", "callee");
    assert_eq!(caller.line(), "up");
    assert_eq!(caller.line(), "found 10.77.0.1:50002");
    let mut stranger = net.run(0, "stranger", "10.77.0.1", "nobody");
    assert_eq!(stranger.line(), "up");
    assert_eq!(stranger.line(), "error couldn't find service: nobody");
}

#[test]
fn a_machine_with_loopback_alone_is_refused() {
    let Some(net) = Net::new(["", ""]) else { return };
    assert_eq!(
        net.run(0, "caller", "127.0.0.1", "").line(),
        "error No supported interface"
    );
}

/// The process of a machine: announces itself, then resolves what it is asked to, then waits for the
/// end of its input.
#[test]
#[ignore = "runs inside a namespace, started by the other tests"]
fn machine() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let instance = Instance {
        app_id: variable("MACHINE_APP_ID"),
        host_name: "machine".to_owned(),
        host_address: variable("MACHINE_ADDRESS"),
        internal_port: 50002,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let resolver = match MdnsResolver::start(&instance, "nr (mdns/v1)") {
            Ok(resolver) => Resolver::new(Arc::new(resolver)),
            Err(error) => return println!("\n> error {error}"),
        };
        println!("\n> up");
        let peer = variable("MACHINE_PEER");
        if !peer.is_empty() {
            let request = Request {
                app_id: &peer,
                namespace: "default",
                port: 50002,
            };
            match resolver.resolve(&request).await {
                Ok(found) => println!("> found {}", found[0].address),
                Err(error) => println!("> error {error}"),
            }
        }
        let input_ends = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        input_ends.await.unwrap().unwrap();
        resolver.close().await;
    });
}

/// Two namespaces on one wire.
struct Net([String; 2]);

/// A process inside a namespace.
struct Machine {
    process: Child,
    output: BufReader<ChildStdout>,
}

// === impl Net ===

impl Net {
    /// Makes the namespaces and gives each its address; an empty address leaves the wire down.
    fn new(addresses: [&str; 2]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "mdns{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let net = Self([format!("{unique}a"), format!("{unique}b")]);
        if let Err(error) = net.build(addresses) {
            let required = std::env::var("TESTKIT_REQUIRE").is_ok_and(|value| value == "1");
            assert!(!required, "no network namespaces: {error}");
            eprintln!("skipped: network namespaces need root and `ip`: {error}");
            return None;
        }
        Some(net)
    }

    fn build(&self, addresses: [&str; 2]) -> Result<(), String> {
        let [a, b] = &self.0;
        for name in [a, b] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            // Without the search for duplicates an IPv6 address is of use at once.
            let usable_at_once = "for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 > $f; done";
            ip(&["netns", "exec", name, "sh", "-c", usable_at_once])?;
        }
        ip(&[
            "-n", a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b,
        ])?;
        for (name, address) in self.0.iter().zip(addresses) {
            if address.is_empty() {
                continue;
            }
            ip(&["-n", name, "address", "add", address, "dev", "wire"])?;
            ip(&["-n", name, "link", "set", "wire", "up"])?;
        }
        // The kernel tells itself with delay that the wire has two ends, and only then makes routes.
        let wired = self
            .0
            .iter()
            .zip(addresses)
            .filter(|(_, address)| !address.is_empty());
        wired
            .map(|(name, _)| name)
            .try_for_each(|name| wait_for_route(name))
    }

    fn run(&self, machine: usize, app_id: &str, address: &str, peer: &str) -> Machine {
        let program = std::env::current_exe().expect("a test knows its program");
        let mut process = Command::new("timeout")
            .args([LONGEST_RUN, "ip", "netns", "exec", &self.0[machine]])
            .arg(program)
            .args(["machine", "--exact", "--ignored", "--nocapture"])
            .env("MACHINE_APP_ID", app_id)
            .env("MACHINE_ADDRESS", address)
            .env("MACHINE_PEER", peer)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`timeout` starts");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        Machine { process, output }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.0 {
            // A namespace that was never made cannot be deleted.
            ip(&["netns", "delete", name]).ok();
        }
    }
}

// === impl Machine ===

impl Machine {
    /// The next line that the machine says itself.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            let length = self
                .output
                .read_line(&mut line)
                .expect("the machine speaks UTF-8");
            assert!(length > 0, "the machine ended early");
            if let Some(said) = line.trim_end().strip_prefix("> ") {
                return said.to_owned();
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

/// Waits until multicast of both families has a way out.
fn wait_for_route(namespace: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let link = ip(&["-n", namespace, "link", "show", "wire"])?;
        let routes = ip(&["-n", namespace, "-6", "route", "show", "table", "all"])?;
        let addresses = ip(&["-n", namespace, "-6", "address", "show", "wire"])?;
        if link.contains("state UP")
            && routes.contains("multicast ff00::/8 dev wire")
            && addresses.contains("fe80:")
            && !addresses.contains("tentative")
        {
            return Ok(());
        }
    }
    Err(format!("no multicast route in {namespace}"))
}

/// Runs `ip` and returns what it prints.
fn ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
