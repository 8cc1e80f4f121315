//! The version texts of the product.
//!
//! A build is stamped by setting `OUTRIGGER_VERSION` and `OUTRIGGER_COMMIT` while it is compiled. Clients
//! read the version as that of the runtime whose API is spoken, so the stamp is a runtime version such as
//! `1.18.0` or `1.18.0-rc.1`.

/// Version in the start line, in `--version` and in the metadata (`runtimeVersion`): the stamp, else `edge`.
///
/// Matches `^(edge|\d+\.\d+\.\d+(-rc\.\d+)?)$`.
pub const RUNTIME: &str = match option_env!("OUTRIGGER_VERSION") {
    Some(stamp) => stamp,
    None => "edge",
};

/// Version in the field `ver` of log lines: the stamp, else `unknown`.
pub const LOG: &str = match option_env!("OUTRIGGER_VERSION") {
    Some(stamp) => stamp,
    None => "unknown",
};

/// Source commit of the build; empty when it is not stamped.
pub const COMMIT: &str = match option_env!("OUTRIGGER_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// Version of this implementation itself.
pub const PRODUCT: &str = env!("CARGO_PKG_VERSION");

/// The lines that `--build-info` prints.
#[must_use]
pub fn build_info() -> String {
    format!("Version: {RUNTIME}\nGit Commit: {COMMIT}\nGit Version: {PRODUCT}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_version_has_the_form_that_clients_check() {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (release, candidate) = match RUNTIME.split_once("-rc.") {
            Some((release, candidate)) => (release, candidate),
            None => (RUNTIME, "0"),
        };
        let parts: Vec<_> = release.split('.').collect();
        assert!(
            RUNTIME == "edge"
                || (parts.len() == 3 && parts.iter().all(|part| number(part)) && number(candidate))
        );
    }

    #[test]
    fn build_info_has_three_lines() {
        let names: Vec<_> = build_info()
            .lines()
            .map(|line| line.split(": ").next().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["Version", "Git Commit", "Git Version"]);
    }
}
