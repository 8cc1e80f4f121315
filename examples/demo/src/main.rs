//! The demo of `make demo`: an app takes orders, another sends them, two sidecars carry the calls.
//!
//! ```text
//! caller ──▶ sidecar ═══ mTLS ═══▶ sidecar ──▶ nodeapp        sentry gives both sidecars their identity
//! ```
//!
//! `outrigger-demo` is the conductor that starts everything and shows what happened; `outrigger-demo nodeapp`
//! and `outrigger-demo caller` are the two apps, which know nothing but the variables every app is given.

mod caller;
mod conductor;
mod nodeapp;
mod paint;
mod report;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("nodeapp") => nodeapp::run().await,
        Some("caller") => caller::run(&arguments[1..]).await,
        _ => conductor::run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", paint::red(&format!("the demo failed: {error:#}")));
            ExitCode::FAILURE
        }
    }
}
