//! Hands the order of functions to the linker, so that the code that runs stands together in memory.
//!
//! `layout.txt` is made by `just layout`. Only builds with optimisation are laid out, with the linker that comes with
//! Rust: another one may not know the option.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.txt");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_target = is("TARGET", "x86_64-unknown-linux-gnu") && is("PROFILE", "release");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let has_other_linker = flags.contains("linker") || flags.contains("fuse-ld");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let layout = folder.join("layout.txt");
    if is_target && !has_other_linker && layout.exists() {
        println!(
            "cargo:rustc-link-arg-bins=-Wl,--symbol-ordering-file={}",
            layout.display()
        );
        println!("cargo:rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    }
}
