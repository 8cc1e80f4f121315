//! Colour on a terminal, plain text elsewhere.

use std::io::IsTerminal;

pub(crate) fn bold(text: &str) -> String {
    painted("1", text)
}

pub(crate) fn dim(text: &str) -> String {
    painted("2", text)
}

pub(crate) fn green(text: &str) -> String {
    painted("32", text)
}

pub(crate) fn cyan(text: &str) -> String {
    painted("36", text)
}

pub(crate) fn red(text: &str) -> String {
    painted("31", text)
}

/// A line that says what follows.
pub(crate) fn heading(text: &str) {
    println!("\n{}", bold(&format!("▸ {text}")));
}

/// A line that says what is being waited for.
pub(crate) fn progress(text: &str) {
    println!("{}", dim(&format!("  … {text}")));
}

fn painted(code: &str, text: &str) -> String {
    let colourful = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colourful {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
